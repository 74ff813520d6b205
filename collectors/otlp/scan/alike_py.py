"""Which of many pieces of a body are the same, told by numpy: eight bytes of all of them at a time.

Hashes only suggest it; every piece is compared with the one that it is said to be like.
"""

from collections.abc import Iterator
from secrets import randbits

import numpy as np
from numpy.typing import NDArray

from collectors.otlp.scan.table_py import U64, Ints, Octets

Flags = NDArray[np.bool_]
LANE = 8
MOST = 512
"""Bytes that pieces may have."""
LONGEST = 128
"""Bytes that are compared like this; longer pieces are few, and compared one by one."""
FACTORS = np.array([randbits(64) | 1 for _ in range(256)], np.uint64)
"""Of this process: nobody can make hashes meet on purpose, which would cost time."""
_ONE, _HALF = np.uint64(1), np.uint64(32)
_LOW, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)


def _kept() -> U64:
    """What of the first, second, … lane belongs to a piece, by its size."""
    left = np.arange(MOST + 1) - LANE * np.arange(MOST // LANE)[:, None]
    bits = np.array([2 ** (8 * size) - 1 for size in range(LANE + 1)], np.uint64)
    return bits.take(left.clip(0, LANE))


_KEPT = _kept()


def alike(octets: Octets, at: Ints, size: Ints) -> tuple[Ints, Ints]:
    """The pieces that stand for their kind, and for every piece the number of its kind there."""
    hashes = size.astype(np.uint64) * FACTORS[0]
    lanes = [*_lanes(octets, at, np.minimum(size, LONGEST))]
    for number, (piece, lane) in enumerate(lanes, 1):
        hashes[piece] += lane * FACTORS[number]
    hashes ^= hashes >> _HALF
    like = likely(hashes)
    same = size[like] == size
    whole = np.zeros(len(size), np.uint64)
    for piece, lane in lanes:
        if isinstance(piece, slice):
            same &= lane[like] == lane
        else:
            whole[piece] = lane
            # Pieces of one size have lanes at the same places.
            same[piece] &= whole[like[piece]] == lane
    same &= size <= LONGEST
    if not same.all():
        _correct(octets.body, at, size, like, ~same)
    return kinds(like)


def likely(hashes: U64) -> Ints:
    """For every hash the place of one like it, the same for all that are alike."""
    places = 1 << max(8, 2 + len(hashes).bit_length())
    table, shift = np.empty(places, np.int64), np.uint64(65 - places.bit_length())
    found = np.arange(len(hashes))
    left = found
    while len(left):
        # Of all that come to one place the last is written, and stands for those that are like it.
        wanted = hashes[left]
        place = (wanted >> shift).astype(np.int64)
        table[place] = left
        one = table[place]
        hit = hashes[one] == wanted
        found[left[hit]] = one[hit]
        left = left[~hit]
    return found


def kinds(like: Ints) -> tuple[Ints, Ints]:
    """Those that stand for their kind, and for all the number of their kind among those."""
    stands = np.flatnonzero(like == np.arange(len(like)))
    number = np.empty(len(like), np.int64)
    number[stands] = np.arange(len(stands))
    return stands, number.take(like)


def with_nul(octets: Octets, at: Ints, size: Ints) -> Flags:
    """Which pieces have a NUL in them."""
    found = np.zeros(len(at), bool)
    for number, (piece, lane) in enumerate(_lanes(octets, at, size)):
        filled = lane | ~_KEPT[number].take(size[piece])
        # A byte of zero borrows, and had no high bit.
        found[piece] |= (filled - _LOW) & ~filled & _HIGH != 0
    return found


def _lanes(octets: Octets, at: Ints, size: Ints) -> Iterator[tuple[slice | Ints, U64]]:
    """Eight bytes of every piece that is so long, then the next eight; zeros behind its end.

    Of all pieces, as a slice, while most are so long: to choose some takes longer than to look at all.
    """
    piece: slice | Ints = slice(None)
    word, low = at >> 3, octets.words.take(at >> 3)
    # A lane begins in one word and ends in the next; to shift by 64 is no shift, so the second takes two.
    right = ((at & 7) << 3).astype(np.uint64)
    left = np.uint64(63) - right
    for number in range((int(size.max(initial=0)) + LANE - 1) // LANE):
        longer = size > LANE * number
        if 2 * np.count_nonzero(longer) < len(size):
            few = np.flatnonzero(longer)
            word, low, right, left, size = word[few], low[few], right[few], left[few], size[few]
            piece = few if isinstance(piece, slice) else piece[few]
        word = word + 1
        high = octets.words.take(word)
        yield piece, (low >> right | high << left << _ONE) & _KEPT[number].take(size)
        low = high


def _correct(body: bytes, at: Ints, size: Ints, like: Ints, doubtful: Flags) -> None:
    """Compare the doubtful pieces as they are, those that stand for their kind too."""
    found: dict[bytes, int] = {}
    places = np.flatnonzero(doubtful)
    for place, begin, length in zip(places.tolist(), at[places].tolist(), size[places].tolist(), strict=True):
        like[place] = found.setdefault(body[begin : begin + length], place)
