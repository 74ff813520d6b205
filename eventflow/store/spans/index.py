"""The index: hash of an id → the chunks that hold it, as sorted runs of pages in place of a B-tree entry per span.

A write adds one run; a merge turns many runs of a level into one of the next, page range by page range, so that no
writer waits long and memory stays bounded. Hashes are cut short: a chunk may be named in vain, never left out.
"""

import struct
import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from secrets import randbits
from typing import TypeAlias

import numpy as np
import zstandard
from django.db import IntegrityError, connection, transaction

from eventflow.store.models import Chunk, IndexPage, IndexRun
from eventflow.store.spans.columns import U64, Array, Flags, Ints
from eventflow.store.spans.generation import OutdatedError
from eventflow.store.spans.rows import insert, select

PAGE = 900
"""Entries in a page; more only where one hash has more. About as many as fill a page of SQLite's."""
FAN_IN = 16
LARGEST = 16_000_000
"""Entries beyond which a run is merged no more: it goes with the chunks it names."""
DROPPED_PAGES = 500
MERGE_ENTRIES = 500_000
"""Entries merged at a time: bounds memory and how long a step of a merge holds the writer."""
TRIES = 5
BITS = 40
"""Of a hash that are kept. A billion ids make one lookup in a thousand name a chunk in vain."""
CUT = 64 - BITS
"""The lowest bits, which are not kept."""
_SPARE = 63 - BITS
"""Bits that a hash leaves free in a signed number of 64."""
FEW = 64
"""Hashes that are looked up one by one."""

_Page: TypeAlias = tuple[tuple[int, int], "Decoded"]
"""A page's id and its run's token, and what stands on it."""
Run: TypeAlias = tuple[int, int]
"""A run's id and its token."""


def shortened(hashes: U64) -> Ints:
    """The bits of hashes that the index keeps, as numbers a database can compare."""
    return (hashes >> np.uint64(CUT)).astype(np.int64)


def add(hashes: Ints, chunks: Ints) -> None:
    """Write entries, in any order, as a new run. Inside the caller's transaction."""
    if len(hashes):
        hashes, chunks = _sorted(hashes, chunks)
        run = IndexRun.objects.create(level=0, entries=len(hashes), last_chunk=int(chunks.max()), token=_token())
        _write_pages(run.pk, hashes, chunks)


def chunks_of(hashes: Collection[int]) -> dict[int, list[int]]:
    """Hash (shortened) → ids of the chunks that may hold it, oldest first."""
    return View().chunks_of(hashes)


def lookup(wanted: Ints) -> tuple[Ints, Ints]:
    """The entries of these hashes (sorted, each once): position in `wanted`, chunk. Few queries, however many."""
    return View().lookup(wanted)


class View:
    """The index as it was when first asked: who asks again for the same purpose need not ask which runs there are."""

    def __init__(self) -> None:
        self._runs: set[Run] = set()

    def chunks_of(self, hashes: Collection[int]) -> dict[int, list[int]]:
        """See `chunks_of`."""
        wanted = np.array(sorted(set(hashes)), np.int64)
        positions, chunks = self.lookup(wanted)
        found: dict[int, set[int]] = defaultdict(set)
        for at, chunk in zip(wanted[positions].tolist(), chunks.tolist(), strict=True):
            found[at].add(chunk)
        return {one: sorted(named) for one, named in found.items()}

    def lookup(self, wanted: Ints) -> tuple[Ints, Ints]:
        """See `lookup`."""
        self._runs = self._runs or _runs()
        for _ in range(TRIES):
            positions, chunks, sure = _look_up(wanted, self._runs)
            # A merge that ended meanwhile may have taken pages away before they were read.
            if sure or self._runs <= (now := _runs()):
                break
            self._runs = now
        return positions, chunks


def _runs() -> set[Run]:
    return set(select(IndexRun, ("id", "token"), {"ready": [True]}))


def _look_up(wanted: Ints, runs: Collection[Run]) -> tuple[Ints, Ints, bool]:
    """The entries, and whether all that these runs hold was there to be read."""
    ask, find = (_ask_few, _of_few) if len(wanted) <= FEW else (_ask_many, _of_many)
    before = _directory.cache_info().misses
    asked = ask(wanted, [(_directory(run, token), token) for run, token in sorted(runs)] if len(wanted) else ())
    sure = _directory.cache_info().misses == before
    here = list(_read(asked))
    return *find(wanted, asked, here), sure and len(here) == len(asked)


_Asked: TypeAlias = dict[tuple[int, int], tuple[int, int]]
"""Pages on which something is looked for, with the range of what is."""


def _ask_few(wanted: Ints, directories: Iterable[tuple["_Directory", int]]) -> _Asked:
    asked: _Asked = {}
    hashes = wanted.tolist()
    for directory, token in directories:
        for at, one in enumerate(hashes):
            place = bisect_right(directory.places, one)
            if place:
                name = directory.ids[place - 1], token
                asked[name] = asked.get(name, (at, 0))[0], at + 1
    return asked


def _ask_many(wanted: Ints, directories: Iterable[tuple["_Directory", int]]) -> _Asked:
    asked: _Asked = {}
    for directory, token in directories:
        on_page = directory.firsts.searchsorted(wanted, side="right") - 1
        distinct, begins = np.unique(on_page, return_index=True)
        ends = np.append(begins[1:], len(on_page))
        for page, begin, end in zip(distinct.tolist(), begins.tolist(), ends.tolist(), strict=True):
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
    """(position in `wanted`, chunk) of what stands on these pages."""
    positions, chunks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for name, page in here:
        begin, end = asked[name]
        low = page.hashes.searchsorted(wanted[begin:end])
        counts = page.hashes.searchsorted(wanted[begin:end], side="right") - low
        hit = np.flatnonzero(counts)
        if len(hit):
            often = counts[hit]
            positions.append(np.repeat(hit + begin, often))
            # low, low + 1, … of every hit, without a loop.
            within = np.arange(often.sum()) - np.repeat(np.cumsum(often) - often, often)
            chunks.append(page.chunks[np.repeat(low[hit], often) + within])
    return np.concatenate(positions), np.concatenate(chunks)


class _Directory:
    """A run's pages: their first hashes, ascending, and their ids. `places` are the same hashes, for bisect."""

    def __init__(self, rows: Iterable[tuple[int, int]]) -> None:
        firsts, ids = zip(*sorted(rows), strict=True) if rows else ((), ())
        self.firsts: Ints = np.array(firsts, np.int64)
        self.places = self.firsts.data
        self.ids: Sequence[int] = ids


@lru_cache(maxsize=512)
def _directory(run: int, token: int) -> _Directory:
    """A run never changes."""
    return _Directory(list(select(IndexPage, ("first", "id"), {"run_id": [run]})))


class Decoded:
    """A page: two columns. That a page is asked for a hash in vain is usual, so the second waits until it is wanted."""

    def __init__(self, body: bytes) -> None:
        self._plain = decompressed(body)
        deltas, first, self._second = _column(self._plain, 0)
        deltas[:1] = first
        self.hashes: Ints = deltas.cumsum()

    @cached_property
    def places(self) -> memoryview:
        """The hashes, for bisect."""
        return self.hashes.data

    @cached_property
    def chunks(self) -> Ints:
        """Beside each hash."""
        offsets, base, _ = _column(self._plain, self._second)
        return offsets + base


_pages: dict[tuple[int, int], Decoded] = {}
PAGES_KEPT = 4_096


def _read(asked: Collection[tuple[int, int]]) -> Iterator[_Page]:
    """Pages (id, token of their run), decoded. The last ones read are kept."""
    here = {page: kept for page in asked if (kept := _pages.get(page)) is not None}
    missing = {page: token for page, token in asked if (page, token) not in here}
    fresh = {(pk, missing[pk]): Decoded(bytes(body)) for pk, body in select(IndexPage, ("id", "body"), {"id": missing})}
    here.update(fresh)
    _pages.update(fresh)
    if len(_pages) > PAGES_KEPT:
        for page in list(_pages)[: len(_pages) - PAGES_KEPT // 2]:
            _pages.pop(page, None)
    for page in asked:
        if page in here:
            yield page, here[page]


def unpacked(body: bytes) -> tuple[Ints, Ints]:
    """The two columns of `packed`."""
    page = Decoded(body)
    return page.hashes, page.chunks


_HEAD = struct.Struct("<IBq")


def _column(plain: bytes, at: int) -> tuple[Ints, int, int]:
    """What stands there: the numbers, what they count from, and where the next column begins."""
    count, width, base = _HEAD.unpack_from(plain, at)
    begin = at + _HEAD.size
    wide = np.zeros((count, 8), np.uint8)
    wide[:, :width] = np.frombuffer(plain, np.uint8, width * count, begin).reshape(width, count).T
    return wide.view("<i8").reshape(-1), base, begin + width * count


class _Decompressor(threading.local):
    """One a thread: making one takes longer than a page."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_own = _Decompressor()


def decompressed(body: bytes) -> bytes:
    """What was compressed with its length in front."""
    return _own.decompress(body)


def packed(keys: Ints, values: Ints) -> bytes:
    """Two columns, the first ascending: its differences, then the other above its least, byte by byte in planes."""
    return next(_packed(keys, values, [0, len(keys)]))


def _packed(keys: Ints, values: Ints, cuts: Sequence[int]) -> Iterator[bytes]:
    """The same for each of many pages."""
    base = int(values.min(initial=0))
    deltas, offsets = _planes(np.diff(keys, prepend=keys[:1])), _planes(values - base)
    compress = zstandard.ZstdCompressor(level=1).compress
    for low, high in pairwise(cuts):
        first = int(keys[low]) if low < high else 0
        columns = ((deltas, first), (offsets, base))
        heads = [_HEAD.pack(high - low, len(planes), begin) for planes, begin in columns]
        yield compress(b"".join((heads[0], deltas[:, low:high].tobytes(), heads[1], offsets[:, low:high].tobytes())))


def _planes(numbers: Ints) -> Array:
    """The bytes of numbers, lowest first, as far as they are not zero in all of them."""
    width = (int(numbers.max(initial=0)).bit_length() + 7) // 8
    return np.ascontiguousarray(numbers.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].T)


def _token() -> int:
    return randbits(62)


def _sorted(hashes: Ints, chunks: Ints) -> tuple[Ints, Ints]:
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


def _write_pages(run: int, hashes: Ints, chunks: Ints) -> None:
    """Packed first, then written at once: by themselves these are one transaction."""
    cuts = _cuts(hashes)
    firsts = hashes[cuts[:-1]].tolist()
    rows = [(run, first, body) for first, body in zip(firsts, _packed(hashes, chunks, cuts), strict=True)]
    insert(IndexPage, ("run_id", "first", "body"), rows)


def merge() -> int:
    """Merge one level's runs if there are enough of them. Returns how many runs became one; 0 when none had to."""
    rows = sorted(select(IndexRun, ("id", "token", "level", "entries", "ready"), {"ready": [True, False]}))
    drop(run for run, *_, ready in rows if not ready)
    levels: dict[int, list[Run]] = defaultdict(list)
    for run, token, level, entries, ready in rows:
        if ready and entries < LARGEST // FAN_IN:
            levels[level].append((run, token))
    for level, runs in sorted(levels.items()):
        if len(runs) >= FAN_IN:
            try:
                _merge(runs[:FAN_IN], level + 1)
            except (OutdatedError, IntegrityError):
                return 0
            return FAN_IN
    return 0


def drop(runs: Iterable[int]) -> None:
    """Delete runs nobody reads any more, some pages at a time, so that the writer is never kept long."""
    gone = sorted(runs)
    if not gone:
        return
    pages = connection.ops.quote_name(IndexPage._meta.db_table)
    marks = ", ".join(["%s"] * len(gone))
    some = f"SELECT id FROM {pages} WHERE run_id IN ({marks}) LIMIT {DROPPED_PAGES}"  # noqa: S608  # our own table
    deleted = DROPPED_PAGES
    while deleted >= DROPPED_PAGES:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {pages} WHERE id IN ({some})", gone)  # noqa: S608  # as above
            deleted = cursor.rowcount
    IndexRun.objects.filter(pk__in=gone).delete()


def _merge(runs: Sequence[Run], level: int) -> None:
    merged = IndexRun.objects.create(level=level, entries=0, last_chunk=0, token=_token(), ready=False)
    entries = last = 0
    for low, high in _ranges(runs):
        hashes, chunks = _sorted(*_entries(runs, low, high))
        alive = _alive(chunks)
        hashes, chunks = hashes[alive], chunks[alive]
        if len(hashes):
            _write_pages(merged.pk, hashes, chunks)
            entries += len(hashes)
            last = max(last, int(chunks.max()))
    names = [run for run, _ in runs]
    switch(names, merged.pk, entries, last)
    drop(names)


def switch(runs: Sequence[int], merged: int, entries: int, last_chunk: int) -> None:
    """Let readers read the merged run in place of those it was made of. Raises OutdatedError where it is gone."""
    with transaction.atomic():
        IndexRun.objects.filter(pk__in=runs).update(ready=False)
        if not IndexRun.objects.filter(pk=merged).update(ready=True, entries=entries, last_chunk=last_chunk):
            # Another process took it for the rest of a merge that died: the runs it was made of stay as they are.
            raise OutdatedError


def _ranges(runs: Sequence[Run]) -> Iterator[tuple[int, int]]:
    """Ranges of hashes, [low, high), with a bounded number of entries each."""
    firsts = np.sort(np.concatenate([_directory(*run).firsts for run in runs]))
    step = max(1, MERGE_ENTRIES // PAGE)
    bounds = np.unique(firsts[::step]).tolist()
    yield from zip(bounds, [*bounds[1:], 1 << BITS], strict=True)


def _entries(runs: Sequence[Run], low: int, high: int) -> tuple[Ints, Ints]:
    """What these runs hold in a range of hashes."""
    pages: list[int] = []
    for run in runs:
        directory = _directory(*run)
        begin, end = directory.firsts.searchsorted([low, high])
        # The page before may reach into the range.
        pages += directory.ids[max(0, begin - 1) : end]
    hashes, chunks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for (body,) in select(IndexPage, ("body",), {"id": pages}):
        page = Decoded(bytes(body))
        begin, end = page.hashes.searchsorted([low, high])
        hashes.append(page.hashes[begin:end])
        chunks.append(page.chunks[begin:end])
    return np.concatenate(hashes), np.concatenate(chunks)


def _alive(chunks: Ints) -> Flags:
    """Which of these chunks still exist; entries of the others are dropped."""
    base = int(chunks.min(initial=0))
    named = np.zeros(int(chunks.max(initial=0)) - base + 1, bool)
    named[chunks - base] = True
    distinct = np.flatnonzero(named) + base
    found = [pk for (pk,) in select(Chunk, ("id",), {"id": distinct.tolist()})]
    named[:] = False
    named[np.array(found, np.int64) - base] = True
    alive: Flags = named[chunks - base]
    return alive
