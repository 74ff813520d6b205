"""ListGroups and OffsetFetch (Kafka 2.6 and 3.0 on) for every group of a broker at once: what neither library has.

A broker lists the groups that it coordinates, so whoever listed a group is who to ask for its commits: two requests a
broker however many groups there are. A partition's commit is one `struct` wherever it carries no words. Pure but for
its base.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Schema, TaggedFields, UnsignedVarInt32

TEXT, TAGS = CompactString("utf-8"), ("tags", TaggedFields)
_COMMIT, _WORDLESS, _ERROR = struct.Struct(">iqi"), struct.Struct(">iqibhb"), struct.Struct(">h")


def _listed(*more: tuple[str, Any]) -> Schema:
    group = CompactArray(("name", TEXT), ("protocol", TEXT), ("state", TEXT), *more, TAGS)
    return Schema(("throttle", Int32), ("error", Int16), ("groups", group), TAGS)


class _ListAnswerV4(Response):  # type: ignore[misc]  # the library ships no types
    API_KEY, API_VERSION, SCHEMA = 16, 4, _listed()


class _ListAnswerV5(Response):  # type: ignore[misc]  # as above
    API_KEY, API_VERSION, SCHEMA = 16, 5, _listed(("type", TEXT))


class _ListShapeV4(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION, API_KEY, API_VERSION, RESPONSE_TYPE = True, 16, 4, _ListAnswerV4
    SCHEMA = Schema(("states", CompactArray(TEXT)), TAGS)


class _ListShapeV5(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION, API_KEY, API_VERSION, RESPONSE_TYPE = True, 16, 5, _ListAnswerV5
    SCHEMA = Schema(("states", CompactArray(TEXT)), ("types", CompactArray(TEXT)), TAGS)


class ListGroups(Request[_ListShapeV4 | _ListShapeV5]):  # type: ignore[misc]  # as above
    """Which groups of any kind a broker coordinates; which kind each is, from version 5 (Kafka 3.8) on."""

    API_KEY = 16

    def build(self, shape: type[Any]) -> Any:
        return shape([], {}) if shape is _ListShapeV4 else shape([], [], {})


@dataclass(frozen=True, slots=True)
class Committed:
    """One group's answer: error, and by topic (partition, offset) of every commit that holds."""

    group: str
    error: int
    topics: list[tuple[str, list[tuple[int, int]]]]


class _Reading:
    """What lies in an answer, from front to back."""

    def __init__(self, raw: bytes, at: int) -> None:
        self.raw, self.at = raw, at

    def number(self) -> int:
        """An unsigned varint."""
        value = shift = 0
        while True:
            byte, self.at = self.raw[self.at], self.at + 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        length = self.number() - 1
        start = self.skip(max(0, length))
        return self.raw[start : self.at].decode()

    def skip(self, many: int) -> int:
        start, self.at = self.at, self.at + many
        return start

    def error(self) -> int:
        (found,), self.at = _ERROR.unpack_from(self.raw, self.at), self.at + 2
        return int(found)

    def skip_tags(self) -> None:
        for _ in range(self.number()):
            self.number()
            self.skip(self.number())

    def commits(self) -> list[tuple[int, int]]:
        """One topic's partitions."""
        many, size = self.number() - 1, _WORDLESS.size
        block = self.raw[self.at : self.at + many * size]
        # From the first row on: where no row has words or tags, each ends where the next begins.
        if len(block) == many * size and not block[16::size].strip(b"\0\1") and not block[19::size].strip(b"\0"):
            self.skip(len(block))
            rows = _WORDLESS.iter_unpack(block)
            return [(number, offset) for number, offset, _, _, error, _ in rows if offset >= 0 and not error]
        return [(number, offset) for number, offset, error in self._rows(many) if offset >= 0 and not error]

    def _rows(self, many: int) -> Iterator[tuple[int, int, int]]:
        for _ in range(many):
            number, offset, _ = _COMMIT.unpack_from(self.raw, self.at)
            self.skip(_COMMIT.size)
            self.skip(max(0, self.number() - 1))
            error = self.error()
            self.skip_tags()
            yield number, offset, error


@dataclass(frozen=True, slots=True)
class Commits:
    """A broker's answer. `size`: its bytes."""

    groups: list[Committed]
    size: int


class _FetchAnswer(Response):  # type: ignore[misc]  # as above
    API_KEY, API_VERSION, SCHEMA = 9, 8, Schema()

    @classmethod
    def decode(cls, data: BytesIO | bytes) -> Commits:
        raw = data if isinstance(data, bytes) else data.read()
        reading = _Reading(raw, 4)  # behind how long we were held back
        groups = []
        for _ in range(reading.number() - 1):
            name, topics = reading.text(), []
            for _ in range(reading.number() - 1):
                topics.append((reading.text(), reading.commits()))
                reading.skip_tags()
            groups.append(Committed(name, reading.error(), topics))
            reading.skip_tags()
        return Commits(groups, len(raw))


class _FetchShape(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION, API_KEY, API_VERSION, RESPONSE_TYPE, SCHEMA = True, 9, 8, _FetchAnswer, Schema()

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def encode(self) -> bytes:
        no_topics, no_tags, even_unstable = b"\0", b"\0", b"\0"
        groups: list[bytes] = [TEXT.encode(name) + no_topics + no_tags for name in self._names]
        count: bytes = UnsignedVarInt32.encode(len(self._names) + 1)
        return count + b"".join(groups) + even_unstable + no_tags


class FetchCommits(Request[_FetchShape]):  # type: ignore[misc]  # as above
    """What groups have committed, on every topic that we may describe."""

    API_KEY = 9

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def build(self, shape: Any) -> _FetchShape:
        return _FetchShape(self._names)
