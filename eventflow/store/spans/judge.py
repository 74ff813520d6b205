"""Gives flows their lines in the list: those whose spans came in new chunks, and those that letters or time changed.

A line is what the domain says of the flow as it is stored now. Which chunks have been looked through is written with
the last of their lines, so that a crash in between repeats the work and skips none.
"""

import math
from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import F

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow_summary import FlowStatus
from eventflow.store.models import Chunk, FlowRow, Generation
from eventflow.store.queries import flow_evidence
from eventflow.store.spans import generation, load, summaries
from eventflow.store.spans.digest import handover, memory
from eventflow.store.spans.generation import JUDGED, LINES, OutdatedError
from eventflow.store.spans.handover import parts_of
from eventflow.store.spans.index import Ahead
from eventflow.store.spans.lines import status_code
from eventflow.store.spans.load import Reader
from eventflow.store.spans.opened import opened, packed_anew, sizes
from eventflow.store.spans.patterns import Patterns
from eventflow.store.spans.rows import largest
from eventflow.store.spans.text import fit
from eventflow.store.spans.turn import writing
from eventflow.store.spans.window import note_born, window

LINES_AT_ONCE = 49_152
"""Spans whose flows get their lines in one step: in a larger one fewer flows are looked at twice, but spans wait."""
LINES_WRITTEN = 2_000
"""Lines in one transaction: who puts requests into the inbox meanwhile waits for no more than these."""
TRIES = 5
SECOND = 1_000_000_000
RECHECK_SECONDS = 16
"""Just above the time after which a failed attempt is not expected to be tried again."""

_patterns = Patterns()


def judge(now: datetime, limit: int = LINES_AT_ONCE) -> frozenset[str]:
    """Write the lines of the flows in the next new chunks, about `limit` spans. Returns their keys, none at the end."""
    before, last = generation.current(LINES), generation.current(JUDGED)
    chunks = _next(last, limit)
    if not chunks:
        return frozenset()
    parts, here = handover.take(chunks)
    parts += parts_of(opened(set(chunks) - here).values(), fresh=True)
    consumers = flow_evidence.consumers()
    rows = window(parts, frozenset(chunks), memory, _ahead(chunks[-1]))
    alike = _patterns.judge(rows, consumers, now)
    reader = Reader(rows.places.chunks_of(), rows.places.opened)
    # Those further on will be seen with their publishers: to make their lines now would be in vain.
    woken = frozenset(trace for trace, chunk in memory.woken.items() if chunk <= chunks[-1])
    late = reader.trace_ids(woken.difference(alike.seen.tolist())) if woken else set()
    keys = _touched(alike.others | late, reader) | load.listed(alike.moved)
    lines = summaries.prepare(keys, reader, consumers, now)
    lines.rows += [row for row in alike.rows if row.key not in keys]
    try:
        turns = lines.parts(LINES_WRITTEN)
        for number, some in enumerate(turns):
            with writing():
                generation.advance(LINES, before + number)
                if some is turns[-1]:
                    generation.advance(JUDGED, last, chunks[-1])
                summaries.write(some, now)
    except OutdatedError:
        return frozenset()
    note_born(rows, memory.born)
    for trace in woken:
        del memory.woken[trace]
    return frozenset(keys.union(row.key for row in alike.rows))


def _next(last: int, limit: int) -> list[int]:
    """The chunks behind `last` with about so many spans, whole steps of the digest if they are known."""
    chunks, spans, end = [], 0, 0
    for pk, number in sizes(0, last):
        if spans >= limit and pk > end:
            break
        chunks.append(pk)
        if spans < limit:
            spans += number
            end = handover.end_of(pk) if spans >= limit else 0
    return chunks


def _ahead(after: int) -> Ahead:
    """Those whose turn comes later. What is packed anew from now on is none of them: it gets larger ids."""
    until = largest(Chunk)
    return Ahead(after, until, packed_anew(after))


def waiting(most: float = math.inf) -> int:
    """How many spans are stored whose flows have no line yet; it counts on until they are as many as `most`."""
    number = 0
    for _, spans in sizes(0, generation.current(JUDGED)):
        number += spans
        if number >= most:
            break
    return number


def _touched(new: Collection[str], reader: Reader) -> set[str]:
    """The flows that may have changed with new spans of these traces."""
    if not new:
        return set()
    # Who links to what is new: a publisher that came late, or an id that others inherit.
    traces = set(new).union(span.trace_id for spans in reader.linking_to(new).values() for span in spans)
    # Where a trace with links may have belonged before it had an id of its own.
    linked = {target for trace in reader.traces(traces).values() for target in trace.links}
    belonging = reader.members(traces | linked)
    keys = {key for name in traces | linked if name in belonging for key in belonging[name]}
    # Lines that a trace alone made, or a letter's trace: it may belong elsewhere now.
    return keys | load.listed(traces)


def refresh_flows(keys: Iterable[str], now: datetime) -> None:
    """Make the lines of these flows anew, because a letter, a replay or the time changed them."""
    wanted = {fit(key) for key in keys if key}
    if not wanted:
        return
    # A letter without a flow's name is known by its trace, which may belong to a flow.
    wanted.update(key for origins in Reader().members(wanted).values() for key in origins)
    for _ in range(TRIES):
        before = generation.current(LINES)
        lines = summaries.prepare(wanted, Reader(), flow_evidence.consumers(), now)
        try:
            with transaction.atomic():
                generation.advance(LINES, before)
                summaries.write(lines, now)
        except OutdatedError:
            continue
        return
    # Busier than five tries: the last one holds the lock while it looks.
    with transaction.atomic():
        Generation.objects.filter(pk=LINES).update(number=F("number") + 1)
        summaries.write(summaries.prepare(wanted, Reader(), flow_evidence.consumers(), now), now)


def recheck(now: datetime, limit: int = 200) -> frozenset[str]:
    """Make the lines of flows anew that were running a while ago: time alone ends some. Returns those it looked at.

    One still running when judged so long after its end runs on for another reason: time changes nothing.
    """
    patience = nanoseconds(now) // SECOND - RECHECK_SECONDS
    young = F("judged_at") * SECOND - F("duration_ns") - RECHECK_SECONDS * SECOND
    rows = FlowRow.objects.filter(status=status_code(FlowStatus.RUNNING), judged_at__lt=patience, started_ns__gt=young)
    keys = frozenset(rows.order_by("-started_ns").values_list("key", flat=True)[:limit])
    refresh_flows(keys, now)
    return keys


def belonging(text: str) -> list[str]:
    """The keys of the flows that a trace id or a message id belongs to."""
    reader = Reader()
    traces = {text.lower(), *reader.with_message(text)}
    return sorted({key for keys in reader.members(traces).values() for key in keys})
