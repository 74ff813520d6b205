"""Keeps the tables small: old slots are added up to minutes and hours, old spans and flows go.

In bounded steps, each a transaction of its own, so that no writer waits long. Sums stay when their spans go.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Min, QuerySet, Sum
from django.db.models.functions import Length

from eventflow.domain.clock import nanoseconds
from eventflow.store.models import Chunk, Edge, EdgeSlot, FlowRow, IndexRun, LibraryCount, Rejected
from eventflow.store.spans import generation, lines, runs, slots
from eventflow.store.spans.edges import SLOT_SECONDS
from eventflow.store.spans.generation import SPANS
from eventflow.store.spans.opened import opened
from eventflow.store.spans.repack import repack

MINUTE, HOUR = 60, 3600
KEEP_SLOTS = timedelta(hours=1)
KEEP_MINUTES = timedelta(hours=48)
STEP_CHUNKS = 200


def compact(now: datetime) -> int:
    """Add slots older than an hour up to minutes, minutes older than two days to hours. Returns how many rows went."""
    return _compact(SLOT_SECONDS, MINUTE, now - KEEP_SLOTS) + _compact(MINUTE, HOUR, now - KEEP_MINUTES)


def prune(before: datetime) -> int:
    """Delete the spans that ended before, with the lines of flows as old. Returns how many spans went."""
    before_ns = nanoseconds(before)
    gone = 0
    while step := _prune_step(Chunk.objects.filter(last_ns__lt=before_ns)):
        gone += step
    # Of a flow that goes on, only what is old goes: it may go on for years.
    for pk, level in Chunk.objects.filter(first_ns__lt=before_ns).values_list("id", "level"):
        gone += _cut(pk, level, before_ns)
    _drop_lines(before_ns)
    EdgeSlot.objects.filter(at__lt=before_ns // 1_000_000_000).delete()
    Edge.objects.filter(last_ns__lt=before_ns).delete()
    LibraryCount.objects.filter(last_ns__lt=before_ns).delete()
    Rejected.objects.filter(rejected_at__lt=before).delete()
    return gone


def shrink(limit: int) -> int:
    """Delete the oldest chunks until all together have at most `limit` bytes, and the lines of flows as old.

    Returns how many spans went. The index over them (a tenth of it) is not counted; sums stay.
    """
    gone = 0
    while (too_much := _size() - limit) > 0:
        oldest = []
        for pk, size in Chunk.objects.order_by("last_ns").values_list("id", Length("body"))[:STEP_CHUNKS]:
            oldest.append(pk)
            too_much -= size
            if too_much <= 0:
                break
        gone += _prune_step(Chunk.objects.filter(pk__in=oldest))
    if gone:
        since = Chunk.objects.aggregate(since=Min("first_ns"))["since"]
        _drop_lines(since)
    return gone


def _drop_lines(before_ns: int | None) -> None:
    """Delete the lines of flows that ended before; all of them without a time."""
    rows = FlowRow.objects.all()
    if before_ns is not None:
        rows = rows.filter(started_ns__lt=before_ns - F("duration_ns"))
    rows.delete()
    lines.sweep()


def _size() -> int:
    size: int | None = Chunk.objects.aggregate(size=Sum(Length("body")))["size"]
    return size or 0


def _cut(pk: int, level: int, before_ns: int) -> int:
    """Pack a chunk anew without its old spans."""
    for chunk in opened([pk]).values():
        old = int((chunk.portion.end < before_ns).sum())
        if old:
            repack([pk], max(level, 1), lambda portion: portion.end >= before_ns)
        return old
    return 0


def _prune_step(chunks: QuerySet[Chunk]) -> int:
    """Delete some chunks, the oldest first, and the runs of the index that name none any more."""
    rows = list(chunks.order_by("last_ns").values_list("id", "spans")[:STEP_CHUNKS])
    with transaction.atomic():
        Chunk.objects.filter(pk__in=[pk for pk, _ in rows]).delete()
    oldest = Chunk.objects.aggregate(oldest=Min("id"))["oldest"]
    old = IndexRun.objects.filter(ready=True)
    runs.drop((old if oldest is None else old.filter(last_chunk__lt=oldest)).values_list("id", flat=True))
    return sum(spans for _, spans in rows)


def _compact(fine: int, coarse: int, before: datetime) -> int:
    """One resolution into the next, a few coarse slots at a time."""
    limit = int(before.timestamp()) // coarse * coarse
    gone = 0
    while True:
        oldest = EdgeSlot.objects.filter(seconds=fine, at__lt=limit).order_by("at").values_list("at", flat=True).first()
        if oldest is None:
            return gone
        start = oldest // coarse * coarse
        gone += _compact_step(fine, coarse, start, start + coarse)


def _compact_step(fine: int, coarse: int, start: int, end: int) -> int:
    """Every fine slot of one coarse slot's time, in one transaction: seen before or after, the sums are the same."""
    with transaction.atomic():
        generation.hold(SPANS)
        rows = EdgeSlot.objects.filter(seconds__in=(fine, coarse), at__gte=start, at__lt=end)
        bodies = dict(rows.values_list("id", "body"))
        added = slots.combined([slots.opened(body) for body in bodies.values()])
        EdgeSlot.objects.filter(pk__in=list(bodies)).delete()
        slots.store({(coarse, start): added})
    return len(bodies)
