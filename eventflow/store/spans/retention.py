"""Keeps the tables small: old slots are added up to minutes and hours, old spans and flows go.

In bounded steps, each a transaction of its own, so that no writer waits long. Sums stay when their spans go.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max

from eventflow.domain.clock import nanoseconds
from eventflow.store.models import (
    Edge,
    EdgeSlot,
    FlowMember,
    FlowRow,
    LibraryCount,
    MessageTrace,
    Rejected,
    StoredLink,
    StoredSpan,
)
from eventflow.store.spans.digest import OutdatedError, advance, current_generation
from eventflow.store.spans.edges import SLOT_SECONDS, Sums, merge, store_slots
from eventflow.store.spans.rows import chunks

MINUTE, HOUR = 60, 3600
KEEP_SLOTS = timedelta(hours=1)
KEEP_MINUTES = timedelta(hours=48)
STEP_TRACES = 200


def compact(now: datetime) -> int:
    """Add slots older than an hour up to minutes, minutes older than two days to hours. Returns how many rows went."""
    return _compact(SLOT_SECONDS, MINUTE, now - KEEP_SLOTS) + _compact(MINUTE, HOUR, now - KEEP_MINUTES)


def prune(before: datetime) -> int:
    """Delete the traces that ended before, with everything that points to them. Returns how many spans went."""
    before_ns = nanoseconds(before)
    gone = 0
    while step := _prune_step(before_ns):
        gone += step
    FlowRow.objects.filter(ended_ns__lt=before_ns).delete()
    EdgeSlot.objects.filter(at__lt=before_ns // 1_000_000_000).delete()
    Edge.objects.filter(last_ns__lt=before_ns, slots=None).delete()
    LibraryCount.objects.filter(last_ns__lt=before_ns).delete()
    Rejected.objects.filter(rejected_at__lt=before).delete()
    return gone


def _prune_step(before_ns: int) -> int:
    rows = StoredSpan.objects.filter(end_ns__lt=before_ns).order_by("end_ns")
    candidates = set(rows.values_list("trace_id", flat=True)[: STEP_TRACES * 20])
    candidates = set(sorted(candidates)[:STEP_TRACES])
    if not candidates:
        return 0
    young = set(
        StoredSpan.objects.filter(trace_id__in=candidates)
        .values("trace_id")
        .annotate(last_ns=Max("end_ns"))
        .filter(last_ns__gte=before_ns)
        .values_list("trace_id", flat=True)
    )
    generation = current_generation()
    try:
        with transaction.atomic():
            advance(generation)
            # Of a trace that goes on, only what is old goes: it may go on for years.
            gone, _ = StoredSpan.objects.filter(trace_id__in=young, end_ns__lt=before_ns).delete()
            return gone + _delete_traces(candidates - young)
    except OutdatedError:
        # Nothing was deleted; the digester goes first, the next retention goes on.
        return 0


def _delete_traces(traces: Collection[str]) -> int:
    gone = 0
    for part in chunks(traces):
        keys = set(FlowMember.objects.filter(trace_id__in=part).values_list("key", flat=True))
        for model in (StoredLink, MessageTrace, FlowMember):
            model._default_manager.filter(trace_id__in=part).delete()
        number, _ = StoredSpan.objects.filter(trace_id__in=part).delete()
        gone += number
        for few in chunks(keys):
            alive = set(FlowMember.objects.filter(key__in=few).values_list("key", flat=True))
            FlowRow.objects.filter(key__in=set(few) - alive).delete()
    return gone


def _compact(fine: int, coarse: int, before: datetime) -> int:
    """One resolution into the next, a few coarse slots at a time."""
    limit = int(before.timestamp()) // coarse * coarse
    gone = 0
    while True:
        oldest = EdgeSlot.objects.filter(seconds=fine, at__lt=limit).order_by("at").values_list("at", flat=True).first()
        if oldest is None:
            return gone
        start = oldest // coarse * coarse
        try:
            gone += _compact_step(fine, coarse, start, start + coarse)
        except OutdatedError:
            return gone


def _compact_step(fine: int, coarse: int, start: int, end: int) -> int:
    """Every fine slot of one coarse slot's time, in one transaction: seen before or after, the sums are the same."""
    with transaction.atomic():
        advance(current_generation())
        rows = EdgeSlot.objects.filter(seconds__in=(fine, coarse), at__gte=start, at__lt=end)
        sums: dict[int, Sums] = {}
        ids = []
        for row in rows:
            ids.append(row.pk)
            into = sums.setdefault(row.edge_id, Sums())
            into.count += row.count
            into.errors += row.errors
            merge(into.processing, row.processing)
            merge(into.wait, row.wait)
        for part in chunks(ids):
            EdgeSlot.objects.filter(pk__in=part).delete()
        store_slots((edge_id, coarse, start, added) for edge_id, added in sums.items())
    return len(ids)
