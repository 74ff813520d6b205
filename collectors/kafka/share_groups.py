"""Share groups (KIP-932), which neither client library can look at: requests of Kafka's protocol, sent by aiokafka.

Promises: looks only; a broker that does not know these requests has no share groups. The lag is the broker's own word
(KIP-1226, Kafka 4.2): records that wait or are being worked on. Before 4.2 it is not known.
"""

from collections.abc import Iterable
from io import BytesIO
from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    Int16,
    Int32,
    Int64,
    Schema,
)

from collectors.kafka import parse
from collectors.kafka.client import Client
from collectors.kafka.group_requests import TAGS, TEXT
from collectors.kafka.parse import SHARE, Group, Offsets, Partition

NOT_ALLOWED = {29, 30}


class _Uuid(AbstractType):  # type: ignore[misc]  # the library ships no types
    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


_PLACES = CompactArray(("id", _Uuid), ("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)


class _DescribeAnswer(Response):  # type: ignore[misc]  # as above
    API_KEY, API_VERSION = 77, 1
    SCHEMA = Schema(
        ("throttle", Int32),
        (
            "groups",
            CompactArray(
                ("error", Int16),
                ("message", TEXT),
                ("name", TEXT),
                ("state", TEXT),
                ("epoch", Int32),
                ("assignment_epoch", Int32),
                ("assignor", TEXT),
                (
                    "members",
                    CompactArray(
                        ("id", TEXT),
                        ("rack", TEXT),
                        ("epoch", Int32),
                        ("client", TEXT),
                        ("host", TEXT),
                        ("topics", CompactArray(TEXT)),
                        ("assignment", Schema(("places", _PLACES), TAGS)),
                        TAGS,
                    ),
                ),
                ("operations", Int32),
                TAGS,
            ),
        ),
        TAGS,
    )


class _DescribeShape(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION, API_KEY, API_VERSION, RESPONSE_TYPE = True, 77, 1, _DescribeAnswer
    SCHEMA = Schema(("groups", CompactArray(TEXT)), ("operations", Boolean), TAGS)


class DescribeShareGroups(Request[_DescribeShape]):  # type: ignore[misc]  # as above
    """Their members and assignments."""

    API_KEY = 77

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, shape: type[_DescribeShape]) -> _DescribeShape:
        return shape(self._names, False, {})


def _offsets(lag: tuple[tuple[str, Any], ...]) -> Schema:
    partition = CompactArray(
        ("number", Int32), ("start", Int64), ("epoch", Int32), *lag, ("error", Int16), ("message", TEXT), TAGS
    )
    topics = CompactArray(("topic", TEXT), ("id", _Uuid), ("partitions", partition), TAGS)
    groups = CompactArray(("name", TEXT), ("topics", topics), ("error", Int16), ("message", TEXT), TAGS)
    return Schema(("throttle", Int32), ("groups", groups), TAGS)


_ASKED = Schema(
    (
        "groups",
        CompactArray(
            ("name", TEXT), ("topics", CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)), TAGS
        ),
    ),
    TAGS,
)


class _OffsetsAnswerV0(Response):  # type: ignore[misc]  # as above
    API_KEY, API_VERSION, SCHEMA = 90, 0, _offsets(())


class _OffsetsAnswerV1(Response):  # type: ignore[misc]  # as above
    API_KEY, API_VERSION, SCHEMA = 90, 1, _offsets((("lag", Int64),))


class _OffsetsShapeV0(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION, API_KEY, API_VERSION, RESPONSE_TYPE, SCHEMA = True, 90, 0, _OffsetsAnswerV0, _ASKED


class _OffsetsShapeV1(RequestStruct):  # type: ignore[misc]  # as above
    FLEXIBLE_VERSION, API_KEY, API_VERSION, RESPONSE_TYPE, SCHEMA = True, 90, 1, _OffsetsAnswerV1, _ASKED


class DescribeShareGroupOffsets(Request[_OffsetsShapeV0 | _OffsetsShapeV1]):  # type: ignore[misc]  # as above
    """Where they begin on each partition and, from version 1 on, their lag."""

    API_KEY = 90

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def build(self, shape: type[Any]) -> Any:
        return shape([(name, None, {}) for name in self._names], {})


class ShareGroups:
    """What a look at the cluster's share groups leaves to remember."""

    def __init__(self) -> None:
        self.refused = False
        self._done: dict[tuple[str, Partition], tuple[int, int]] = {}

    async def look(self, client: Client, listed: Iterable[Group]) -> list[Group]:
        """Their members, starts and lag; two requests a coordinator. One that can't be asked now is left out."""
        self.refused = False
        by_node: dict[int, list[str]] = {}
        for group in listed:
            if group.kind == SHARE and group.coordinator is not None:
                by_node.setdefault(group.coordinator, []).append(group.name)
        groups: list[Group] = []
        for node, names in by_node.items():
            try:
                told = {group.name: group for group in await self._described(client, node, names)}
                answer = await client.ask(node, DescribeShareGroupOffsets(names))
            except (IncompatibleBrokerVersion, NotImplementedError):
                continue
            self._take(told, answer.groups)
            groups += told.values()
        return groups

    def count(self, groups: Iterable[Group], ends: Offsets) -> None:
        """How many records each has done, from lag and end. It never falls, unless the group was set back.

        Its start alone lags behind: records after it may be done already. And the end is read after the lag.
        """
        before, self._done = self._done, {}
        for group in groups:
            for partition, lag in group.told.items():
                start, end = group.commits[partition], ends.get(partition)
                if lag < 0 or end is None:
                    continue
                earlier, done = before.get((group.name, partition), (0, 0))
                group.done[partition] = max(end - lag, done) if start >= earlier else end - lag
                self._done[group.name, partition] = start, group.done[partition]

    async def _described(self, client: Client, node: int, names: list[str]) -> Iterable[Group]:
        found = []
        for error, _, name, state, _, _, _, members, *_ in (await client.ask(node, DescribeShareGroups(names))).groups:
            if error:
                self.refused |= error in NOT_ALLOWED  # else it moved or is gone: the next list tells
                continue
            group = Group(name, SHARE, state.lower(), members=len(members))
            consumers = []
            for member, _, _, program, host, _, (places, _), _ in members:
                read = {Partition(topic, number) for _, topic, numbers, _ in places for number in numbers}
                group.assigned |= read
                for topic in {partition.topic for partition in read}:
                    group.readers[topic] = group.readers.get(topic, 0) + 1
                consumers.append(parse.member(member, program, host, read))
            group.consumers = tuple(sorted(consumers, key=lambda one: one.id))
            found.append(group)
        return found

    def _take(self, groups: dict[str, Group], answers: Iterable[Any]) -> None:
        for name, topics, error, *_ in answers:
            if error:
                self.refused |= error in NOT_ALLOWED
                groups.pop(name, None)
                continue
            for topic, _, partitions, _ in topics:
                for number, start, _, *lag, failed, _, _ in partitions:
                    if not failed and start >= 0 and name in groups:
                        groups[name].commits[Partition(topic, number)] = start
                        groups[name].told[Partition(topic, number)] = lag[0] if lag else -1
