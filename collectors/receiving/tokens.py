"""Who may send: bearer tokens, when any are configured. Compared in constant time, kept as hashes, never logged."""

import hashlib
import hmac
from collections.abc import Iterable

from collectors.receiving.errors import UnauthenticatedError


class Gate:
    """Lets everybody in when there are no tokens."""

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self._digests = tuple(_digest(token) for token in tokens)

    def check(self, authorization: str | None) -> None:
        """Raises UnauthenticatedError unless `authorization` is ``Bearer`` and one of the tokens."""
        if not self._digests:
            return
        scheme, _, token = (authorization or "").strip().partition(" ")
        given = _digest(token.strip()) if scheme.lower() == "bearer" else b""
        # All are compared: how long it takes tells nothing about which one came near.
        if not sum([hmac.compare_digest(given, digest) for digest in self._digests]):
            raise UnauthenticatedError(
                "this receiver wants a token: set OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN, "
                "or send the header Authorization: Bearer TOKEN, with one of EVENTFLOW_INGEST_TOKENS"
            )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
