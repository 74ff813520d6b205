"""The spans of several requests as one set of numpy arrays, row by row in the order of arrival.

Nothing is copied out of the bodies but identity texts that somebody asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eventflow.domain.columns import Body, SpanColumns
from eventflow.store.spans.arrays import mixed
from eventflow.store.spans.dtypes import U32, U64, Array, Flags, Ints

__all__ = ["U32", "U64", "Array", "Flags", "Ints", "Portion", "context_hashes", "mixed", "together", "trace_hashes"]


def trace_hashes(ids: U64) -> U64:
    """Hashes of trace ids (n, 2)."""
    return mixed(ids[:, 0] ^ mixed(ids[:, 1], 1))


def context_hashes(traces: U64, spans: U64) -> U64:
    """Hashes of addresses out of the hashes of their traces and the raw span ids."""
    return mixed(traces ^ mixed(spans, 2))


@dataclass(slots=True)
class Portion:
    """Requests together. One row a span, one row a link, one row an identity attribute, one row a searched value.

    trace, context, parent  hashes; a span without a parent has `parent` 0
    link_*, ident_*, value_*  `…_row` is the span's row
    """

    bodies: Sequence[Body]
    columns: Sequence[SpanColumns]
    request: U32
    index: U32
    trace_ids: U64
    span_ids: U64
    trace: U64
    context: U64
    parent: U64
    start: Ints
    end: Ints
    errors: Flags
    odd: Flags
    shapes: U64
    link_row: Ints
    link_trace_ids: U64
    link_trace: U64
    link_context: U64
    ident_row: Ints
    ident_request: U32
    ident_name: U32
    ident_offset: U32
    ident_length: U32
    ident_link: U32
    value_row: Ints
    value_request: U32
    value_name: U32
    value_offset: U32
    value_length: U32

    def __len__(self) -> int:
        return len(self.trace)

    def text(self, ident: int) -> bytes:
        """The text of an identity attribute."""
        start = int(self.ident_offset[ident])
        return bytes(self.bodies[int(self.ident_request[ident])][start : start + int(self.ident_length[ident])])


def together(bodies: Sequence[Body], columns: Sequence[SpanColumns]) -> Portion:
    """The requests' columns as one portion."""
    counts = np.array([one.count for one in columns], np.int64)
    starts = np.concatenate(([0], np.cumsum(counts)))
    request = np.repeat(np.arange(len(columns), dtype=np.uint32), counts)
    index = (np.arange(starts[-1]) - starts[request]).astype(np.uint32)

    def joined(name: str, kind: str) -> Array:
        return np.frombuffer(b"".join([getattr(one, name) for one in columns]), kind)

    def rows(name: str) -> tuple[Ints, U32]:
        lengths = [len(getattr(one, name)) // 4 for one in columns]
        of = np.repeat(np.arange(len(columns), dtype=np.uint32), lengths)
        return joined(name, "<u4").astype(np.int64) + starts[of], of

    trace_ids = joined("trace_ids", "<u8").reshape(-1, 2)
    span_ids, parents = joined("span_ids", "<u8"), joined("parent_ids", "<u8")
    trace = trace_hashes(trace_ids)
    link_row, _ = rows("link_spans")
    link_trace_ids = joined("link_trace_ids", "<u8").reshape(-1, 2)
    link_trace = trace_hashes(link_trace_ids)
    ident_row, ident_request = rows("ident_spans")
    value_row, value_request = rows("value_spans")
    return Portion(
        bodies=bodies,
        columns=columns,
        request=request,
        index=index,
        trace_ids=trace_ids,
        span_ids=span_ids,
        trace=trace,
        context=context_hashes(trace, span_ids),
        parent=np.where(parents == 0, np.uint64(0), context_hashes(trace, parents)),
        start=joined("start_ns", "<i8"),
        end=joined("end_ns", "<i8"),
        errors=joined("errors", "u1").astype(bool),
        odd=joined("odd", "u1").astype(bool),
        shapes=joined("shapes", "<u8"),
        link_row=link_row,
        link_trace_ids=link_trace_ids,
        link_trace=link_trace,
        link_context=context_hashes(link_trace, joined("link_span_ids", "<u8")),
        ident_row=ident_row,
        ident_request=ident_request,
        ident_name=joined("ident_names", "<u4"),
        ident_offset=joined("ident_offsets", "<u4"),
        ident_length=joined("ident_lengths", "<u4"),
        ident_link=joined("ident_links", "<u4"),
        value_row=value_row,
        value_request=value_request,
        value_name=joined("value_names", "<u4"),
        value_offset=joined("value_offsets", "<u4"),
        value_length=joined("value_lengths", "<u4"),
    )
