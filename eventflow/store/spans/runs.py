"""Merges runs of the index: many of a level become one of the next, so that a lookup asks few.

Page range by page range: no writer waits long, memory stays bounded. A merge that dies leaves the runs it was made of.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from django.db import IntegrityError, connection

from eventflow.store.models import Chunk, IndexFilter, IndexPage, IndexRun
from eventflow.store.spans import bloom
from eventflow.store.spans.columns import Flags, Ints
from eventflow.store.spans.directory import Run, directory_of
from eventflow.store.spans.generation import OutdatedError
from eventflow.store.spans.index import BITS, PAGE, as_pages, new_token, ordered, write_pages
from eventflow.store.spans.opened import LAST
from eventflow.store.spans.page import Decoded
from eventflow.store.spans.rows import insert, select
from eventflow.store.spans.turn import writing

FAN_IN = 16
LARGEST = 16_000_000
"""Entries beyond which a run is merged no more: it goes with the chunks it names."""
DROPPED_PAGES = 500
MERGE_ENTRIES = 500_000
"""Entries merged at a time: bounds memory and how long a step of a merge holds the writer."""


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
    """Delete runs that nobody needs any more, some pages at a time, so that the writer is never kept long."""
    gone = sorted(runs)
    if not gone:
        return
    # First nobody reads them any more: of a run that goes, what is there is a part.
    IndexRun.objects.filter(pk__in=gone).update(ready=False)
    marks = ", ".join(["%s"] * len(gone))
    for model in (IndexPage, IndexFilter):
        table = connection.ops.quote_name(model._meta.db_table)
        some = f"SELECT id FROM {table} WHERE run_id IN ({marks}) LIMIT {DROPPED_PAGES}"  # noqa: S608  # our own tables
        deleted = DROPPED_PAGES
        while deleted >= DROPPED_PAGES:
            with connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {table} WHERE id IN ({some})", gone)  # noqa: S608  # as above
                deleted = cursor.rowcount
    table = connection.ops.quote_name(IndexRun._meta.db_table)
    with connection.cursor() as cursor:
        # Without looking for pages once more: there are none.
        cursor.execute(f"DELETE FROM {table} WHERE id IN ({marks})", gone)  # noqa: S608  # as above


def _merge(runs: Sequence[Run], level: int) -> None:
    merged = IndexRun.objects.create(
        level=level, entries=0, first_chunk=0, last_chunk=0, token=new_token(), ready=False
    )
    entries, first, last = 0, LAST, 0
    for low, high in _ranges(runs):
        hashes, chunks = ordered(*_entries(runs, low, high))
        alive = _alive(chunks)
        hashes, chunks = hashes[alive], chunks[alive]
        if len(hashes):
            write_pages(merged.pk, as_pages(hashes, chunks))
            insert(IndexFilter, ("run_id", "first", "body"), [(merged.pk, int(hashes[0]), bloom.made(hashes))])
            entries += len(hashes)
            first, last = min(first, int(chunks.min())), max(last, int(chunks.max()))
    names = [run for run, _ in runs]
    switch(names, merged.pk, entries, (first, last))
    drop(names)


def switch(runs: Sequence[int], merged: int, entries: int, chunks: tuple[int, int]) -> None:
    """Let readers read the merged run in place of those it was made of. Raises OutdatedError where it is gone."""
    with writing():
        IndexRun.objects.filter(pk__in=runs).update(ready=False)
        told = {"entries": entries, "first_chunk": chunks[0], "last_chunk": chunks[1]}
        if not IndexRun.objects.filter(pk=merged).update(ready=True, **told):
            # Another process took it for the rest of a merge that died: the runs it was made of stay as they are.
            raise OutdatedError


def _ranges(runs: Sequence[Run]) -> Iterator[tuple[int, int]]:
    """Ranges of hashes, [low, high), with a bounded number of entries each."""
    firsts = np.sort(np.concatenate([directory_of(*run).firsts for run in runs]))
    step = max(1, MERGE_ENTRIES // PAGE)
    bounds = np.unique(firsts[::step]).tolist()
    yield from zip(bounds, [*bounds[1:], 1 << BITS], strict=True)


def _entries(runs: Sequence[Run], low: int, high: int) -> tuple[Ints, Ints]:
    """What these runs hold in a range of hashes."""
    pages: list[int] = []
    for run in runs:
        directory = directory_of(*run)
        begin, end = directory.firsts.searchsorted([low, high])
        # The page before may reach into the range.
        pages += directory.ids[max(0, begin - 1) : end].tolist()
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
