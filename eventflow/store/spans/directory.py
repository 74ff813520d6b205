"""What a process keeps of the index in memory: directories and filters of its runs, the last pages read.

All of it has limits. What is read of a run is whole, or OutdatedError is raised: a merge may take it away meanwhile.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np

from eventflow.store.models import IndexFilter, IndexPage, IndexRun
from eventflow.store.spans.bloom import Filter
from eventflow.store.spans.columns import Ints
from eventflow.store.spans.generation import OutdatedError
from eventflow.store.spans.page import Decoded
from eventflow.store.spans.rows import select

PAGES_KEPT, PAGES_DROPPED = 2_048, 256
"""Up to so many, and how many go at once when they are more: those that were read first."""
FILTERED = 128 * 1024 * 1024
"""Entries of the newest runs whose filters are kept: a byte each."""

Run: TypeAlias = tuple[int, int]
"""A run's id and its token."""
PageName: TypeAlias = tuple[int, int]
"""A page's id and its run's token."""


class Extent(NamedTuple):
    """The first and the last chunk that a run names, its entries, and how often it was merged."""

    first: int
    last: int
    entries: int
    level: int


Runs: TypeAlias = Mapping[Run, Extent]


def runs() -> Runs:
    """All that are to be read."""
    rows = select(IndexRun, ("id", "token", "first_chunk", "last_chunk", "entries", "level"), {"ready": [True]})
    return {(pk, token): Extent(*rest) for pk, token, *rest in rows}


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
    """A run's, which never changes. Raises OutdatedError where the run is gone."""
    found = Directory(list(select(IndexPage, ("first", "id"), {"run_id": [run]})))
    _still_there(run, token)
    return found


def _still_there(run: int, token: int) -> None:
    """What was read of a run until now was whole, or OutdatedError: first nobody reads a run any more, then it goes."""
    if (token, True) not in select(IndexRun, ("token", "ready"), {"id": [run]}):
        raise OutdatedError


_filters: dict[Run, Filter] = {}


def filters_of(of: Runs) -> Mapping[Run, Filter]:
    """Those of the newest runs that have one, as many as are kept. Raises OutdatedError where such a run is gone."""
    wanted, room = set(), FILTERED
    for run, extent in sorted(of.items(), key=lambda one: -one[1].last):
        if extent.level:
            room -= extent.entries
            if room < 0:
                break
            wanted.add(run)
    for run in wanted - _filters.keys():
        sieve = Filter(select(IndexFilter, ("first", "body"), {"run_id": [run[0]]}))
        _still_there(*run)
        _filters[run] = sieve
    for run in _filters.keys() - wanted:
        _filters.pop(run, None)
    return {run: found for run in wanted if (found := _filters.get(run))}


_pages: dict[PageName, Decoded] = {}


def read(asked: Collection[PageName]) -> Iterator[tuple[PageName, Decoded]]:
    """Pages, decoded, in the order asked for; those that are gone are left out. The last ones read are kept."""
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
