"""Reads of stored spans: a flow's, a trace's, those that follow from one span."""

from dataclasses import replace

from eventflow.domain.observations import Span
from eventflow.store.spans import summaries
from eventflow.store.spans.load import Reader
from eventflow.store.spans.summaries import FlowSpans
from eventflow.store.spans.text import fit

READ_LIMIT = 50_000
"""Spans of one flow that are read at once; a longer flow says that it is not complete."""


def flow_spans(key: str) -> FlowSpans:
    """What is stored of the flow `key`, the first `READ_LIMIT` spans of a longer one; empty for a key nobody used."""
    key = fit(key)
    reader = Reader()
    stored = summaries.gather([key], READ_LIMIT, reader)[key]
    if stored.complete:
        return stored
    return replace(stored, spans=tuple(reader.first_spans(stored.trace_ids, READ_LIMIT)))


def trace_spans(trace_id: str) -> list[Span]:
    """The spans of a trace, in order of their start."""
    return sorted(Reader().spans_of([trace_id])[trace_id].values(), key=lambda span: (span.start_ns, span.span_id))


def consumers_of(trace_id: str, span_id: str) -> list[Span]:
    """The spans that link to this one, and its children: who received what it sent. It need not be here itself."""
    reader = Reader()
    around = {context.trace_id for spans in reader.linking_to([trace_id]).values() for context in spans}
    found = {
        context: span
        for spans in reader.spans_of(around | {trace_id}).values()
        for context, span in spans.items()
        if any((link.trace_id, link.span_id) == (trace_id, span_id) for link in span.links)
        or (span.trace_id == trace_id and span.parent_id == span_id)
    }
    return sorted(found.values(), key=lambda span: (span.start_ns, span.span_id))
