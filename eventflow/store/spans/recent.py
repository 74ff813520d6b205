"""What the engine remembers in memory of recent spans: a table of 64-bit hashes with a row of numbers each.

Bounded: two generations, of which the older is dropped when the younger is full. Lookups and insertions take whole
arrays. Never the only place of anything: what is forgotten here is still in the chunks.
"""

import numpy as np

from eventflow.store.spans import arrays
from eventflow.store.spans.columns import U64, Flags, Ints

FULL = 0.6
"""Share of a generation's places that may be taken."""
FIRST, GROWTH = 65_536, 16
"""Places to begin with, and how many times as many when they are taken: each time all is put in once more."""


class _Generation:
    def __init__(self, places: int, numbers: int) -> None:
        self.rows = np.zeros((places, 1 + numbers), np.uint64)
        self.taken = 0

    def put(self, hashes: U64, numbers: Ints) -> None:
        """Add hashes or change their numbers; of equal ones the last counts."""
        self.taken += arrays.settle(self.rows, hashes, numbers)


class Recent:
    """A table of `numbers` integers per hash, for at least the last `remembered` hashes. It grows up to that size."""

    def __init__(self, remembered: int, numbers: int = 0) -> None:
        self._most = _room(remembered)
        self._numbers = numbers
        self._young = _Generation(min(self._most, FIRST), numbers)
        self._old: _Generation | None = None

    def find(self, hashes: U64) -> tuple[Flags, Ints]:
        """Which hashes are known, and their numbers (zeros for the others)."""
        if not self._young.taken and self._old is None:
            return np.zeros(len(hashes), bool), np.zeros((len(hashes), self._numbers), np.int64)
        hashes = np.where(hashes == 0, np.uint64(1), hashes)
        known, numbers = arrays.find(self._young.rows, hashes)
        if self._old is not None and not known.all():
            missing = np.flatnonzero(~known)
            known[missing], numbers[missing] = arrays.find(self._old.rows, hashes[missing])
        return known, numbers

    def find_some(self, hashes: U64, asked: Flags) -> tuple[Flags, Ints]:
        """As `find` for those that are asked for; the others are as unknown ones. Looking into memory takes a while."""
        rows = np.flatnonzero(asked)
        known, numbers = np.zeros(len(hashes), bool), np.zeros((len(hashes), self._numbers), np.int64)
        known[rows], numbers[rows] = self.find(hashes[rows])
        return known, numbers

    def put(self, hashes: U64, numbers: Ints | None = None) -> None:
        """Remember hashes; one that is known already gets the new numbers. Of equal ones the last counts."""
        if not len(hashes):
            return
        hashes = np.where(hashes == 0, np.uint64(1), hashes)
        if numbers is None:
            numbers = np.zeros((len(hashes), self._numbers), np.int64)
        self._make_room(len(hashes))
        self._young.put(hashes, numbers)

    def _make_room(self, count: int) -> None:
        """A larger table while it may grow; then a new generation."""
        young = self._young
        places = len(young.rows)
        if young.taken + count <= places * FULL:
            return
        if places < self._most:
            places = max(min(GROWTH * places, self._most), _room(young.taken + count))
            self._young = _Generation(places, self._numbers)
            taken = young.rows[young.rows[:, 0] != 0]
            self._young.put(np.ascontiguousarray(taken[:, 0]), taken[:, 1:].view(np.int64))
        else:
            self._old, self._young = young, _Generation(max(self._most, _room(count)), self._numbers)


def _room(count: int) -> int:
    return 1 << max(4, int(np.ceil(np.log2(max(count, 1) / FULL))))
