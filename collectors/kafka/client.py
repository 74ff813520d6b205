"""All talk with a Kafka cluster: topics, offsets, offsets by time, groups, commits, single records.

aiokafka asks for offsets and records, confluent-kafka for groups: each what it is best at. Promises: every call ends, a
refusal is told from silence, no message or log line holds credentials. Joins no group, commits nothing, writes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from collectors.base import CollectorError
from collectors.kafka.coordinators import Coordinators
from collectors.kafka.groups import ANSWER_SECONDS, CONNECT_SECONDS, UNREADABLE, NotAllowedError
from collectors.kafka.parse import Partition, Record, instant, text

try:
    from aiokafka import TopicPartition
    from aiokafka.abc import AbstractTokenProvider
    from aiokafka.cluster import ClusterMetadata
    from aiokafka.errors import (
        KafkaConnectionError,
        KafkaError,
        TopicAuthorizationFailedError,
    )
    from aiokafka.helpers import create_ssl_context
except ImportError:
    raise CollectorError(
        "watching Kafka needs the packages aiokafka and confluent-kafka: pip install 'eventflow[kafka]'", permanent=True
    ) from None

from collectors.kafka.connections import Connections, Reader
from collectors.kafka.list_offsets import ListOffsets, Told
from collectors.kafka.oauth import Tokens

LATEST, EARLIEST = -1, -2
UNCOMMITTED, COMMITTED = 0, 1
FETCH_BYTES = 1024 * 1024
SLICE = 0.1
"""What holds no message ends no wait for messages: look this often how far the reader has come."""
_NOT_ALLOWED_TOPIC = 29

# Both libraries log every reconnect; what matters of it becomes the source's status.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
T = TypeVar("T")

__all__ = ["EARLIEST", "LATEST", "Answer", "Client", "Edges", "NotAllowedError"]


Answer: TypeAlias = dict[Partition, tuple[int, int | None]]
"""What ListOffsets said of each partition: (offset, its record's time or None)."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Where the partitions end or begin, and which we may not describe."""

    found: dict[Partition, int]
    refused: frozenset[Partition]


class _TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # the library ships no types
    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def token(self) -> str:
        return (await asyncio.to_thread(self._tokens.current))[0]


class Client(Coordinators):
    """One cluster. `calls` and `received_bytes` count what we cost it."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self._leaders: dict[Partition, int] = {}
        self._reader: Any = None

    @property
    def received_bytes(self) -> int:
        if self._admin is not None:
            self._admin.poll(0)
        return self._bytes + self._admin_bytes

    # Connecting

    async def connect(self) -> None:
        """Connect once. Raises CollectorError quickly; permanent when the cluster knows us not."""
        await self._open_admin()
        try:
            self._client = Connections(self._options(), metadata_max_age_ms=3_600_000)
            await self._ends(self._client.bootstrap(), CONNECT_SECONDS * (len(self.address.servers) + 1))
        except (KafkaError, OSError, ValueError, CollectorError) as error:
            why = await self._connect_error(error)
            await self.close()
            raise why from None

    def _options(self) -> dict[str, Any]:
        where = self.address
        options: dict[str, Any] = {
            "bootstrap_servers": list(where.servers),
            "client_id": self._name,
            "request_timeout_ms": int(ANSWER_SECONDS * 1000),
            "security_protocol": where.protocol,
        }
        if where.tls:
            options["ssl_context"] = create_ssl_context(cafile=where.ca, certfile=where.certificate, keyfile=where.key)
        if where.mechanism == "OAUTHBEARER":
            options |= {"sasl_mechanism": where.mechanism, "sasl_oauth_token_provider": _TokenProvider(self._tokens)}
        elif where.mechanism:
            options |= {
                "sasl_mechanism": where.mechanism,
                "sasl_plain_username": where.user,
                "sasl_plain_password": where.password,
            }
        return options

    async def _connect_error(self, error: Exception) -> CollectorError:
        """Why it did not work: the other library tells refused credentials from a closed port."""
        if isinstance(error, CollectorError) and error.permanent:
            return error
        if isinstance(error, (FileNotFoundError, ValueError)):
            return CollectorError(UNREADABLE, permanent=True)
        return await self._why()

    async def close(self) -> None:
        """Give the connections back; never raises, never waits long."""
        reader, client = self._reader, self._client
        self._bytes += self._admin_bytes
        self._reader = self._client = self._admin = None
        self._admin_bytes = 0
        try:
            if reader is not None:
                await reader.end()
        finally:
            if client is not None:
                await client.end()

    # Topics and offsets

    async def topics(self) -> dict[str, int]:
        """Every topic we may describe, with its number of partitions; Kafka's own are left out."""
        self.calls += 1
        try:
            cluster: ClusterMetadata = await self._ends(self._client.fetch_all_metadata())
        except (KafkaError, OSError):
            raise CollectorError(f"Kafka at {self.address.shown} does not tell its topics: connection lost") from None
        self._client.cluster = cluster
        self.brokers = len(cluster.brokers())
        names = sorted(name for name in cluster.topics() if not name.startswith("__"))
        found = {name: len(cluster.partitions_for_topic(name) or ()) for name in names}
        self._partitions = {topic: [Partition(topic, number) for number in range(n)] for topic, n in found.items()}
        leaders = (
            (partition, cluster.leader_for_partition(TopicPartition(*partition)))
            for partitions in self._partitions.values()
            for partition in partitions
        )
        self._leaders = {partition: node for partition, node in leaders if node is not None and node != -1}
        self._bytes += sum(15 + len(name) + 40 * count for name, count in found.items())
        return found

    @property
    def partitions(self) -> Mapping[str, Sequence[Partition]]:
        """Every topic's, as `topics` found them."""
        return self._partitions

    async def edges(self, at: int) -> Edges:
        """Every partition's end, or with EARLIEST its first offset; what has no leader, or one that is away, lacks."""
        found: dict[Partition, int] = {}
        refused: set[Partition] = set()
        for topic, rows in await self._told(dict.fromkeys(self._leaders, at), UNCOMMITTED):
            places = self._partitions[topic]
            for number, error, _, offset in rows:
                if error == 0:
                    found[places[number]] = offset
                elif error == _NOT_ALLOWED_TOPIC:
                    refused.add(places[number])
        return Edges(found, frozenset(refused))

    async def offsets(self, asked: Mapping[Partition, int], isolation: int = UNCOMMITTED) -> Answer:
        """The first offset at a time or later, of some partitions, with its record's time."""
        found: Answer = {}
        for topic, rows in await self._told(asked, isolation):
            places = self._partitions[topic]
            for number, error, at, offset in rows:
                if error == 0:
                    found[places[number]] = (offset, at if at >= 0 else None)
        return found

    async def _told(self, asked: Mapping[Partition, int], isolation: int) -> Told:
        """ListOffsets: one request per leading broker."""
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
        leaders = self._leaders
        for partition, at in asked.items():
            if (node := leaders.get(partition)) is not None:
                by_node.setdefault(node, {}).setdefault(partition.topic, []).append((partition.number, at))
        answers = await asyncio.gather(
            *(self._offsets_of(node, list(topics.items()), isolation) for node, topics in by_node.items()),
            return_exceptions=True,
        )
        lost = [answer for answer in answers if isinstance(answer, BaseException)]
        if lost and (len(lost) == len(answers) or not isinstance(lost[0], CollectorError)):
            raise lost[0]
        # Where one broker of several is away, what it leads is not known now.
        return [told for answer in answers if not isinstance(answer, BaseException) for told in answer]

    async def _offsets_of(self, node: int, topics: list[tuple[str, Any]], isolation: int) -> Told:
        self.calls += 1
        try:
            answer = await self._ends(self._client.send(node, ListOffsets(isolation, topics)))
        except (KafkaError, OSError):
            broker = self._client.cluster.broker_metadata(node)
            where = f"{broker.host}:{broker.port}" if broker else f"node {node}"
            raise CollectorError(
                f"can't reach the broker at {where}, which Kafka at {self.address.shown} names: "
                "is it down, or does its advertised.listeners fit this network?"
            ) from None
        self._bytes += answer.size
        found: Told = answer.topics
        return found

    # Records

    async def read(
        self, ranges: Mapping[Partition, tuple[int, int]], *, at_most: int, wait: float = 1.0
    ) -> tuple[list[Record], dict[Partition, int]]:
        """Records from offset to end, and how far was read (past what holds no message). Commits nothing."""
        if self._reader is None:
            reader = Reader(
                self._options(),
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_wait_ms=int(wait * 300),
            )
            try:
                await self._reading(reader.start())
            except BaseException:
                await reader.end()
                raise
            self._reader = reader
        at = {partition: TopicPartition(partition.topic, partition.number) for partition in ranges}
        self._reader.assign(list(at.values()))
        for partition, (start, _) in ranges.items():
            self._reader.seek(at[partition], start)
        records: list[Record] = []
        reached = {partition: start for partition, (start, _) in ranges.items()}
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        try:
            while len(records) < at_most and (left := deadline - loop.time()) > 0:
                self.calls += 1
                found = await self._reading(
                    self._reader.getmany(timeout_ms=int(min(left, SLICE) * 1000), max_records=at_most - len(records))
                )
                records += [_record(record) for many in found.values() for record in many]
                for partition, there in at.items():
                    reached[partition] = await self._reading(self._reader.position(there))
                if all(reached[partition] >= end for partition, (_, end) in ranges.items()):
                    break
        finally:
            if self._reader is not None:
                self._reader.unsubscribe()
        self._bytes += sum(len(r.value or b"") + 60 for r in records)
        return records, reached

    async def _reading(self, call: Awaitable[T]) -> T:
        try:
            return await self._ends(call)
        except TopicAuthorizationFailedError as error:
            topics = sorted(map(str, error.args[0]))
            raise NotAllowedError(f"Read on topic {', '.join(topics)[:200]}", topics) from None
        except (KafkaConnectionError, KafkaError, OSError) as error:
            raise CollectorError(f"reading from Kafka at {self.address.shown} failed: {type(error).__name__}") from None


def _record(found: Any) -> Record:
    return Record(
        Partition(found.topic, found.partition),
        found.offset,
        instant(found.timestamp),
        found.key,
        found.value,
        tuple((str(name), text(value or b"")) for name, value in found.headers or ()),
    )
