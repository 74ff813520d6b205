"""The index: hash of an id → the chunks that hold it, as sorted runs of pages in place of a B-tree entry per span.

A write adds one run; `runs.py` makes few of many. Hashes are cut short: a chunk may be named in vain, never left out.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from secrets import randbits
from typing import TypeAlias

import numpy as np

from eventflow.store.models import IndexPage, IndexRun
from eventflow.store.spans import arrays
from eventflow.store.spans.columns import U64, Flags, Ints
from eventflow.store.spans.page import Decoded, packed_pages
from eventflow.store.spans.rows import insert, select

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

_Page: TypeAlias = tuple[tuple[int, int], Decoded]
"""A page's id and its run's token, and what stands on it."""
Run: TypeAlias = tuple[int, int]
"""A run's id and its token."""


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
        self._runs: dict[Run, tuple[int, int]] = {}

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
        self._runs = self._runs or _runs()
        for _ in range(TRIES):
            positions, chunks, sure = (
                _look_up(wanted, self._runs) if since is None else self._between(wanted, since, ahead)
            )
            # A merge that ended meanwhile may have taken pages away before they were read.
            if sure or self._runs.keys() <= (now := _runs()).keys():
                break
            self._runs = now
        return positions, chunks

    def _between(self, wanted: Ints, since: Ints, ahead: Ahead | None) -> tuple[Ints, Ints, bool]:
        """As `_look_up`, each run asked only for what it may hold."""
        places, chunks, sure = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], True
        for run, (first, last) in sorted(self._runs.items()):
            here = np.flatnonzero(since <= last)
            if len(here) and not (ahead and ahead.has_all(first, last)):
                positions, found, alone = _look_up(wanted[here], [run])
                places.append(here[positions])
                chunks.append(found)
                sure &= alone
        return np.concatenate(places), np.concatenate(chunks), sure


def _runs() -> dict[Run, tuple[int, int]]:
    """The first and the last chunk that each run names."""
    rows = select(IndexRun, ("id", "token", "first_chunk", "last_chunk"), {"ready": [True]})
    return {(pk, token): (first, last) for pk, token, first, last in rows}


def _look_up(wanted: Ints, runs: Collection[Run]) -> tuple[Ints, Ints, bool]:
    """The entries, and whether all that these runs hold was there to be read."""
    ask, find = (_ask_few, _of_few) if len(wanted) <= FEW else (_ask_many, _of_many)
    before = directory_of.cache_info().misses
    asked = ask(wanted, [(directory_of(run, token), token) for run, token in sorted(runs)] if len(wanted) else ())
    sure = directory_of.cache_info().misses == before
    here = list(_read(asked))
    return *find(wanted, asked, here), sure and len(here) == len(asked)


_Asked: TypeAlias = dict[tuple[int, int], tuple[int, int]]
"""Pages on which something is looked for, with the range of what is."""


def _ask_few(wanted: Ints, directories: Iterable[tuple["Directory", int]]) -> _Asked:
    asked: _Asked = {}
    hashes = wanted.tolist()
    for directory, token in directories:
        for at, one in enumerate(hashes):
            place = bisect_right(directory.places, one)
            if place:
                name = directory.ids[place - 1], token
                asked[name] = asked.get(name, (at, 0))[0], at + 1
    return asked


def _ask_many(wanted: Ints, directories: Iterable[tuple["Directory", int]]) -> _Asked:
    asked: _Asked = {}
    for directory, token in directories:
        on_page = directory.firsts.searchsorted(wanted, side="right") - 1
        begins = np.flatnonzero(np.concatenate(([True], on_page[1:] != on_page[:-1])))
        ends = np.append(begins[1:], len(on_page))
        for page, begin, end in zip(on_page[begins].tolist(), begins.tolist(), ends.tolist(), strict=True):
            if page >= 0:
                asked[directory.ids[page], token] = (begin, end)
    return asked


def _of_few(wanted: Ints, asked: _Asked, here: Sequence[_Page]) -> tuple[Ints, Ints]:
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


def _of_many(wanted: Ints, asked: _Asked, here: Sequence[_Page]) -> tuple[Ints, Ints]:
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


class Directory:
    """A run's pages: their first hashes, ascending, and their ids. `places` are the same hashes, for bisect."""

    def __init__(self, rows: Iterable[tuple[int, int]]) -> None:
        firsts, ids = zip(*sorted(rows), strict=True) if rows else ((), ())
        self.firsts: Ints = np.array(firsts, np.int64)
        self.places = self.firsts.data
        # As numbers of Python's they would take five times as much, for as long as the run is here.
        self.ids = np.array(ids, np.int64).data


@lru_cache(maxsize=512)
def directory_of(run: int, token: int) -> Directory:
    """A run's, which never changes."""
    return Directory(list(select(IndexPage, ("first", "id"), {"run_id": [run]})))


_pages: dict[tuple[int, int], Decoded] = {}
PAGES_KEPT, PAGES_DROPPED = 6_144, 768
"""Up to so many, and how many go at once when they are more: those that were read first."""


def _read(asked: Collection[tuple[int, int]]) -> Iterator[_Page]:
    """Pages (id, token of their run), decoded. The last ones read are kept."""
    here = {page: kept for page in asked if (kept := _pages.get(page)) is not None}
    missing = {page: token for page, token in asked if (page, token) not in here}
    fresh = {(pk, missing[pk]): Decoded(bytes(body)) for pk, body in select(IndexPage, ("id", "body"), {"id": missing})}
    here.update(fresh)
    _pages.update(fresh)
    if len(_pages) > PAGES_KEPT:
        for page in list(_pages)[: len(_pages) - PAGES_KEPT + PAGES_DROPPED]:
            _pages.pop(page, None)
    for page in asked:
        if page in here:
            yield page, here[page]


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
