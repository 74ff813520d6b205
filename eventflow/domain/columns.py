"""An export request as columns: what a store needs of its spans to sort, index and sum them without reading them whole.

Buffers are little-endian and as long as the request has spans (or links, or identities). Spans stay where they are, in
the request's body; a column only says where. What the columns can't tell of a span is marked `odd`: read it whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from eventflow.domain.observations import Span

Body: TypeAlias = bytes | memoryview
"""A request, or a view of the memory in which it lies. Whoever keeps a part of it copies that part."""


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """One ExportTraceServiceRequest, scanned.

    trace_ids, span_ids, parent_ids  16, 8 and 8 bytes a span; a parent of zeros is none
    start_ns, end_ns                 u64
    errors                           u8: 1 when the status code says error
    shapes                           u64, see below; meaningful within one process only
    odd                              u8: 1 when the columns don't tell the truth about this span: it must be read whole
    offsets, lengths                 u32: where the span's message lies in the body, without tag and length
    scopes                           u32: index into `scope_ranges`
    scope_ranges                     offset and length of the resource, of the scope, and of the URLs of the schemas of
                                     both: eight numbers; length 0 where it was left out
    link_spans, link_trace_ids, link_span_ids  a row per link: index of its span (u32), 16 and 8 bytes
    ident_spans, ident_names         a row per identity attribute: index of its span, index into `Format.names` (u32)
    ident_offsets, ident_lengths     u32: where its text lies in the body, UTF-8
    ident_links                      u32: 0, or 1 + the index of the link that carries it
    value_spans, value_names         a row per attribute that flows are found by: index of its span, into `Format.names`
    value_offsets, value_lengths     u32: where its value lies in the body, as the format writes it (`Format.written`)

    Two spans have the same shape only if whole reading and `hop.evidence` say the same of both but for: ids, addresses
    of parent and links, times, the texts of identity attributes, and what no judgement of a hop looks at.
    """

    count: int
    trace_ids: bytes
    span_ids: bytes
    parent_ids: bytes
    start_ns: bytes
    end_ns: bytes
    errors: bytes
    shapes: bytes
    odd: bytes
    offsets: bytes
    lengths: bytes
    scopes: bytes
    scope_ranges: tuple[tuple[int, ...], ...]
    link_spans: bytes
    link_trace_ids: bytes
    link_span_ids: bytes
    ident_spans: bytes
    ident_names: bytes
    ident_offsets: bytes
    ident_lengths: bytes
    ident_links: bytes
    value_spans: bytes = b""
    value_names: bytes = b""
    value_offsets: bytes = b""
    value_lengths: bytes = b""


class Format(Protocol):
    """What a store must know of the wire format of the requests it keeps."""

    names: Sequence[str]
    """The names of identity attributes met so far and of those that flows are found by; it only grows."""
    searched: Sequence[str]
    """The names of the attributes that flows are found by: the operator's choice."""

    def position(self, name: str) -> int:
        """Where a name stands in `names`, to which it is added if need be. Raises ValueError when they are too many."""
        ...

    def scan(self, body: bytes) -> SpanColumns:
        """A request's spans as columns. Raises ValueError for what is no request, or whose spans break a rule."""
        ...

    def read(self, body: Body, columns: SpanColumns | None = None, spans: Sequence[int] | None = None) -> list[Span]:
        """Whole spans: all of a request, or those at these indexes. Raises ValueError for what is no request."""
        ...

    def gather(self, bodies: Sequence[Body], columns: Sequence[SpanColumns], requests: bytes, spans: bytes) -> bytes:
        """One request with the spans `spans[i]` (u32) of `bodies[requests[i]]` (u32), grouped by resource and scope."""
        ...

    def written(self, value: str) -> list[bytes]:
        """The ways in which an attribute whose value reads like this may stand in a body: as text, as a number, …"""
        ...
