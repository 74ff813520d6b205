"""The index: hash of an id → the chunks that hold it, as sorted runs of pages in place of a B-tree entry per span.

A write adds one run; a merge turns many runs of a level into one of the next, page range by page range, so that no
writer waits long and memory stays bounded. Hashes have 48 bits: a chunk may be named in vain, never left out.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from secrets import randbits
from typing import TypeAlias

import numpy as np
import zstandard
from django.db import IntegrityError, transaction

from eventflow.store.models import Chunk, IndexPage, IndexRun
from eventflow.store.spans.columns import U64, Array, Ints
from eventflow.store.spans.generation import OutdatedError
from eventflow.store.spans.rows import insert, select

PAGE = 512
"""Entries in a page; more only where one hash has more. Half of that would cost a twentieth more room."""
FAN_IN = 16
LARGEST = 16_000_000
"""Entries beyond which a run is merged no more: it goes with the chunks it names."""
DROPPED_PAGES = 500
MERGE_ENTRIES = 500_000
"""Entries merged at a time: bounds memory and how long a step of a merge holds the writer."""
TRIES = 5
_BITS = np.uint64(16)
_SPARE = 15
"""Bits that a hash leaves free in a signed number of 64."""


FEW = 64
"""Hashes that are looked up one by one."""

_Page: TypeAlias = tuple[tuple[int, int], "Decoded"]
"""A page's id and its run's token, and what stands on it."""


def shortened(hashes: U64) -> Ints:
    """The 48 bits of hashes that the index keeps, as numbers a database can compare."""
    return (hashes >> _BITS).astype(np.int64)


def add(hashes: Ints, chunks: Ints) -> None:
    """Write entries, in any order, as a new run. Inside the caller's transaction."""
    if len(hashes):
        hashes, chunks = _sorted(hashes, chunks)
        run = IndexRun.objects.create(level=0, entries=len(hashes), last_chunk=int(chunks.max()), token=_token())
        _write_pages(run.pk, hashes, chunks)


def chunks_of(hashes: Collection[int]) -> dict[int, list[int]]:
    """Hash (48 bits) → ids of the chunks that may hold it, oldest first."""
    wanted = np.array(sorted(set(hashes)), np.int64)
    positions, chunks = lookup(wanted)
    found: dict[int, set[int]] = defaultdict(set)
    for at, chunk in zip(wanted[positions].tolist(), chunks.tolist(), strict=True):
        found[at].add(chunk)
    return {one: sorted(found[one]) for one in wanted.tolist() if one in found}


def lookup(wanted: Ints) -> tuple[Ints, Ints]:
    """The entries of these hashes (sorted, each once): position in `wanted`, chunk. One query per 500 pages."""
    for _ in range(TRIES):
        runs = _runs()
        positions, chunks, sure = _look_up(wanted, runs)
        # A merge that ended meanwhile may have taken pages away before they were read.
        if sure or runs <= _runs():
            break
    return positions, chunks


def _runs() -> set[tuple[int, int]]:
    return set(select(IndexRun, ("id", "token"), {"ready": [True]}))


def _look_up(wanted: Ints, runs: Collection[tuple[int, int]]) -> tuple[Ints, Ints, bool]:
    """The entries, and whether all that these runs hold was there to be read."""
    asked: dict[tuple[int, int], tuple[int, int]] = {}
    before = _directory.cache_info().misses
    for run, token in sorted(runs) if len(wanted) else ():
        firsts, pages = _directory(run, token)
        _ask(asked, firsts.searchsorted(wanted, side="right") - 1, pages, token)
    sure = _directory.cache_info().misses == before
    here = list(_read(asked))
    sure = sure and len(here) == len(asked)
    found = _of_few if len(wanted) <= FEW else _of_many
    return *found(wanted, asked, here), sure


def _ask(asked: dict[tuple[int, int], tuple[int, int]], on_page: Ints, pages: Ints, token: int) -> None:
    """Add the pages of a run on which something is looked for, with the range of what is."""
    if len(on_page) <= FEW:
        for at, page in enumerate(on_page.tolist()):
            if page >= 0:
                name = int(pages[page]), token
                asked[name] = (asked[name][0] if name in asked else at, at + 1)
        return
    distinct, begins = np.unique(on_page, return_index=True)
    ends = np.append(begins[1:], len(on_page))
    for page, begin, end in zip(distinct.tolist(), begins.tolist(), ends.tolist(), strict=True):
        if page >= 0:
            asked[int(pages[page]), token] = (begin, end)


def _of_few(wanted: Ints, asked: Mapping[tuple[int, int], tuple[int, int]], here: Sequence[_Page]) -> tuple[Ints, Ints]:
    """As `_of_many`, for as many as a flow has: one by one, what arrays cost is more than what they save."""
    positions: list[int] = []
    chunks: list[int] = []
    hashes = wanted.tolist()
    for name, page in here:
        keys = page.hashes
        for at in range(*asked[name]):
            low = int(keys.searchsorted(hashes[at]))
            if low < len(keys) and keys[low] == hashes[at]:
                some = page.chunks[low : int(keys.searchsorted(hashes[at], side="right"))].tolist()
                positions += [at] * len(some)
                chunks += some
    return np.array(positions, np.int64), np.array(chunks, np.int64)


def _of_many(
    wanted: Ints, asked: Mapping[tuple[int, int], tuple[int, int]], here: Sequence[_Page]
) -> tuple[Ints, Ints]:
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


@lru_cache(maxsize=512)
def _directory(run: int, token: int) -> tuple[Ints, Ints]:
    """A run's pages: their first hashes and their ids. A run never changes."""
    rows = list(IndexPage.objects.filter(run_id=run).order_by("first").values_list("first", "id"))
    return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.int64)


class Decoded:
    """A page: two columns. That a page is asked for a hash in vain is usual, so the second waits until it is wanted."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.hashes: Ints = _column(body, 0).cumsum()

    @cached_property
    def chunks(self) -> Ints:
        """Beside each hash."""
        return _column(self._body, 1)


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


def _column(body: bytes, which: int) -> Ints:
    plain = decompressed(body)
    planes = np.frombuffer(plain, np.uint8, offset=4).reshape(2, 8, -1)[which]
    return np.ascontiguousarray(planes.T).view("<i8").reshape(-1)


class _Decompressor(threading.local):
    """One a thread: making one takes longer than a page."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_own = _Decompressor()


def decompressed(body: bytes) -> bytes:
    """What was compressed with its length in front."""
    return _own.decompress(body)


def packed(hashes: Ints, chunks: Ints) -> bytes:
    """Two columns, the first ascending: its differences, then the other, byte by byte in planes.

    What is zero in all of them costs nothing.
    """
    deltas = np.diff(hashes, prepend=0).astype("<i8")
    planes = [values.astype("<i8").view(np.uint8).reshape(-1, 8).T for values in (deltas, chunks)]
    plain = len(hashes).to_bytes(4, "little") + b"".join(np.ascontiguousarray(one).tobytes() for one in planes)
    return zstandard.ZstdCompressor(level=1).compress(plain)


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
    cuts = _cuts(hashes)
    rows = [(run, int(hashes[low]), packed(hashes[low:high], chunks[low:high])) for low, high in pairwise(cuts)]
    insert(IndexPage, ("run_id", "first", "body"), rows)


def merge() -> int:
    """Merge one level's runs if there are enough of them. Returns how many runs became one; 0 when none had to."""
    drop(IndexRun.objects.filter(ready=False).values_list("id", flat=True))
    levels: dict[int, list[int]] = defaultdict(list)
    rows = IndexRun.objects.filter(ready=True, entries__lt=LARGEST // FAN_IN).order_by("level", "id")
    for run, level in rows.values_list("id", "level"):
        levels[level].append(run)
    for level, runs in levels.items():
        if len(runs) >= FAN_IN:
            try:
                _merge(runs[:FAN_IN], level + 1)
            except (OutdatedError, IntegrityError):
                return 0
            return FAN_IN
    return 0


def drop(runs: Iterable[int]) -> None:
    """Delete runs nobody reads any more, some pages at a time, so that the writer is never kept long."""
    for run in runs:
        pages = IndexPage.objects.filter(run_id=run).order_by("id").values_list("id", flat=True)
        while some := list(pages[:DROPPED_PAGES]):
            IndexPage.objects.filter(pk__in=some).delete()
        IndexRun.objects.filter(pk=run).delete()


def _merge(runs: Sequence[int], level: int) -> None:
    merged = IndexRun.objects.create(level=level, entries=0, last_chunk=0, token=_token(), ready=False)
    entries = last = 0
    for low, high in _ranges(runs):
        hashes, chunks = _entries(runs, low, high)
        hashes, chunks = _sorted(hashes, chunks)
        alive = _alive(chunks)
        hashes, chunks = hashes[alive], chunks[alive]
        if len(hashes):
            with transaction.atomic():
                _write_pages(merged.pk, hashes, chunks)
            entries += len(hashes)
            last = max(last, int(chunks.max()))
    switch(runs, merged.pk, entries, last)
    drop(runs)


def switch(runs: Sequence[int], merged: int, entries: int, last_chunk: int) -> None:
    """Let readers read the merged run in place of those it was made of. Raises OutdatedError where it is gone."""
    with transaction.atomic():
        IndexRun.objects.filter(pk__in=runs).update(ready=False)
        if not IndexRun.objects.filter(pk=merged).update(ready=True, entries=entries, last_chunk=last_chunk):
            # Another process took it for the rest of a merge that died: the runs it was made of stay as they are.
            raise OutdatedError


def _ranges(runs: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of hashes, [low, high), with a bounded number of entries each."""
    firsts = list(IndexPage.objects.filter(run_id__in=runs).order_by("first").values_list("first", flat=True))
    step = max(1, MERGE_ENTRIES // PAGE)
    bounds = sorted({*firsts[::step]})
    yield from zip(bounds, [*bounds[1:], 2**48], strict=True)


def _entries(runs: Sequence[int], low: int, high: int) -> tuple[Ints, Ints]:
    hashes, chunks = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for run in runs:
        pages = IndexPage.objects.filter(run_id=run)
        before = pages.filter(first__lt=low).order_by("-first").values_list("body", flat=True)[:1]
        inside = pages.filter(first__gte=low, first__lt=high).order_by("first").values_list("body", flat=True)
        for body in (*before, *inside):
            keys, values = unpacked(bytes(body))
            begin, end = np.searchsorted(keys, [low, high])
            hashes.append(keys[begin:end])
            chunks.append(values[begin:end])
    return np.concatenate(hashes), np.concatenate(chunks)


def _alive(chunks: Ints) -> Array:
    """Which of these chunks still exist; entries of the others are dropped."""
    distinct = np.unique(chunks)
    found: list[int] = []
    for start in range(0, len(distinct), 500):
        found.extend(Chunk.objects.filter(pk__in=distinct[start : start + 500].tolist()).values_list("pk", flat=True))
    return np.isin(chunks, np.array(found, np.int64))
