"""The topology's slots: the sums of all edges over some seconds as one packed row, so that a window is few rows.

A slot is a sparse table: a row of `WIDTH` numbers per edge, of which those that are not zero are kept. Slots that lie
together are added up once and then remembered; a slot that was written since has another token and is read again.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from secrets import randbits
from threading import Lock

import numpy as np

from eventflow.domain.edge import LENGTH
from eventflow.store.models import EdgeSlot
from eventflow.store.spans.arrays import distinct
from eventflow.store.spans.columns import Ints
from eventflow.store.spans.page import packed, unpacked
from eventflow.store.spans.rows import chunks, insert, select

COUNT, ERRORS, PROCESSING = 0, 1, 2
WAIT = PROCESSING + LENGTH
WIDTH = WAIT + LENGTH
"""Numbers per edge: two sums, two histograms."""
DENSE = 8_000_000
"""Places up to which a table is added up whole; a sparser one is sorted."""
TOGETHER = {10: 60, 60: 3600, 3600: 86_400}
"""Seconds of a slot → of those that are remembered together."""
TRIES = 5

Stamp = tuple[int, int, int]
"""A slot's at, seconds and token."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Numbers that are not zero. `keys`: edge * WIDTH + column, ascending, each once."""

    keys: Ints
    values: Ints


@dataclass(frozen=True, slots=True)
class Summed:
    """Slots together.

    cells                    over all of them
    edge, at, count, errors  what each edge has in each slot, in parallel arrays
    edges, first, last       from when to when each edge had traffic
    place                    seconds of its slots, and which stretch of time it is
    """

    place: tuple[int, int]
    cells: Cells
    edge: Ints
    at: Ints
    count: Ints
    errors: Ints
    edges: Ints
    first: Ints
    last: Ints


def combined(parts: Sequence[Cells]) -> Cells:
    """The sum; what adds up to zero is left out."""
    keys = np.concatenate([np.zeros(0, np.int64), *(part.keys for part in parts)])
    values = np.concatenate([np.zeros(0, np.int64), *(part.values for part in parts)])
    if not len(keys):
        return Cells(keys, values)
    base = int(keys.min())
    if int(keys.max()) - base < DENSE:
        sums = np.bincount(keys - base, weights=values)
        kept = np.flatnonzero(sums)
        return Cells(kept + base, sums[kept].astype(np.int64))
    keys, inverse = np.unique(keys, return_inverse=True)
    sums = np.bincount(inverse, weights=values)
    kept = np.flatnonzero(sums)
    return Cells(keys[kept], sums[kept].astype(np.int64))


def add(seconds: int, slots: Mapping[int, Cells]) -> None:
    """Add to the slots that begin at these times. Inside the caller's transaction."""
    parts: dict[int, list[Cells]] = defaultdict(list)
    for at, length, body in select(EdgeSlot, ("at", "seconds", "body"), {"at": slots}):
        if length == seconds:
            parts[at].append(opened(body))
    store({(seconds, at): combined([*parts[at], added]) for at, added in slots.items()})


def store(slots: Mapping[tuple[int, int], Cells]) -> None:
    """Set slots (seconds, at) to these sums."""
    rows = [
        (seconds, at, randbits(62), packed(cells.keys, cells.values)) for (seconds, at), cells in sorted(slots.items())
    ]
    columns = ("seconds", "at", "token", "body")
    insert(EdgeSlot, columns, rows, unique=("at", "seconds"), update=("token", "body"))


def opened(body: bytes | memoryview) -> Cells:
    """A slot's numbers."""
    return Cells(*unpacked(bytes(body)))


class _ChangedError(Exception):
    """A slot was written between the look at what there is and reading it."""


Part = tuple[Stamp, ...]
"""Slots of one length that lie together."""


class _Kept:
    """The parts last asked for, summed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._parts: OrderedDict[Part, Summed] = OrderedDict()

    def take(self, part: Part) -> Summed | None:
        """One that is here."""
        with self._lock:
            if part in self._parts:
                self._parts.move_to_end(part)
            return self._parts.get(part)

    def put(self, parts: Mapping[Part, Summed]) -> None:
        """Keep these; those not asked for longest go."""
        with self._lock:
            self._parts.update(parts)
            while len(self._parts) > self._most:
                self._parts.popitem(last=False)


_kept = _Kept(512)


def together(stamps: Callable[[], Collection[Stamp]]) -> list[Summed]:
    """The slots in parts, each of which is remembered; all as they are at one moment, unless that never comes."""
    for _ in range(TRIES):
        with suppress(_ChangedError):
            return _summed(_parts(stamps()), strict=True)
    return _summed(_parts(stamps()), strict=False)


def _parts(stamps: Collection[Stamp]) -> list[Part]:
    parts: dict[tuple[int, int], list[Stamp]] = defaultdict(list)
    for stamp in stamps:
        at, seconds, _ = stamp
        parts[seconds, at // TOGETHER.get(seconds, seconds)].append(stamp)
    return [tuple(sorted(part)) for part in parts.values()]


def _summed(parts: Sequence[Part], *, strict: bool) -> list[Summed]:
    """What is not remembered is read, all of it in one query per 500 slots."""
    found = {part: _kept.take(part) for part in parts}
    missing = [part for part, here in found.items() if here is None]
    if missing:
        tokens = [token for part in missing for _, _, token in part]
        bodies: dict[int, bytes | memoryview] = {}
        for some in chunks(tokens):
            bodies.update(EdgeSlot.objects.filter(token__in=some).values_list("token", "body"))
        if strict and len(bodies) < len(tokens):
            raise _ChangedError
        fresh = {part: _sum(part, bodies) for part in missing}
        if strict:
            _kept.put(fresh)
        found.update(fresh)
    return [here for here in found.values() if here is not None]


def _sum(stamps: Part, bodies: Mapping[int, bytes | memoryview]) -> Summed:
    seconds = stamps[0][1]
    parts = [(at, opened(bodies[token])) for at, _, token in stamps if token in bodies]
    edge, when, count, errors = ([np.zeros(0, np.int64)] for _ in range(4))
    for at, part in parts:
        edges, place = np.unique(part.keys // WIDTH, return_inverse=True)
        column = part.keys % WIDTH
        edge.append(edges)
        when.append(np.full(len(edges), at))
        for into, wanted in ((count, COUNT), (errors, ERRORS)):
            numbers = np.zeros(len(edges), np.int64)
            mine = column == wanted
            numbers[place[mine]] = part.values[mine]
            into.append(numbers)
    all_edges, begins, counts = np.concatenate(edge), np.concatenate(when), np.concatenate(count)
    busy = counts > 0
    edges, place = np.unique(all_edges[busy], return_inverse=True)
    first, last = np.full(len(edges), np.iinfo(np.int64).max), np.zeros(len(edges), np.int64)
    np.minimum.at(first, place, begins[busy])
    np.maximum.at(last, place, begins[busy] + seconds)
    return Summed(
        (seconds, stamps[0][0] // TOGETHER.get(seconds, seconds)),
        combined([part for _, part in parts]),
        all_edges,
        begins,
        counts,
        np.concatenate(errors),
        edges,
        first,
        last,
    )


BLOCK = 8
"""Neighbours that are added up together."""
_blocks: OrderedDict[tuple[int, ...], tuple[Sequence[Summed], Cells]] = OrderedDict()
BLOCKS_KEPT = 128


def neighbours(parts: Sequence[Summed]) -> list[Cells]:
    """The cells of all parts. From one question to the next most neighbours stay as they are: their sums are kept."""
    blocks: dict[tuple[int, int], list[Summed]] = defaultdict(list)
    for part in parts:
        seconds, stretch = part.place
        blocks[seconds, stretch // BLOCK].append(part)
    return [_block(block) for block in blocks.values()]


def _block(parts: Sequence[Summed]) -> Cells:
    # What is kept holds its parts: no other can have the address of one of them.
    name = tuple(map(id, parts))
    kept = _blocks.get(name)
    if kept is None:
        kept = _blocks[name] = parts, combined([part.cells for part in parts])
        while len(_blocks) > BLOCKS_KEPT:
            with suppress(KeyError):
                _blocks.popitem(last=False)
    return kept[1]


def bounds(parts: Sequence[Summed]) -> dict[int, tuple[int, int]]:
    """Edge → from when to when it had traffic, in epoch seconds."""
    if not parts:
        return {}
    edges, first, last = (
        np.concatenate(columns) for columns in zip(*((p.edges, p.first, p.last) for p in parts), strict=True)
    )
    order = np.argsort(edges, kind="stable")
    edges = edges[order]
    begins = np.flatnonzero(np.concatenate(([True], edges[1:] != edges[:-1])))[: len(edges)]
    if not len(edges):
        return {}
    firsts, lasts = np.minimum.reduceat(first[order], begins), np.maximum.reduceat(last[order], begins)
    return dict(zip(edges[begins].tolist(), zip(firsts.tolist(), lasts.tolist(), strict=True), strict=True))


def table(parts: Sequence[Cells]) -> tuple[Ints, Ints]:
    """The sum of cells: the edges, and `WIDTH` numbers for each."""
    keys = np.concatenate([np.zeros(0, np.int64), *(part.keys for part in parts)])
    values = np.concatenate([np.zeros(0, np.int64), *(part.values for part in parts)])
    edges = keys // WIDTH
    first, number = distinct(edges.view(np.uint64))
    places = number * WIDTH + (keys - edges * WIDTH)
    sums = np.bincount(places, weights=values, minlength=len(first) * WIDTH)
    return edges[first], sums.astype(np.int64).reshape(-1, WIDTH)


def histograms(rows: Ints) -> tuple[Ints, Ints]:
    """Of rows of `table`, the counts of both: of processing and of waiting."""
    return rows[:, PROCESSING:WAIT], rows[:, WAIT:]
