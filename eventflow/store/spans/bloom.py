"""A Bloom filter of hashes: tells of most that are not there, without a look at the pages where they would be.

A byte to a hash. Of those that are not there, one in twenty seems to be; of those that are, all do.
"""

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np

from eventflow.store.spans.columns import U64, Ints

BITS = 8
"""To a hash: more would be kept in memory in vain, since a page read now and then costs little."""
_MIX = 0x9E3779B97F4A7C15
"""2^64 by the golden ratio (Knuth, TAOCP 6.4): its product's upper half depends on every bit of a hash."""
_HALF = 32
_LOW = (1 << _HALF) - 1


def made(hashes: Ints) -> bytes:
    """The filter of these hashes, which are in order."""
    distinct = hashes[np.concatenate(([True], hashes[1:] != hashes[:-1]))].astype(np.uint64)
    size = np.uint64(len(distinct) * BITS)
    bits = np.zeros(int(size), bool)
    for half in _halves(distinct):
        bits[(half * size) >> np.uint64(_HALF)] = True
    return np.packbits(bits, bitorder="little").tobytes()


def _halves(hashes: U64) -> tuple[U64, U64]:
    """As `halves`, for many."""
    return hashes & np.uint64(_LOW), (hashes * np.uint64(_MIX)) >> np.uint64(_HALF)


def halves(one: int) -> tuple[int, int]:
    """What decides of a hash where its two bits are, in a filter of any size: numbers of 32 bits."""
    return one & _LOW, (one * _MIX >> _HALF) & _LOW


class Filter:
    """Filters of ranges of hashes, as one: rows of (first hash, filter). Without any, all hashes may be there."""

    def __init__(self, rows: Iterable[tuple[int, bytes]]) -> None:
        parts = sorted(rows)
        self._firsts = [first for first, _ in parts]
        self._parts = [bytes(body) for _, body in parts]

    def may_hold(self, one: int, its_halves: tuple[int, int]) -> bool:
        """Whether this hash, with these `halves`, may be there."""
        at = bisect_right(self._firsts, one)
        if not at:
            return not self._firsts
        bits = self._parts[at - 1]
        size = len(bits) * 8
        for half in its_halves:
            place = half * size >> _HALF
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
        return True
