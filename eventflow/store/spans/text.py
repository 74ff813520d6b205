"""Hostile text made to fit a column: no NUL (PostgreSQL refuses it), no lone surrogates, never too long.

What is cut keeps a hash of the whole, so that two long ids that begin alike stay two; look up with the same function.
"""

from hashlib import blake2b

from eventflow.domain.observations import Span

KEY_LENGTH = 300
LAST_NS = 2**63 - 1


def fit(text: str | None, limit: int = KEY_LENGTH) -> str:
    """`text` as a column of `limit` characters can hold it; None becomes empty."""
    if not text:
        return ""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if len(text) <= limit:
        return text
    return text[: limit - 17] + "…" + blake2b(text.encode(), digest_size=8).hexdigest()


def fit_ns(instant: int) -> int:
    """Nanoseconds as a signed 64-bit column can hold them."""
    return min(max(instant, 0), LAST_NS)


def own_key(span: Span) -> str:
    """The flow a span names itself; empty if it names none."""
    return fit(span.correlation_id or (span.messaging.correlation_id if span.messaging else None))
