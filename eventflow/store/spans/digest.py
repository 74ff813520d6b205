"""From the inbox into chunks, index and sums: one step takes some requests and writes all of them in one transaction.

Several processes may do this, each for its shard of the inbox: prepared by all at once, written in turns, each learning
first what the others wrote. The requests go in the same transaction: a crash leaves them or their spans, never both.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from eventflow.domain.columns import SpanColumns
from eventflow.domain.observations import Span
from eventflow.store.models import Chunk, Inbox, Rejected
from eventflow.store.spans import arrays, edges, form, generation, libraries, opened, pack, sums, whole
from eventflow.store.spans.columns import Flags, Ints, Portion, together
from eventflow.store.spans.generation import JUDGED, SPANS, OutdatedError
from eventflow.store.spans.handover import Handover
from eventflow.store.spans.inbox import fresh, unpacked
from eventflow.store.spans.keys import Keys, keys_of, read_whole
from eventflow.store.spans.meaning import Meanings
from eventflow.store.spans.memory import Memory
from eventflow.store.spans.text import fit
from eventflow.store.spans.turn import Claim, turn

log = logging.getLogger(__name__)

STEP_REQUESTS = 256
STEP_SPANS = 16_000
"""A step takes requests until it has this many spans: it bounds how long the one writer is kept from others."""

LEFT_BEHIND = timedelta(seconds=10)
"""A request that waits as long in the shard of a process that is gone is everybody's."""

SPANS_REMEMBERED = 300_000
"""Spans read again at the start: duplicates of older ones are found when reading only."""

handover = Handover()
memory = Memory()
"""This process's; whoever judges lines takes from it whom a late publisher woke."""


@dataclass(frozen=True, slots=True)
class Digested:
    """What a step did. Nothing at all (`requests` 0) when the inbox was empty or another process was faster."""

    requests: int = 0
    spans: int = 0
    new_spans: int = 0
    rejected: int = 0
    flow_keys: frozenset[str] = frozenset()
    services_seen: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """(system, destination, group) → the service whose spans name them."""
    edges_changed: bool = False
    full: bool = False
    """It took as much as a step takes: more may wait."""


@dataclass(slots=True)
class _Taken:
    """Requests out of the inbox, oldest first."""

    ids: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    columns: list[SpanColumns] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    spans: int = 0


def digest(now: datetime, *, limit: int = STEP_REQUESTS) -> Digested:
    """Take up to `limit` requests in. What the database raises, it raises, nothing done."""
    taken = _take(now, limit)
    if not taken.ids:
        return Digested(edges_changed=_caught_up())
    prepared = _prepare(taken)
    with turn("digest"):
        number = generation.current(SPANS)
        if memory.generation != number:
            _catch_up(number)
        try:
            return _write(taken, prepared, number, limit)
        except OutdatedError:
            return Digested()


@dataclass(slots=True)
class _Prepared:
    """What can be done before it is this process's turn. `new` and `packed` hold for the memory as it was then."""

    portion: Portion
    meaning: Ints
    odd: Mapping[int, Span]
    keys: Keys
    new: Flags
    packed: pack.Packed


def _prepare(taken: _Taken) -> _Prepared:
    wire, meanings = form.form(), form.meanings()
    portion = together(taken.bodies, taken.columns)
    meaning = meanings.of(portion)
    odd = read_whole(portion, np.flatnonzero(portion.odd), wire)
    keys, new = keys_of(portion, meaning, meanings, odd), _new(portion)
    return _Prepared(portion, meaning, odd, keys, new, pack.pack(portion, np.flatnonzero(new), keys, wire))


def _write(taken: _Taken, prepared: _Prepared, number: int, limit: int) -> Digested:
    meanings, portion, meaning = form.meanings(), prepared.portion, prepared.meaning
    new, packed = _new(portion), prepared.packed
    if not np.array_equal(new, prepared.new):
        packed = pack.pack(portion, np.flatnonzero(new), prepared.keys, form.form())
    added = sums.add(portion, new, meaning, meanings, memory)
    whole.add(added, portion, new, memory)
    counts, groups = _learned(portion, meaning, meanings, new, prepared.odd)
    with transaction.atomic():
        generation.advance(SPANS, number)
        Rejected.objects.bulk_create(taken.rejected)
        chunks = pack.write(packed, level=0)
        edges.write(added.delta)
        libraries.write(counts)
        if Inbox.objects.filter(pk__in=taken.ids).delete()[0] != len(taken.ids):
            # Somebody else digested them: a process that was taken for dead, or that took us for dead.
            raise OutdatedError
    added.learned.into(memory)
    memory.generation, memory.last_chunk = number + 1, max([memory.last_chunk, *chunks[-1:]])
    handover.put(chunks, taken.bodies, taken.columns, new)
    return Digested(
        requests=len(taken.ids),
        spans=taken.spans,
        new_spans=int(new.sum()),
        rejected=len(taken.rejected),
        services_seen=groups,
        full=len(taken.ids) >= limit or taken.spans >= STEP_SPANS,
        edges_changed=any(not one.empty() for one in added.delta.sums.values()),
    )


def _take(now: datetime, limit: int) -> _Taken:
    """Of this process's shard; if nothing waits there, what a process that is gone has left."""
    taken = _Taken()
    for pk, received_at in _waiting(now, limit):
        taken.ids.append(pk)
        kept = fresh.take(pk, received_at)
        if kept is None:
            kept = _read(pk, now, taken.rejected)
        if kept is None:
            continue
        body, columns = kept
        taken.bodies.append(body)
        taken.columns.append(columns)
        taken.spans += columns.count
        if taken.spans >= STEP_SPANS:
            break
    return taken


def _waiting(now: datetime, limit: int) -> list[tuple[int, datetime]]:
    rows = Inbox.objects.order_by("id").values_list("id", "received_at")
    if mine := list(rows.filter(shard=settings.EVENTFLOW_SHARD)[:limit]):
        return mine
    left = Inbox.objects.exclude(shard=settings.EVENTFLOW_SHARD).filter(received_at__lt=now - LEFT_BEHIND)
    for shard in left.values_list("shard", flat=True).distinct():
        claim = Claim(f"shard-{shard}")
        try:
            if claim.try_it():
                return list(rows.filter(shard=shard)[:limit])
        finally:
            claim.give_back()
    return []


def _read(pk: int, now: datetime, rejected: list[Rejected]) -> tuple[bytes, SpanColumns] | None:
    """A request out of the inbox, scanned; None for one that nobody can read, which is put aside."""
    for row in Inbox.objects.filter(pk=pk):
        try:
            body = unpacked(row.encoding, bytes(row.body))
            return body, form.form().scan(body)
        except Exception as error:
            # Whatever is wrong with one body must not stop those behind it.
            log.exception("request %s could not be read and was put aside", pk)
            reason = fit(f"{type(error).__name__}: {error}")
            rejected.append(
                Rejected(
                    body=row.body, encoding=row.encoding, reason=reason, received_at=row.received_at, rejected_at=now
                )
            )
    return None


def _new(portion: Portion) -> Flags:
    """The rows whose spans are not here yet, each address once."""
    known, _ = memory.spans.find(portion.context)
    first = np.zeros(len(portion), bool)
    first[arrays.distinct(portion.context)[0]] = True
    return first & ~known


def _learned(
    portion: Portion, meaning: Ints, meanings: Meanings, new: Flags, odd: Mapping[int, Span]
) -> tuple[libraries.Counts, dict[tuple[str, str, str], str]]:
    """What libraries' spans lack, and which service is behind which group."""
    groups = {}
    counts = libraries.none()
    plain = new & ~portion.odd
    times = np.bincount(meaning[plain], minlength=len(meanings.known))
    last = np.zeros(len(times), np.int64)
    np.maximum.at(last, meaning[plain], portion.end[plain])
    numbers = np.flatnonzero(times)
    for number, often, end in zip(numbers.tolist(), times[numbers].tolist(), last[numbers].tolist(), strict=True):
        one = meanings.known[number]
        if one.group is not None:
            groups[one.group[0]] = one.group[1]
        if one.library is not None:
            where, lacks = one.library
            libraries.add(counts, where, lacks, times=often, last_ns=end)
    for row, span in odd.items():
        if new[row] and (added := libraries.of(span)) is not None:
            where, lacks = added
            libraries.add(counts, where, lacks, times=1, last_ns=span.end_ns)
    return counts, groups


def _caught_up() -> bool:
    """Learn what others digested while nothing waits here; whether there was something."""
    if memory.generation == generation.current(SPANS):
        return False
    with turn("digest"):
        _catch_up(generation.current(SPANS))
    return True


def _catch_up(number: int) -> None:
    """Learn what another process digested since: as if those spans came here, too, of which nothing is counted."""
    chunks = Chunk.objects.filter(pk__gt=memory.last_chunk, level=0).order_by("id").values_list("id", "spans")
    added = list(chunks) if 0 <= memory.generation < number else []
    if not added or sum(spans for _, spans in added) > SPANS_REMEMBERED:
        remember()
    else:
        _learn([pk for pk, _ in added])
    memory.generation = number


def _learn(chunks: Sequence[int]) -> None:
    here = opened.opened(chunks)
    parts = [here[pk] for pk in sorted(here)]
    if parts:
        portion = together([part.body for part in parts], [part.columns for part in parts])
        meanings = form.meanings()
        added = sums.add(portion, _new(portion), meanings.of(portion), meanings, memory)
        added.learned.into(memory)
    memory.last_chunk = max([memory.last_chunk, *chunks])


def remember() -> None:
    """Make the memory anew from the newest chunks: as if their spans came again, of which nothing is counted."""
    memory.forget()
    handover.forget()
    spans = 0
    newest: list[int] = []
    judged = generation.current(JUDGED)
    memory.last_chunk = Chunk.objects.aggregate(last=Max("id"))["last"] or 0
    for pk, number in Chunk.objects.order_by("-last_ns", "-id").values_list("id", "spans").iterator():
        spans += number
        if spans > SPANS_REMEMBERED:
            break
        newest.append(pk)
    for pk in reversed(newest):
        _learn([pk])
        if pk <= judged:
            # The lines of these are made; only who woke since is still to be told.
            memory.woken.clear()
