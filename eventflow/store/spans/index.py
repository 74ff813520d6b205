"""The index: hash of an id → the chunks that hold it, as sorted runs of pages in place of a B-tree entry per span.

A write adds one run; `runs.py` makes few of many. Hashes are cut short: a chunk may be named in vain, never left out.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from secrets import randbits
from typing import TypeAlias

import numpy as np

from eventflow.store.models import IndexPage, IndexRun
from eventflow.store.spans import arrays
from eventflow.store.spans.bloom import Filter, halves
from eventflow.store.spans.columns import U64, Flags, Ints
from eventflow.store.spans.directory import Directory, PageName, Run, Runs, directory_of, filters_of, read, runs
from eventflow.store.spans.generation import OutdatedError
from eventflow.store.spans.page import Decoded, packed_pages
from eventflow.store.spans.rows import insert

PAGE = 900
"""Entries in a page; more only where one hash has more. About as many as fill a page of SQLite's."""
TRIES = 5
BITS = 40
"""Of a hash that are kept. A billion ids make one lookup in a thousand name a chunk in vain."""
CUT = 64 - BITS
"""The lowest bits, which are not kept."""
_SPARE = 63 - BITS
"""Bits that a hash leaves free in a signed number of 64."""
FEW = 64
"""Hashes that are looked up one by one."""


def shortened(hashes: U64) -> Ints:
    """The bits of hashes that the index keeps, as numbers a database can compare."""
    return (hashes >> np.uint64(CUT)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to be written: `pages` are the first hash and the body of each."""

    entries: int
    first_chunk: int
    last_chunk: int
    pages: Sequence[tuple[int, bytes]]


def prepare(hashes: Ints, chunks: Ints) -> Prepared:
    """Entries, in any order, as a run. Needs no transaction, and takes longer than writing it."""
    if not len(hashes):
        return Prepared(0, 0, 0, ())
    hashes, chunks = ordered(hashes, chunks)
    return Prepared(len(hashes), int(chunks.min()), int(chunks.max()), as_pages(hashes, chunks))


def write(run: Prepared) -> None:
    """Write a new run. Inside the caller's transaction."""
    if run.entries:
        row = IndexRun.objects.create(
            level=0,
            entries=run.entries,
            first_chunk=run.first_chunk,
            last_chunk=run.last_chunk,
            token=new_token(),
        )
        write_pages(row.pk, run.pages)


def chunks_of(hashes: Collection[int]) -> dict[int, list[int]]:
    """Hash (shortened) → ids of the chunks that may hold it, oldest first."""
    return View().chunks_of(hashes)


def lookup(wanted: Ints) -> tuple[Ints, Ints]:
    """The entries of these hashes (sorted, each once): position in `wanted`, chunk. Few queries, however many."""
    return View().lookup(wanted)


class Ahead:
    """The chunks behind the id `after` up to `until`, but those of `but`. They may be very many: none is counted up."""

    def __init__(self, after: int = 0, until: int = 0, but: Collection[int] = ()) -> None:
        self._after, self._until, self._but = after, until, np.array(sorted(but), np.int64)

    def has(self, chunks: Ints) -> Flags:
        """Which of these chunks are."""
        found: Flags = (chunks > self._after) & (chunks <= self._until) & ~arrays.one_of(chunks, self._but)
        return found

    def has_all(self, first: int, last: int) -> bool:
        """Whether every chunk with an id from `first` to `last` is."""
        low, high = self._but.searchsorted((first, last + 1)).tolist()
        return self._after < first and last <= self._until and low == high


class View:
    """The index as it was when first asked: who asks again for the same purpose need not ask which runs there are."""

    def __init__(self) -> None:
        self._runs: Runs = {}
        self._filters: Mapping[Run, Filter] | None = None

    def chunks_of(self, hashes: Collection[int]) -> dict[int, list[int]]:
        """See `chunks_of`."""
        wanted = np.array(sorted(set(hashes)), np.int64)
        positions, chunks = self.lookup(wanted)
        found: dict[int, set[int]] = defaultdict(set)
        for at, chunk in zip(wanted[positions].tolist(), chunks.tolist(), strict=True):
            found[at].add(chunk)
        return {one: sorted(named) for one, named in found.items()}

    def lookup(self, wanted: Ints, since: Ints | None = None, ahead: Ahead | None = None) -> tuple[Ints, Ints]:
        """See `lookup`.

        since  for each of `wanted`: chunks before these ids need not be found
        ahead  chunks that need not be found either
        """
        self._runs = self._runs or runs()
        for _ in range(TRIES):
            # A merge that ended meanwhile may have taken runs or pages away before they were read.
            with suppress(OutdatedError):
                positions, chunks, whole = (
                    self._everywhere(wanted) if since is None else self._between(wanted, since, ahead)
                )
                if whole or self._runs.keys() <= runs().keys():
                    return positions, chunks
            self._runs, self._filters = runs(), None
        raise OutdatedError

    def _everywhere(self, wanted: Ints) -> tuple[Ints, Ints, bool]:
        """As `_look_up`, in all runs."""
        if self._filters is None and len(wanted) <= FEW:
            self._filters = filters_of(self._runs)
        return _look_up(wanted, self._runs, self._filters or {})

    def _between(self, wanted: Ints, since: Ints, ahead: Ahead | None) -> tuple[Ints, Ints, bool]:
        """As `_look_up`, each run asked only for what it may hold."""
        places, chunks, whole = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], True
        for run, (first, last, *_) in sorted(self._runs.items()):
            here = np.flatnonzero(since <= last)
            if len(here) and not (ahead and ahead.has_all(first, last)):
                positions, found, alone = _look_up(wanted[here], [run], {})
                places.append(here[positions])
                chunks.append(found)
                whole &= alone
        return np.concatenate(places), np.concatenate(chunks), whole


def _look_up(wanted: Ints, runs: Collection[Run], filters: Mapping[Run, Filter]) -> tuple[Ints, Ints, bool]:
    """The entries, and whether all pages on which they may be were there to be read."""
    directories = {run: directory_of(*run) for run in sorted(runs)} if len(wanted) else {}
    few = len(wanted) <= FEW
    asked = _ask_few(wanted, directories, filters) if few else _ask_many(wanted, directories)
    here = list(read(asked))
    return *(_of_few if few else _of_many)(wanted, asked, here), len(here) == len(asked)


_Asked: TypeAlias = dict[PageName, tuple[int, int]]
"""Pages on which something is looked for, with the range of what is."""


def _ask_few(wanted: Ints, directories: Mapping[Run, Directory], filters: Mapping[Run, Filter]) -> _Asked:
    asked: _Asked = {}
    hashes = [(at, one, halves(one)) for at, one in enumerate(wanted.tolist())]
    for run, directory in directories.items():
        sieve = filters.get(run)
        for at, one, its_halves in hashes:
            if sieve and not sieve.may_hold(one, its_halves):
                continue
            place = bisect_right(directory.places, one)
            if place:
                name = directory.ids[place - 1], run[1]
                asked[name] = asked.get(name, (at, 0))[0], at + 1
    return asked


def _ask_many(wanted: Ints, directories: Mapping[Run, Directory]) -> _Asked:
    asked: _Asked = {}
    for (_, token), directory in directories.items():
        on_page = directory.firsts.searchsorted(wanted, side="right") - 1
        begins = np.flatnonzero(np.concatenate(([True], on_page[1:] != on_page[:-1])))
        ends = np.append(begins[1:], len(on_page))
        for page, begin, end in zip(on_page[begins].tolist(), begins.tolist(), ends.tolist(), strict=True):
            if page >= 0:
                asked[directory.ids[page], token] = (begin, end)
    return asked


def _of_few(wanted: Ints, asked: _Asked, here: Sequence[tuple[PageName, Decoded]]) -> tuple[Ints, Ints]:
    """As `_of_many`, for as many as a flow has: one by one, what arrays cost is more than what they save."""
    positions: list[int] = []
    chunks: list[int] = []
    hashes = wanted.tolist()
    for name, page in here:
        keys = page.places
        for at in range(*asked[name]):
            one = hashes[at]
            low = bisect_left(keys, one)
            if low < len(keys) and keys[low] == one:
                some = page.chunks[low : bisect_right(keys, one, low)].tolist()
                positions += [at] * len(some)
                chunks += some
    return np.array(positions, np.int64), np.array(chunks, np.int64)


def _of_many(wanted: Ints, asked: _Asked, here: Sequence[tuple[PageName, Decoded]]) -> tuple[Ints, Ints]:
    """(position in `wanted`, chunk) of what stands on these pages, which are in the order of their runs."""
    positions, chunks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for _, pages in groupby(here, key=lambda one: one[0][1]):
        # A run's pages one behind the other are as ordered as each of them.
        of_run = list(pages)
        begin, end = asked[of_run[0][0]][0], asked[of_run[-1][0]][1]
        hashes = np.concatenate([page.hashes for _, page in of_run])
        low = hashes.searchsorted(wanted[begin:end])
        counts = hashes.searchsorted(wanted[begin:end], side="right") - low
        hit = np.flatnonzero(counts)
        if len(hit):
            often = counts[hit]
            positions.append(np.repeat(hit + begin, often))
            # low, low + 1, … of every hit, without a loop.
            within = np.arange(often.sum()) - np.repeat(np.cumsum(often) - often, often)
            chunks.append(np.concatenate([page.chunks for _, page in of_run])[np.repeat(low[hit], often) + within])
    return np.concatenate(positions), np.concatenate(chunks)


def new_token() -> int:
    """Tells a run from another that had its id before."""
    return randbits(62)


def ordered(hashes: Ints, chunks: Ints) -> tuple[Ints, Ints]:
    """Entries by hash, then chunk, each once."""
    base = int(chunks.min()) if len(chunks) else 0
    if len(chunks) and int(chunks.max()) - base < 1 << _SPARE:
        # Both fit one number: sorting that is several times as fast as sorting by two columns.
        both = np.sort((hashes << _SPARE) | (chunks - base))
        both = both[np.concatenate(([True], both[1:] != both[:-1]))]
        return both >> _SPARE, (both & ((1 << _SPARE) - 1)) + base
    order = np.lexsort((chunks, hashes))
    hashes, chunks = hashes[order], chunks[order]
    fresh = np.ones(len(hashes), bool)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (chunks[1:] != chunks[:-1])
    return hashes[fresh], chunks[fresh]


def _cuts(hashes: Ints) -> list[int]:
    """Where pages begin: about every PAGE entries, never inside one hash."""
    begins = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    wanted = np.searchsorted(begins, np.arange(0, len(hashes), PAGE), side="left")
    return [*dict.fromkeys(begins[wanted[wanted < len(begins)]].tolist()), len(hashes)]


def as_pages(hashes: Ints, chunks: Ints) -> Sequence[tuple[int, bytes]]:
    """Ordered entries as pages: the first hash of each, and its body."""
    cuts = _cuts(hashes)
    return list(zip(hashes[cuts[:-1]].tolist(), packed_pages(hashes, chunks, cuts), strict=True))


def write_pages(run: int, packed: Iterable[tuple[int, bytes]]) -> None:
    """Write pages of a run: packed before, then written at once, which is one transaction."""
    insert(IndexPage, ("run_id", "first", "body"), [(run, first, body) for first, body in packed])
