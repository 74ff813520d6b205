"""A wire format for the store's tests: pickled domain spans. Slow, and true to the contract of `domain/columns.py`."""

import pickle
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b

from eventflow.domain.columns import SpanColumns
from eventflow.domain.observations import Span, SpanStatus
from eventflow.store.spans.text import fit_ns

KEY, MESSAGE = "app.correlation_id", "messaging.message.id"


def encode(spans: Iterable[Span]) -> bytes:
    """A request: its spans, then the texts of their ids and attributes, so that columns can point at them."""
    spans = tuple(spans)
    packed = pickle.dumps(spans)
    texts = b"".join(text for span in spans for _, text in (*_idents(span), *_values(span)))
    return len(packed).to_bytes(8, "little") + packed + texts


def decode(body: bytes) -> list[Span]:
    """The spans of a request."""
    found = pickle.loads(body[8:])  # noqa: S301  # made by `encode`
    if not isinstance(found, tuple):
        raise ValueError("this is no request")
    return list(found)


class Pickled:
    """The format."""

    def __init__(self, _: Sequence[str] = (), search_keys: Sequence[str] = ()) -> None:
        self.searched = search_keys
        self.names = [KEY, MESSAGE, *search_keys]

    def scan(self, body: bytes) -> SpanColumns:
        spans = decode(body)
        at = 8 + int.from_bytes(body[:8], "little")
        links = [(row, link) for row, span in enumerate(spans) for link in span.links]
        idents: list[tuple[int, int, int, int]] = []
        values: list[tuple[int, int, int, int]] = []
        for row, span in enumerate(spans):
            for name, text in _idents(span):
                idents.append((row, self.names.index(name), at, len(text)))
                at += len(text)
            for name, text in _values(span):
                if name in self.searched:
                    values.append((row, self.names.index(name), at, len(text)))
                at += len(text)
        return SpanColumns(
            count=len(spans),
            trace_ids=b"".join(bytes.fromhex(span.trace_id) for span in spans),
            span_ids=b"".join(bytes.fromhex(span.span_id) for span in spans),
            parent_ids=b"".join(bytes.fromhex(span.parent_id or "0" * 16) for span in spans),
            start_ns=array("Q", [fit_ns(span.start_ns) for span in spans]).tobytes(),
            end_ns=array("Q", [fit_ns(span.end_ns) for span in spans]).tobytes(),
            errors=bytes(span.status is SpanStatus.ERROR for span in spans),
            shapes=b"".join(_shape(span) for span in spans),
            odd=bytes(map(_odd, spans)),
            offsets=_u32(range(len(spans))),
            lengths=_u32([0] * len(spans)),
            scopes=_u32([0] * len(spans)),
            scope_ranges=((0, 0, 0, 0),),
            link_spans=_u32(row for row, _ in links),
            link_trace_ids=b"".join(bytes.fromhex(link.trace_id) for _, link in links),
            link_span_ids=b"".join(bytes.fromhex(link.span_id) for _, link in links),
            ident_spans=_u32(one[0] for one in idents),
            ident_names=_u32(one[1] for one in idents),
            ident_offsets=_u32(one[2] for one in idents),
            ident_lengths=_u32(one[3] for one in idents),
            ident_links=_u32(0 for _ in idents),
            value_spans=_u32(one[0] for one in values),
            value_names=_u32(one[1] for one in values),
            value_offsets=_u32(one[2] for one in values),
            value_lengths=_u32(one[3] for one in values),
        )

    def position(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def written(self, value: str) -> list[bytes]:
        return [f"{kind} {value}".encode() for kind in ("str", "int", "bool")]

    def read(self, body: bytes, columns: SpanColumns | None = None, spans: Sequence[int] | None = None) -> list[Span]:
        found = decode(body)
        return found if spans is None else [found[at] for at in spans]

    def gather(self, bodies: Sequence[bytes], columns: Sequence[SpanColumns], requests: bytes, spans: bytes) -> bytes:
        read = {request: decode(bodies[request]) for request in set(array("I", requests))}
        return encode(
            read[request][span] for request, span in zip(array("I", requests), array("I", spans), strict=True)
        )


def _idents(span: Span) -> list[tuple[str, bytes]]:
    if _odd(span):
        return []
    found = [(KEY, span.correlation_id.encode())] if span.correlation_id else []
    message_id = span.messaging.message_id if span.messaging else None
    return [*found, (MESSAGE, message_id.encode())] if message_id else found


def _values(span: Span) -> list[tuple[str, bytes]]:
    found = {name: str(value).lower() if isinstance(value, bool) else value for name, value in span.attributes.items()}
    return [
        (name, f"{type(span.attributes[name]).__name__} {told}".encode("utf-8", "replace"))
        for name, told in found.items()
    ]


def _odd(span: Span) -> bool:
    """True where the ids can't be told as plain text, or a rule for them is missing."""
    messaging = span.messaging
    texts = [span.correlation_id or "", (messaging.message_id if messaging else None) or ""]
    plain = all(text.isascii() and text.isprintable() and len(text) <= 300 for text in texts)
    keyed = span.correlation_rule == KEY if span.correlation_id else not (messaging and messaging.correlation_id)
    named = not (messaging and messaging.message_id) or messaging.rules.get("message_id") == MESSAGE
    linked = any(link.attributes for link in span.links)
    return not (plain and keyed and named) or linked or not 0 <= span.start_ns <= span.end_ns < 2**63


def _shape(span: Span) -> bytes:
    messaging = span.messaging
    same = replace(
        span,
        trace_id="",
        span_id="",
        parent_id="parent" if span.parent_id else None,
        start_ns=0,
        end_ns=0,
        correlation_id="key" if span.correlation_id else None,
        links=span.links[:1] and (replace(span.links[0], trace_id="", span_id=""),),
        events=tuple(replace(event, at_ns=0) for event in span.events),
        messaging=messaging and replace(messaging, message_id="id" if messaging.message_id else None, offset=None),
    )
    return blake2b(repr(same).encode("utf-8", "replace"), digest_size=8).digest()


def _u32(values: Iterable[int]) -> bytes:
    return array("I", values).tobytes()
