"""Reads of stored spans: a flow's, a trace's, those that follow from one span."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.db.models import F

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow_summary import FlowStatus
from eventflow.domain.hop import Context
from eventflow.domain.observations import Span
from eventflow.store.models import FlowRow, Generation, StoredLink, StoredSpan
from eventflow.store.queries import flow_evidence
from eventflow.store.spans import load, summaries
from eventflow.store.spans.digest import OutdatedError, advance, current_generation
from eventflow.store.spans.summaries import FlowSpans
from eventflow.store.spans.text import fit

READ_LIMIT = 50_000
"""Spans of one flow that are read at once; a longer flow says that it is not complete."""
TRIES = 5
RECHECK_SECONDS = 16
"""Just above the time after which a failed attempt is not expected to be tried again."""


def flow_spans(key: str) -> FlowSpans:
    """What is stored of the flow `key`, the first `READ_LIMIT` spans of a longer one; empty for a key nobody used."""
    key = fit(key)
    stored = summaries.gather(load.traces_of([key]), {}, READ_LIMIT)[key]
    if stored.complete:
        return stored
    return replace(stored, spans=tuple(load.first_spans(stored.trace_ids, READ_LIMIT)))


def trace_spans(trace_id: str) -> list[Span]:
    """The spans of a trace, in order of their start."""
    return sorted(load.spans_of([trace_id])[trace_id].values(), key=lambda span: (span.start_ns, span.span_id))


def consumers_of(trace_id: str, span_id: str) -> list[Span]:
    """The spans that link to this one, and its children: who received what it sent. It need not be here itself."""
    links = StoredLink.objects.filter(linked_trace_id=trace_id, linked_span_id=span_id)
    linking = {Context(*row) for row in links.values_list("trace_id", "span_id")}
    found = load.spans_at(linking)
    for body in StoredSpan.objects.filter(trace_id=trace_id).values_list("body", flat=True)[:READ_LIMIT]:
        span = load.decoded(body)
        # Links inside a trace are not in the table of links: the spans themselves tell.
        inside = any((link.trace_id, link.span_id) == (trace_id, span_id) for link in span.links)
        if span.parent_id == span_id or inside:
            found[Context(span.trace_id, span.span_id)] = span
    return sorted(found.values(), key=lambda span: (span.start_ns, span.span_id))


def refresh_flows(keys: Iterable[str], now: datetime) -> None:
    """Make the lines of these flows anew, because a letter, a replay or the time changed them."""
    wanted = {fit(key) for key in keys if key}
    if not wanted:
        return
    # A letter without a flow's name is known by its trace, which may belong to a flow.
    wanted.update(key for origins in load.members(wanted).values() for key in origins)
    for _ in range(TRIES):
        generation = current_generation()
        lines = summaries.prepare(load.traces_of(wanted), {}, {}, flow_evidence.consumers(), now)
        try:
            with transaction.atomic():
                advance(generation)
                summaries.write(lines)
        except OutdatedError:
            continue
        return
    # Busier than five tries: the last one holds the lock while it looks.
    with transaction.atomic():
        Generation.objects.filter(pk=1).update(number=F("number") + 1)
        summaries.write(summaries.prepare(load.traces_of(wanted), {}, {}, flow_evidence.consumers(), now))


def recheck(now: datetime, limit: int = 200) -> frozenset[str]:
    """Make the lines of flows anew that were running a while ago: time alone ends some. Returns those it looked at."""
    patience = nanoseconds(now) - RECHECK_SECONDS * 1_000_000_000
    rows = FlowRow.objects.filter(status=FlowStatus.RUNNING.value, updated_ns__lt=patience)
    keys = frozenset(rows.order_by("-started_ns").values_list("key", flat=True)[:limit])
    refresh_flows(keys, now)
    return keys
