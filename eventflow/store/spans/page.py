"""A page of the index as bytes: two columns of numbers, compressed, each as wide as its largest number needs.

Sums of edges are kept in the same form. Never asks the database.
"""

import struct
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import zstandard

from eventflow.store.spans import arrays
from eventflow.store.spans.columns import Array, Ints

_HEAD = struct.Struct("<IBq")


class Decoded:
    """A page: two columns. That a page is asked for a hash in vain is usual, so the second waits until it is wanted."""

    def __init__(self, body: bytes) -> None:
        plain = decompressed(body)
        deltas, first, second = _column(plain, 0)
        deltas[:1] = first
        self.hashes: Ints = deltas.cumsum()
        # The first need not be kept as it was: thousands of pages are.
        self._second = plain[second:]

    @cached_property
    def places(self) -> memoryview:
        """The hashes, for bisect."""
        return self.hashes.data

    @cached_property
    def chunks(self) -> Ints:
        """Beside each hash."""
        offsets, base, _ = _column(self._second, 0)
        return offsets + base


def unpacked(body: bytes) -> tuple[Ints, Ints]:
    """The two columns of `packed`."""
    page = Decoded(body)
    return page.hashes, page.chunks


def _column(plain: bytes, at: int) -> tuple[Ints, int, int]:
    """What stands there: the numbers, what they count from, and where the next column begins."""
    count, width, base = _HEAD.unpack_from(plain, at)
    begin = at + _HEAD.size
    return arrays.from_planes(plain, begin, width, count), base, begin + width * count


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
    return next(packed_pages(keys, values, [0, len(keys)]))


def packed_pages(keys: Ints, values: Ints, cuts: Sequence[int]) -> Iterator[bytes]:
    """The same for each of many pages, which begin and end at the cuts."""
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
