"""`arrays` in numpy: the same results as the compiled ones, several times slower."""

from collections.abc import Sequence
from secrets import randbits

import numpy as np

from eventflow.domain.columns import Body
from eventflow.store.spans.dtypes import U64, Flags, Ints

_LANE = 8
_BEGIN = 0x9E3779B97F4A7C15
"""Salts a length: with a small one the hash of a short text is that of another or of none."""
MOST_PLACES = 32
"""Looked at together."""
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_MIX2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(32)
_KEPT = np.array([2 ** (8 * size) - 1 for size in range(_LANE + 1)], np.uint64)
"""So many bytes of eight."""
_SPREAD = np.uint64(randbits(64) | 1)
"""Of this process, so that nobody can make many values come to one place; no two values become one."""


def mixed(values: U64, salt: int = 0) -> U64:
    """As `arrays.mixed`."""
    found: U64 = (values ^ np.uint64(salt)) * _MIX
    found ^= found >> _SHIFT
    found *= _MIX2
    found ^= found >> _SHIFT
    return found


def distinct(values: U64) -> tuple[Ints, Ints]:
    """As `arrays.distinct`."""
    first = _first(values)
    rows = np.flatnonzero(first == np.arange(len(values)))
    number = np.empty(len(values), np.int64)
    number[rows] = np.arange(len(rows))
    return rows, number.take(first)


def _first(values: U64) -> Ints:
    """For every value the row in which it stands first: by places in a table, which takes a fifth of sorting."""
    spread = values * _SPREAD
    bits = max(8, len(values).bit_length() + 2)
    table, shift = np.empty(1 << bits, np.int64), np.uint64(64 - bits)
    found = np.arange(len(values))
    left = found
    while len(left):
        mine = spread[left]
        place = (mine >> shift).astype(np.int64)
        # Of all that come to one place the first is written last, and stands for those that are like it.
        table[place[::-1]] = left[::-1]
        one = table.take(place)
        like = spread.take(one) == mine
        found[left[like]] = one[like]
        left = left[~like]
    return found


def among(hashes: U64, wanted: U64) -> tuple[Flags, Ints]:
    """As `arrays.among`."""
    first = _first(np.concatenate((wanted, hashes)))[len(wanted) :]
    found = first < len(wanted)
    return found, np.where(found, first, 0)


def grouped(numbers: Ints, groups: int) -> Ints:
    """As `arrays.grouped`."""
    # Numbers of 16 bits are sorted by their digits, many times as fast as wider ones.
    return np.argsort(numbers.astype(np.uint16) if groups <= 1 << 16 else numbers, kind="stable")


def find(table: U64, hashes: U64) -> tuple[Flags, Ints]:
    """As `arrays.find`."""
    places = _places(table[:, 0], hashes, hashes)
    known = table[:, 0][places] == hashes
    numbers = np.zeros((len(hashes), table.shape[1] - 1), np.int64)
    numbers[known] = table[places[known], 1:].view(np.int64)
    return known, numbers


def settle(table: U64, hashes: U64, numbers: Ints) -> int:
    """As `arrays.settle`."""
    first, number = distinct(hashes)
    values, column = hashes[first], table[:, 0]
    places = _places(column, values, values)
    pending = np.flatnonzero(column[places] == 0)
    added = len(pending)
    while len(pending):
        wanted, there = values[pending], places[pending]
        # Of several that want one free place the last written wins; the others go on.
        column[there] = wanted
        pending = pending[column[there] != wanted]
        places[pending] = _places(column, values[pending], places[pending])
    table[places[number], 1:] = numbers.view(np.uint64)
    return added


def _places(column: U64, hashes: U64, begin: U64) -> U64:
    """Where each hash is, or the free place where it would be, from a place on."""
    mask = np.uint64(len(column) - 1)
    found = begin & mask
    there = column[found]
    pending = np.flatnonzero((there != hashes) & (there != 0))
    width = 1
    while len(pending):
        # The few that are left look at more places at a time.
        steps: U64 = np.arange(1, width + 1, dtype=np.uint64)
        cells: U64 = (found[pending][:, None] + steps) & mask
        there = column[cells]
        end = (there == hashes[pending][:, None]) | (there == 0)
        at, ended = end.argmax(axis=1), end.any(axis=1)
        found[pending] = cells[np.arange(len(pending)), np.where(ended, at, width - 1)]
        pending = pending[~ended]
        width = min(2 * width, MOST_PLACES)
    return found


def text_hashes(bodies: Sequence[Body], body: Ints, start: Ints, length: Ints) -> U64:
    """As `arrays.text_hashes`: eight bytes of all texts at a time."""
    places = zip(body.tolist(), start.tolist(), (start + length).tolist(), strict=True)
    texts = b"".join([bodies[one][low:high] for one, low, high in places])
    words = np.frombuffer(texts + bytes(2 * _LANE), "<u8", len(texts) // _LANE + 2)
    at = np.cumsum(length) - length
    # Eight bytes begin in one word and end in the next; to shift by 64 is no shift, so the second takes two.
    right = ((at & 7) << 3).astype(np.uint64)
    left = np.uint64(63) - right
    found = mixed(length.astype(np.uint64), _BEGIN)
    for offset in range(0, int(length.max(initial=0)), _LANE):
        longer = np.flatnonzero(length > offset)
        word = (at[longer] + offset) >> 3
        lane = words.take(word) >> right[longer] | words.take(word + 1) << left[longer] << np.uint64(1)
        # Of the last eight bytes only those of the text count.
        lane &= _KEPT.take(np.minimum(length[longer] - offset, _LANE))
        found[longer] = mixed(found[longer] ^ lane, 2)
    return found


def from_planes(plain: bytes, begin: int, width: int, count: int) -> Ints:
    """As `arrays.from_planes`."""
    planes = np.frombuffer(plain, np.uint8, width * count, begin).reshape(width, count)
    wide = np.zeros((count, _LANE), np.uint8)
    wide[:, :width] = planes.T
    return wide.view("<i8").reshape(-1)
