"""What the engine remembers in memory of recent spans: a table of 64-bit hashes with a row of numbers each.

Bounded: two generations, of which the older is dropped when the younger is full. Lookups and insertions take whole
arrays. Never the only place of anything: what is forgotten here is still in the chunks.
"""

import numpy as np

from eventflow.store.spans.columns import U64, Flags, Ints

FULL = 0.6
"""Share of a generation's places that may be taken."""
FIRST = 4_096


class _Generation:
    def __init__(self, places: int, numbers: int) -> None:
        self.mask = np.uint64(places - 1)
        self.hashes = np.zeros(places, np.uint64)
        self.numbers = np.zeros((places, numbers), np.int64)
        self.taken = 0

    def find(self, hashes: U64) -> Ints:
        """The place of each hash; -1 where it is not here."""
        found = np.full(len(hashes), -1, np.int64)
        pending = np.arange(len(hashes))
        places = hashes & self.mask
        while len(pending):
            there = self.hashes[places]
            hit = there == hashes[pending]
            found[pending[hit]] = places[hit].astype(np.int64)
            go_on = ~hit & (there != 0)
            pending = pending[go_on]
            places = (places[go_on] + np.uint64(1)) & self.mask
        return found

    def put(self, hashes: U64, numbers: Ints) -> None:
        """Add hashes that are not here yet, each once."""
        pending = np.arange(len(hashes))
        places = hashes & self.mask
        while len(pending):
            free = self.hashes[places] == 0
            # Of several that want one free place the last written wins; the others go on.
            self.hashes[places[free]] = hashes[pending[free]]
            won = free & (self.hashes[places] == hashes[pending])
            self.numbers[places[won]] = numbers[pending[won]]
            pending = pending[~won]
            places = (places[~won] + np.uint64(1)) & self.mask
        self.taken += len(hashes)


class Recent:
    """A table of `numbers` integers per hash, for at least the last `remembered` hashes. It grows up to that size."""

    def __init__(self, remembered: int, numbers: int = 0) -> None:
        self._most = _room(remembered)
        self._numbers = numbers
        self._young = _Generation(min(self._most, FIRST), numbers)
        self._old: _Generation | None = None

    def find(self, hashes: U64) -> tuple[Flags, Ints]:
        """Which hashes are known, and their numbers (zeros for the others)."""
        hashes = np.where(hashes == 0, np.uint64(1), hashes)
        places = self._young.find(hashes)
        known = places >= 0
        numbers = np.zeros((len(hashes), self._numbers), np.int64)
        numbers[known] = self._young.numbers[places[known]]
        if self._old is not None and not known.all():
            missing = np.flatnonzero(~known)
            places = self._old.find(hashes[missing])
            there = places >= 0
            numbers[missing[there]] = self._old.numbers[places[there]]
            known[missing[there]] = True
        return known, numbers

    def put(self, hashes: U64, numbers: Ints | None = None) -> None:
        """Remember hashes; one that is known already gets the new numbers. Of equal ones the last counts."""
        if not len(hashes):
            return
        hashes = np.where(hashes == 0, np.uint64(1), hashes)
        if numbers is None:
            numbers = np.zeros((len(hashes), self._numbers), np.int64)
        hashes, last = _last_of_each(hashes)
        numbers = numbers[last]
        self._make_room(len(hashes))
        places = self._young.find(hashes)
        known = places >= 0
        self._young.numbers[places[known]] = numbers[known]
        self._young.put(hashes[~known], numbers[~known])

    def _make_room(self, count: int) -> None:
        """A larger table while it may grow; then a new generation."""
        young = self._young
        places = len(young.hashes)
        if young.taken + count <= places * FULL:
            return
        if places < self._most:
            self._young = _Generation(max(4 * places, _room(young.taken + count)), self._numbers)
            taken = young.hashes != 0
            self._young.put(young.hashes[taken], young.numbers[taken])
        else:
            self._old, self._young = young, _Generation(max(self._most, _room(count)), self._numbers)


def _room(count: int) -> int:
    return 1 << max(4, int(np.ceil(np.log2(max(count, 1) / FULL))))


def _last_of_each(hashes: U64) -> tuple[U64, Ints]:
    found, first_from_behind = np.unique(hashes[::-1], return_index=True)
    return found, len(hashes) - 1 - first_from_behind
