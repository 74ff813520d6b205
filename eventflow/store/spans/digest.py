"""From the inbox into chunks, index and sums: one step takes some requests and writes all of them in one transaction.

One process does this at a time; a step that finds that another one wrote meanwhile writes nothing. The requests go in
the same transaction: a crash leaves either them or their spans, never both.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from django.db import connection

from eventflow.domain.columns import Body, SpanColumns
from eventflow.domain.observations import Span
from eventflow.store.models import Chunk, Inbox, Rejected
from eventflow.store.spans import arrays, edges, form, fresh, generation, ids, libraries, opened, pack, sums, whole
from eventflow.store.spans.columns import Flags, Ints, Portion, together
from eventflow.store.spans.generation import JUDGED, SPANS, OutdatedError
from eventflow.store.spans.handover import Handover
from eventflow.store.spans.inbox import unpacked
from eventflow.store.spans.keys import Keys, flows_of, messages_of, read_whole
from eventflow.store.spans.meaning import Meanings
from eventflow.store.spans.memory import Memory
from eventflow.store.spans.rows import delete
from eventflow.store.spans.text import fit
from eventflow.store.spans.turn import writing

log = logging.getLogger(__name__)

STEP_REQUESTS = 256
ASKED_AT_ONCE = 64
"""Requests that the inbox is asked for at a time: of large ones a step takes few."""
STEP_SPANS = 16_000
"""A step takes requests until it has this many spans: it bounds how long the one writer is kept from others."""

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
    bodies: list[Body] = field(default_factory=list)
    columns: list[SpanColumns] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    spans: int = 0


def commit_without_disk() -> None:
    """This thread's commits need not wait for the disk from now on: for who digests, never for who acknowledges.

    What a power cut takes back is a whole end of what was committed: spans go together with the word that their
    request is no longer in the inbox, where it was durable before.
    """
    if connection.connection is None:
        sqlite = connection.vendor == "sqlite"
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=NORMAL" if sqlite else "SET synchronous_commit = off")


def digest(now: datetime, *, limit: int = STEP_REQUESTS) -> Digested:
    """Take up to `limit` requests in. What the database raises, it raises, nothing done."""
    number = generation.current(SPANS)
    if memory.generation != number:
        remember()
        memory.generation = number
    try:
        taken = _take(now, limit)
        return _digest(taken, number, limit) if taken.ids else Digested()
    except OutdatedError:
        return Digested()
    finally:
        fresh.let_go()


def _digest(taken: _Taken, number: int, limit: int) -> Digested:
    wire, meanings = form.form(), form.meanings()
    portion = together(taken.bodies, taken.columns)
    new = _new(portion)
    meaning = meanings.of(portion)
    odd = read_whole(portion, np.flatnonzero(portion.odd), wire)
    flows = flows_of(portion, meaning, meanings, odd)
    packed = pack.pack(portion, np.flatnonzero(new), flows, wire)
    # Chunks are compressed meanwhile: what they don't need comes now.
    messages = messages_of(portion, meaning, meanings, odd)
    entries = pack.entries(portion, packed, Keys(flows, messages), wire)
    entries.run(memory.last_chunk + 1)
    added = sums.add(portion, new, meaning, meanings, memory)
    whole.add(added, portion, new, memory)
    counts, groups = _learned(portion, meaning, meanings, new, odd)
    packed.wait()
    with writing():
        generation.advance(SPANS, number)
        Rejected.objects.bulk_create(taken.rejected)
        chunks = pack.write(packed, entries, level=0)
        edges.write(added.delta)
        libraries.write(counts)
        delete(Inbox, taken.ids)
    added.learned.into(memory, chunks.stop - 1)
    memory.generation = number + 1
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
    taken = _Taken()
    for pk, received_at in _waiting(limit):
        if not taken.ids:
            fresh.forget_before(pk)
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
    if not taken.ids:
        fresh.forget_before(0)
    return taken


def _waiting(limit: int) -> Iterator[tuple[int, datetime]]:
    """The oldest requests in the inbox: id and when it came."""
    last = 0
    while limit > 0:
        rows = Inbox.objects.filter(id__gt=last).order_by("id").values_list("id", "received_at")
        some = list(rows[: min(limit, ASKED_AT_ONCE)])
        yield from some
        if len(some) < ASKED_AT_ONCE:
            break
        last, limit = some[-1][0], limit - len(some)


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


def remember() -> None:
    """Make the memory anew from the newest chunks: as if their spans came again, of which nothing is counted."""
    memory.forget()
    handover.forget()
    meanings = form.meanings()
    spans = 0
    newest: list[int] = []
    judged = generation.current(JUDGED)
    for pk, number in Chunk.objects.order_by("-last_ns", "-id").values_list("id", "spans").iterator():
        spans += number
        if spans > SPANS_REMEMBERED:
            break
        newest.append(pk)
    for pk in reversed(newest):
        for chunk in opened.opened([pk]).values():
            added = sums.add(chunk.portion, _new(chunk.portion), chunk.meaning, meanings, memory)
            added.learned.into(memory, pk)
        if pk <= judged:
            # The lines of these are made; only who woke since is still to be told.
            memory.woken.clear()
            memory.born.put(ids.of_traces(chunk.portion.trace), np.zeros((len(chunk.portion), 1), np.int64))
