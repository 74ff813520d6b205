"""Groups and commits by one request a broker each, over aiokafka's connections; where a broker is older, one by one.

Promises what `client.py` promises, and that a broker which does not answer is never taken for one without groups.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from collectors.base import CollectorError
from collectors.kafka.groups import GroupsClient
from collectors.kafka.parse import KINDLESS, Group, Partition

try:
    from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
except ImportError:
    raise CollectorError(
        "watching Kafka needs the packages aiokafka and confluent-kafka: pip install 'eventflow[kafka]'", permanent=True
    ) from None

from collectors.kafka.group_requests import FetchCommits, ListGroups

_NOT_ALLOWED_GROUP = 30
# How aiokafka says that a broker is too old for a request.
_OLD = (IncompatibleBrokerVersion, NotImplementedError)
_PROTOCOLS = frozenset({"", "consumer", "share"})
"""Kafka Connect's workers are a group too, but read nothing as one."""


class Coordinators(GroupsClient):
    """One cluster's groups, asked of the brokers that coordinate them."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self._client: Any = None
        self._partitions: dict[str, list[Partition]] = {}
        self._bytes = 0

    def nodes(self) -> list[int]:
        """Every broker's number."""
        return [broker.nodeId for broker in self._client.cluster.brokers()]

    async def ask(self, node: int, request: Any) -> Any:
        """One request to one broker. Raises IncompatibleBrokerVersion when it does not know it."""
        self.calls += 1
        try:
            return await self._ends(self._client.send(node, request))
        except IncompatibleBrokerVersion:
            raise
        except (KafkaError, OSError):
            raise CollectorError(f"Kafka at {self.address.shown} did not answer: connection lost") from None

    async def groups(self) -> list[Group]:
        """Every group we may see: name, kind (classic, consumer, share, unknown), state and who coordinates it."""
        try:
            answers = await self._all({node: ListGroups() for node in self.nodes()})
        except _OLD:
            return await super().groups()
        await self.fresh_token()
        found = []
        for node, answer in answers.items():
            if isinstance(answer, CollectorError) or answer.error:  # some alone would look as if the others were gone
                why = answer if isinstance(answer, CollectorError) else f"error {answer.error}"
                raise CollectorError(f"Kafka at {self.address.shown} does not tell all its groups: {why}")
            self._bytes += 12 + sum(5 + sum(map(len, group[:3])) for group in answer.groups)
            for name, protocol, state, *more in answer.groups:
                if protocol in _PROTOCOLS:
                    kind = next((word.lower() for word in more if isinstance(word, str)), KINDLESS)
                    found.append(Group(name, kind, state.lower(), coordinator=node))
        return found

    async def commits(self, groups: Iterable[Group]) -> tuple[set[str], set[str]]:
        """Fill in what each group has committed; names of the refused and of the unanswered."""
        by_name = {group.name: group for group in groups}
        by_node: dict[int, list[str]] = {}
        for group in by_name.values():
            if group.coordinator is None:
                return await super().commits(by_name.values())
            by_node.setdefault(group.coordinator, []).append(group.name)
        try:
            answers = await self._all({node: FetchCommits(names) for node, names in by_node.items()})
        except _OLD:
            return await super().commits(by_name.values())
        refused: set[str] = set()
        silent: set[str] = set()
        lost = [answer for answer in answers.values() if isinstance(answer, CollectorError)]
        for node, answer in answers.items():
            if isinstance(answer, CollectorError):
                silent.update(by_node[node])
                continue
            self._bytes += answer.size
            for told in answer.groups:
                if told.error:
                    (refused if told.error == _NOT_ALLOWED_GROUP else silent).add(told.group)
                    continue
                by_name[told.group].commits = {
                    at[number] if number < len(at) else Partition(topic, number): offset
                    for topic, partitions in told.topics
                    for at in (self._partitions.get(topic, ()),)
                    for number, offset in partitions
                }
        if silent and len(silent) == len(by_name):
            where = self.address.shown
            raise lost[0] if lost else CollectorError(f"Kafka at {where} tells no group's commits: coordinators move")
        return refused, silent

    async def _all(self, asked: Mapping[int, Any]) -> dict[int, Any]:
        """One request to each of these brokers at once, and what each answered, or the CollectorError instead."""
        told = await asyncio.gather(*(self.ask(*item) for item in asked.items()), return_exceptions=True)
        for answer in told:
            if isinstance(answer, BaseException) and not isinstance(answer, CollectorError):
                raise answer
        return dict(zip(asked, told, strict=True))
