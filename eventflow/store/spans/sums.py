"""What a flush adds to the topology's sums, column by column; traces that need it are named to be judged whole.

For a trace whose hops don't stand inside each other the sum over its spans is what the domain says of them together
(`store.spans.edges`), in any order of arrival. Which traces are not like that is decided here, never guessed later.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from eventflow.domain.edge import BUCKETS_PER_DOUBLING, FIRST_NS, LENGTH
from eventflow.store.spans import arrays
from eventflow.store.spans.columns import U64, Flags, Ints, Portion, mixed
from eventflow.store.spans.edges import FOLD_LIMIT, SLOT_SECONDS, Delta, Sums
from eventflow.store.spans.meaning import CONSUME, PUBLISH, Meanings
from eventflow.store.spans.memory import Learned, Memory, wait_key

_SLOT_NS = SLOT_SECONDS * 1_000_000_000
_SIDE, _EDGE, _FAILED, _WHOLE, _MESSAGES, _FIRST = range(6)
_BOUNDS = FIRST_NS * 2.0 ** (np.arange(LENGTH - 1) / BUCKETS_PER_DOUBLING)


def buckets(durations: Ints) -> Ints:
    """`Histogram.bucket` of many durations."""
    return np.searchsorted(_BOUNDS, np.maximum(durations, 0), side="left")


@dataclass(slots=True)
class Summed:
    """What a flush adds.

    delta    the sums of the traces that can be summed span by span
    whole    the hashes of the traces that must be judged whole; nothing of them is in `delta`
    learned  for the memory, once it is committed
    """

    delta: Delta
    whole: U64
    learned: Learned


@dataclass(slots=True)
class _Hops:
    """The new spans that are hops. Parallel arrays.

    came_hop, came, came_inward  the contexts consumers came with: hop's position, context, whether in its own trace
    """

    row: Ints
    context: U64
    trace: U64
    parent: U64
    publish: Flags
    meaning: Ints
    edge: Ints
    start: Ints
    end: Ints
    slot: Ints
    first: Flags
    linked: Flags
    came_hop: Ints
    came: U64
    came_inward: Flags


def add(portion: Portion, new: Flags, meaning: Ints, meanings: Meanings, memory: Memory) -> Summed:
    """Sum the new rows of a portion; `meaning` has the number of every row's shape."""
    table = meanings.table()
    hops = _hops(portion, new, meaning, table)
    first, number = arrays.distinct(portion.trace[new])
    traces, counts = portion.trace[new][first], np.bincount(number, minlength=len(first))
    counts += memory.traces.find(traces)[1][:, 0]
    huge = traces[counts > FOLD_LIMIT]
    inside_bits = np.where(hops.publish, 1, np.where(_comes_elsewhere(hops), 6, 2))
    has_parent = hops.parent != 0
    nested = _nested(hops, inside_bits, memory)
    odd = new & ((table[:, _WHOLE] != 0)[meaning] | portion.odd)
    whole = np.unique(np.concatenate((portion.trace[odd], hops.trace[nested], _marked(traces, memory))))
    whole = whole[~arrays.among(whole, huge)[0]]
    delta = Delta()
    simple = ~arrays.among(hops.trace, whole)[0]
    _count(delta, hops, table, simple, meanings)
    waits = _waits(hops, simple, whole, memory)
    _add_histogram(delta, meanings, _Timed(waits.edge, waits.slot, waits.nanoseconds), "wait")
    learned = Learned(
        spans=portion.context[new],
        hops=hops.context,
        hop_rows=np.stack((np.where(hops.publish, PUBLISH, CONSUME), hops.start, hops.end), axis=1),
        inside=hops.parent[has_parent],
        inside_bits=inside_bits[has_parent],
        traces=traces,
        trace_counts=counts,
        whole=whole,
        waited=waits.counted,
        pending=waits.missing,
        pending_rows=waits.missing_rows,
        woken=waits.late,
    )
    return Summed(delta, np.unique(np.concatenate((whole, waits.late_whole))), learned)


def _hops(portion: Portion, new: Flags, meaning: Ints, table: Ints) -> _Hops:
    row = np.flatnonzero(new & (table[:, _SIDE] != 0)[meaning])
    meaning = meaning[row]
    position = np.full(len(portion), -1, np.int64)
    position[row] = np.arange(len(row))
    publish = (table[:, _SIDE] == PUBLISH)[meaning]
    link_hop = position[portion.link_row]
    consumed = link_hop >= 0
    consumed[consumed] = ~publish[link_hop[consumed]]
    inward = (portion.link_trace == portion.trace[portion.link_row])[consumed]
    by_link, linked_to = link_hop[consumed], portion.link_context[consumed]
    # Two links of a span to one address are one.
    once, _ = arrays.distinct(linked_to ^ mixed(by_link.astype(np.uint64), 6))
    by_link, linked_to, inward = by_link[once], linked_to[once], inward[once]
    linked = np.zeros(len(row), bool)
    linked[by_link] = True
    parent = portion.parent[row]
    by_parent = np.flatnonzero(~publish & ~linked & (parent != 0))
    start = portion.start[row]
    end = np.maximum(start, portion.end[row])
    return _Hops(
        row=row,
        context=portion.context[row],
        trace=portion.trace[row],
        parent=parent,
        publish=publish,
        meaning=meaning,
        edge=table[:, _EDGE][meaning],
        start=start,
        end=end,
        slot=end // _SLOT_NS * SLOT_SECONDS,
        first=(table[:, _FIRST] != 0)[meaning],
        linked=linked,
        came_hop=np.concatenate((by_link, by_parent)),
        came=np.concatenate((linked_to, parent[by_parent])),
        came_inward=np.concatenate((inward, np.ones(len(by_parent), bool))),
    )


def _nested(hops: _Hops, bits: Ints, memory: Memory) -> Ints:
    """The hops that another hop of their trace may speak for, or that may speak for another."""
    found, at = arrays.among(hops.parent, hops.context)
    known, stored = memory.hops.find_some(hops.parent, ~found & (hops.parent != 0))
    outer = np.where(found, np.where(hops.publish[at], PUBLISH, CONSUME), np.where(known, stored[:, 0], 0))
    outer = np.where(hops.parent == 0, 0, outer)
    own = np.where(hops.publish, PUBLISH, CONSUME)
    inner = (outer == own) | ((outer == PUBLISH) & (bits == 6))
    # The same seen from the other end: what came earlier may stand inside of what is new.
    _, earlier = memory.inside.find(hops.context)
    earlier_bits = earlier[:, 0]
    outside = np.where(hops.publish, (earlier_bits & 5) != 0, (earlier_bits & 2) != 0)
    # Of several links some of which lead into its own trace, only the whole trace tells which brought messages.
    inward = hops.linked[hops.came_hop] & hops.came_inward
    several = np.bincount(hops.came_hop, minlength=len(hops.row)) > 1
    own_trace = np.zeros(len(hops.row), bool)
    own_trace[hops.came_hop[inward]] = True
    own_trace &= several
    return np.flatnonzero(inner | outside | own_trace)


def _comes_elsewhere(hops: _Hops) -> Flags:
    """Consumers that have links and a parent which is none of their links' targets."""
    by_parent = np.zeros(len(hops.row), bool)
    by_parent[hops.came_hop[hops.came == hops.parent[hops.came_hop]]] = True
    found: Flags = hops.linked & (hops.parent != 0) & ~by_parent
    return found


def _marked(traces: U64, memory: Memory) -> U64:
    known, _ = memory.whole.find(traces)
    return traces[known]


def _count(delta: Delta, hops: _Hops, table: Ints, simple: Flags, meanings: Meanings) -> None:
    links = np.bincount(hops.came_hop, minlength=len(hops.row))
    messages = np.where(hops.linked, links, table[:, _MESSAGES][hops.meaning])
    failed = table[:, _FAILED][hops.meaning]
    groups, inverse = _groups(hops.edge[simple], hops.slot[simple])
    counts = np.bincount(inverse, weights=messages[simple], minlength=len(groups)).astype(np.int64)
    errors = np.bincount(inverse, weights=(messages * failed)[simple], minlength=len(groups)).astype(np.int64)
    for (edge, slot), count, error in zip(groups.tolist(), counts.tolist(), errors.tolist(), strict=True):
        sums = delta.sums[meanings.edges[edge], slot]
        sums.count += count
        sums.errors += error
    processing = _Timed(hops.edge[simple], hops.slot[simple], (hops.end - hops.start)[simple])
    _add_histogram(delta, meanings, processing, "processing")
    at = hops.edge[simple]
    first = np.full(len(meanings.edges), np.iinfo(np.int64).max)
    last = np.full(len(meanings.edges), -1, np.int64)
    np.minimum.at(first, at, hops.start[simple])
    np.maximum.at(last, at, hops.end[simple])
    seen = np.flatnonzero(last >= 0)
    for edge, begin, end in zip(seen.tolist(), first[seen].tolist(), last[seen].tolist(), strict=True):
        delta.bounds[meanings.edges[edge]] = (begin, end)


@dataclass(slots=True)
class _Waits:
    edge: Ints
    slot: Ints
    nanoseconds: Ints
    counted: U64
    missing: U64
    missing_rows: Ints
    late: U64
    """Traces whose publisher is here only now."""
    late_whole: U64
    """Those of them that are judged whole."""


def _waits(hops: _Hops, simple: Flags, now_whole: U64, memory: Memory) -> _Waits:
    """How long messages lay in the broker: of new consumers, and of earlier ones whose publisher is new."""
    at = hops.came_hop
    counts = hops.first[at]
    at, came = at[counts], hops.came[counts]
    keys = wait_key(came, hops.edge[at], hops.trace[at])
    again, _ = memory.waited.find(keys)
    kept = _earliest(keys, hops.start[at]) & ~again
    at, came, keys = at[kept], came[kept], keys[kept]
    published = np.flatnonzero(hops.publish)
    here, where = arrays.among(came, hops.context[published])
    known, stored = memory.hops.find_some(came, ~here)
    known &= stored[:, 0] == PUBLISH
    begun = np.where(here, hops.start[published][where] if len(published) else 0, stored[:, 1])
    ended = np.where(here, hops.end[published][where] if len(published) else 0, stored[:, 2])
    found = here | known
    wait = _queue_wait(hops.start[at], begun, ended)
    mine = found & simple[at]
    late = _late(hops, published, now_whole, memory)
    missing = ~found
    return _Waits(
        edge=np.concatenate((hops.edge[at[mine]], late.edge)),
        slot=np.concatenate((hops.slot[at[mine]], late.slot)),
        nanoseconds=np.concatenate((wait[mine], late.nanoseconds)),
        counted=keys[simple[at]],
        missing=came[missing],
        missing_rows=np.stack(
            (
                hops.edge[at[missing]],
                hops.slot[at[missing]],
                hops.start[at[missing]],
                hops.trace[at[missing]].view(np.int64),
            ),
            axis=1,
        ),
        late=late.late,
        late_whole=late.late_whole,
    )


def _earliest(keys: U64, starts: Ints) -> Flags:
    """Of several spans that tell of one wait the earliest counts."""
    firsts, _ = arrays.distinct(keys)
    if len(firsts) == len(keys):
        return np.ones(len(keys), bool)
    order = np.argsort(starts, kind="stable")
    firsts, _ = arrays.distinct(keys[order])
    found = np.zeros(len(keys), bool)
    found[order[firsts]] = True
    return found


def _late(hops: _Hops, published: Ints, now_whole: U64, memory: Memory) -> _Waits:
    positions, rows = memory.pending.waiting_for(hops.context[published])
    traces = np.ascontiguousarray(rows[:, 3]).view(np.uint64)
    whole, _ = memory.whole.find(traces)
    whole |= arrays.among(traces, now_whole)[0]
    publish = published[positions]
    wait = _queue_wait(rows[:, 2], hops.start[publish], hops.end[publish])
    nothing = np.zeros(0, np.uint64)
    kept = ~whole
    return _Waits(
        edge=rows[kept, 0],
        slot=rows[kept, 1],
        nanoseconds=wait[kept],
        counted=nothing,
        missing=nothing,
        missing_rows=np.zeros((0, 4), np.int64),
        late=np.unique(traces),
        late_whole=np.unique(traces[whole]),
    )


def _queue_wait(consumed: Ints, begun: Ints, ended: Ints) -> Ints:
    """`edges.queue_wait_ns` of many."""
    return np.maximum(0, consumed - np.where(ended <= consumed, ended, begun))


def _groups(edge: Ints, slot: Ints) -> tuple[Ints, Ints]:
    """The distinct pairs (edge, slot), and which each row has."""
    pairs = (edge << 36) | slot
    first, inverse = arrays.distinct(pairs.view(np.uint64))
    return np.stack((edge[first], slot[first]), axis=1), inverse


class _Timed(NamedTuple):
    """Durations with the edge and the slot that they belong to."""

    edge: Ints
    slot: Ints
    nanoseconds: Ints


def _add_histogram(delta: Delta, meanings: Meanings, timed: _Timed, name: str) -> None:
    groups, inverse = _groups(timed.edge, timed.slot)
    counts = np.bincount(inverse * LENGTH + buckets(timed.nanoseconds), minlength=len(groups) * LENGTH)
    for (edge, slot), row in zip(groups.tolist(), counts.reshape(-1, LENGTH), strict=True):
        sums: Sums = delta.sums[meanings.edges[edge], slot]
        into: dict[int, int] = getattr(sums, name)
        filled = np.flatnonzero(row)
        for bucket, count in zip(filled.tolist(), row[filled].tolist(), strict=True):
            into[bucket] += count
