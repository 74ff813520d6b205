"""The fields of many spans as a table: a row for the first field of every span, one for the second, …

Walks through all spans at the same time, a field a step, which numpy does many times as fast as Python walks through
them one by one. For bytes that are known to be sound. Takes only what spans usually have; says None to all else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
U64 = NDArray[np.uint64]
Array = NDArray[Any]
PADDING = 512
"""Zeros behind a body: who reads too far, by two lengths of a byte at most, reads these."""
MOST_FIELDS = 128
SIZED = b"\x0a\x12\x1a\x22\x2a\x4a\x5a\x6a\x7a"
"""Tags of texts, bytes and messages."""
NUMBERS, TIMES, FLAGS = b"\x30\x50\x60\x70", b"\x39\x41", (0x85, 0x01)
ALONE = b"\x0a\x12\x22\x2a\x30\x39\x41\x7a"
"""What a span has once: of several protobuf takes the last, which is left to its own parser."""


def _sizes() -> Bytes:
    """How long fields are in all, by their first two bytes; 0 where they don't tell."""
    found = np.zeros((256, 256), np.uint8)  # by the second, then the first: a little-endian number of both
    for tag in SIZED:
        found[:128, tag] = np.arange(2, 130)
    for tag in NUMBERS:
        found[:128, tag] = 2
    for tag in TIMES:
        found[:, tag] = 9
    found[FLAGS[1], FLAGS[0]] = 6
    return found.reshape(-1)


_SIZES = _sizes()
_PLACE, _IS_SIZED = np.zeros((2, 256), np.uint8)
_PLACE[[*ALONE]] = np.arange(1, len(ALONE) + 1)
_IS_SIZED[[*SIZED]] = 1


class UnusualError(Exception):
    """This is to be read span by span."""


class Octets:
    """A body that can be read at many places at the same time."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        padded = body + bytes(PADDING)
        self.one: Bytes = np.frombuffer(padded, np.uint8)
        self.two = np.ndarray(len(padded) - 1, "<u2", padded, strides=(1,))
        self.eight = np.ndarray(len(padded) - 7, "<u8", padded, strides=(1,))
        """Numbers of two and of eight bytes that begin at any byte."""
        self.words = np.frombuffer(padded, "<u8", len(padded) // 8)
        """Those that begin at every eighth: to take them is several times as fast."""

    def begins(self, at: Ints) -> Ints:
        """Where the content begins of fields with a tag of one byte and a length, at most 2,097,151."""
        first, second = self.one.take(at + 1) >> 7, self.one.take(at + 2) >> 7
        found: Ints = at + 2 + (first + (first & second))
        return found

    def sized(self, at: Ints) -> Ints:
        """The length at these places, of at most three bytes; -1 for a longer one."""
        first, second, third = (self.one.take(at + byte).astype(np.int64) for byte in range(3))
        more, most = first > 127, (first > 127) & (second > 127)
        found = np.where(more, first & 127 | (second & 127) << 7, first) | np.where(most, third << 14, 0)
        found[most & (third > 127)] = -1
        return np.asarray(found, np.int64)


@dataclass(frozen=True, slots=True)
class Table:
    """Spans' fields, span by span, `width` places a span: tag, and where it begins; behind the last where that ends.

    alone  a row for each tag in `ALONE`: where that field begins in each span, 0 where it has none
    """

    tags: Bytes
    at: Ints
    width: int
    alone: Ints

    def each(self, tag: int) -> tuple[Ints, Ints, Ints, Ints]:
        """All fields of a tag, span by span: their places here, their spans, where they begin, where they end."""
        place = np.flatnonzero(self.tags == tag)
        return place, place // self.width, self.at[place], self.at[place + 1]


def table(octets: Octets, at: Ints, size: Ints) -> Table:
    """The fields of the messages at these places, none of which is empty."""
    count, last = len(at), at + size
    span: slice | Ints = slice(None)  # all of them: that takes less time than to name them
    rows: list[tuple[slice | Ints, Array, Ints]] = []
    end = last
    while len(at):
        begin = octets.two[at]
        length = _SIZES.take(begin)
        to = at + length
        if len(rows) == MOST_FIELDS:
            raise UnusualError
        if np.count_nonzero(length) < len(length):
            _lengthen(octets, at, begin & 255, to)
        rows.append((span, begin, at))
        more = to < last
        if np.count_nonzero(more) == len(more):
            at = to
        else:
            chosen = np.flatnonzero(more)
            at, last, span = to[chosen], last[chosen], chosen if isinstance(span, slice) else span[chosen]
    return _filled(count, end, rows)


def _filled(count: int, end: Ints, rows: Sequence[tuple[slice | Ints, Array, Ints]]) -> Table:
    width = len(rows) + 1
    tags = np.zeros((width, count), np.uint8)
    at = np.empty((width, count), np.int64)
    at[:] = end
    for row, (span, begin, place) in enumerate(rows):
        tags[row, span], at[row, span] = begin, place  # of two bytes the lower is the tag
    found = Table(tags.T.reshape(-1), at.T.reshape(-1), width, np.zeros((len(ALONE), count), np.int64))
    which = _PLACE.take(found.tags)
    places = np.flatnonzero(which)
    found.alone[which[places] - 1, places // width] = found.at[places]
    if np.count_nonzero(found.alone) < len(places):
        raise UnusualError
    return found


def _lengthen(octets: Octets, at: Ints, tag: Array, to: Ints) -> None:
    """Fill in the ends that two bytes don't tell."""
    unknown = np.flatnonzero(to == at)
    where = at[unknown]
    told = octets.sized(where + 1)
    if not _IS_SIZED.take(tag[unknown]).all() or (told < 0).any():
        raise UnusualError
    to[unknown] = octets.begins(where) + told
