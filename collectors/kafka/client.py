"""All talk with a Kafka cluster: topics, offsets, offsets by time, groups, commits, single records.

aiokafka asks for offsets and records, confluent-kafka for groups: each what it is best at. Promises: every call ends, a
refusal is told from silence, no message or log line holds credentials. Joins no group, commits nothing, writes nothing.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from collectors.base import CollectorError
from collectors.kafka.address import Address
from collectors.kafka.parse import Group, Partition, Record, instant, text

try:
    import confluent_kafka as rd
    from aiokafka import AIOKafkaConsumer, TopicPartition
    from aiokafka.abc import AbstractTokenProvider
    from aiokafka.client import AIOKafkaClient
    from aiokafka.cluster import ClusterMetadata
    from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError
    from aiokafka.helpers import create_ssl_context
    from aiokafka.protocol.offset import OffsetRequest
    from confluent_kafka.admin import AdminClient
except ImportError:
    raise CollectorError(
        "watching Kafka needs the packages aiokafka and confluent-kafka: pip install 'eventflow[kafka]'", permanent=True
    ) from None

from collectors.kafka.oauth import fetch_token

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 4
LATEST, EARLIEST = -1, -2
UNCOMMITTED, COMMITTED = 0, 1
FETCH_BYTES = 1024 * 1024
SLICE = 0.1
"""What holds no message ends no wait for messages: look this often how far the reader has come."""
_NOT_ALLOWED_TOPIC = 29
_STALE = {3, 5, 6, 9, 74, 76, 100}
"""Unknown topic, leader not available or not here, replica not available, old leader epoch: ask for topics again."""

# Both libraries log every reconnect; what matters of it becomes the source's status.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
T = TypeVar("T")


class NotAllowedError(CollectorError):
    """We may not do this. `right` names what would have to be granted, `topics` on what if it was told."""

    def __init__(self, right: str, topics: Iterable[str] = ()) -> None:
        super().__init__(f"not allowed: grant {right} to see more")
        self.right = right
        self.topics = frozenset(topics)


@dataclass(frozen=True, slots=True)
class Answer:
    """What ListOffsets said of each partition: (offset, its record's time or None)."""

    found: dict[Partition, tuple[int, int | None]]
    refused: frozenset[Partition]


class _Tokens(AbstractTokenProvider):  # type: ignore[misc]  # the library ships no types
    def __init__(self, address: Address) -> None:
        self._address = address

    async def token(self) -> str:
        return (await asyncio.to_thread(fetch_token, self._address))[0]


class Client:
    """One cluster. `calls` and `received_bytes` count what we cost it."""

    def __init__(self, url: str, name: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self._name = "eventflow-" + "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
        self._client: Any = None
        self._leaders: dict[Partition, int] = {}
        self._admin: Any = None
        self._reader: Any = None
        self._trouble: Any = None
        self._bytes = 0
        self._admin_bytes = 0

    @property
    def received_bytes(self) -> int:
        if self._admin is not None:
            self._admin.poll(0)
        return self._bytes + self._admin_bytes

    @property
    def brokers(self) -> int:
        return len(self._client.cluster.brokers()) if self._client is not None else 0

    # Connecting

    async def connect(self) -> None:
        """Connect once. Raises CollectorError quickly; permanent when the cluster knows us not."""
        self._trouble = None
        self._admin = AdminClient(
            self.librdkafka()
            | {"statistics.interval.ms": 1000, "stats_cb": self._on_statistics, "error_cb": self._on_error}
        )
        try:
            self._client = AIOKafkaClient(**self._options(), metadata_max_age_ms=3_600_000)
            await self._ends(self._client.bootstrap(), CONNECT_SECONDS * (len(self.address.servers) + 1))
        except (KafkaError, OSError, ValueError, CollectorError) as error:
            why = await self._connect_error(error)
            await self.close()
            raise why from None

    def librdkafka(self) -> dict[str, Any]:
        """confluent-kafka's configuration of a client here."""
        options: dict[str, Any] = {
            **self.address.librdkafka(),
            "client.id": self._name,
            "socket.timeout.ms": int(ANSWER_SECONDS * 1000),
            "socket.connection.setup.timeout.ms": CONNECT_SECONDS * 1000,
            "log_level": 0,
        }
        if self.address.mechanism == "OAUTHBEARER":
            options["oauth_cb"] = lambda _: fetch_token(self.address)
        return options

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
            options |= {"sasl_mechanism": where.mechanism, "sasl_oauth_token_provider": _Tokens(where)}
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
        where = self.address.shown
        if isinstance(error, (FileNotFoundError, ValueError)):
            return CollectorError("a certificate file named in the source's URL can't be read", permanent=True)
        for _ in range(20):
            self._admin.poll(0.1)
            if self._trouble is not None:
                break
            await asyncio.sleep(0.1)
        code = self._trouble.code() if self._trouble is not None else None
        if code in (rd.KafkaError._AUTHENTICATION, rd.KafkaError.SASL_AUTHENTICATION_FAILED):
            return CollectorError(
                f"Kafka at {where} refuses our credentials: correct user, password and mechanism in the source's URL",
                permanent=True,
            )
        if code == rd.KafkaError._SSL:
            return CollectorError(
                f"no TLS with Kafka at {where}: is it TLS there, is its certificate trusted (?ca=/path.pem)?"
            )
        if code == rd.KafkaError._RESOLVE:
            return CollectorError(f"can't reach Kafka at {where}: its host name is unknown")
        hint = "" if self.address.tls or self.address.mechanism else " (or it wants TLS or a password)"
        return CollectorError(f"can't reach Kafka at {where}: connection refused, closed or no answer{hint}")

    def _on_error(self, error: Any) -> None:
        if error.code() != rd.KafkaError._ALL_BROKERS_DOWN:
            self._trouble = error

    def _on_statistics(self, statistics: str) -> None:
        self._admin_bytes = int(json.loads(statistics).get("rx_bytes", 0))

    async def close(self) -> None:
        """Give the connections back; never raises, never waits long."""
        reader, client = self._reader, self._client
        self._bytes += self._admin_bytes
        self._reader = self._client = self._admin = None
        self._admin_bytes = 0
        for ending in (reader.stop() if reader else None, client.close() if client else None):
            if ending is not None:
                try:
                    async with asyncio.timeout(2):
                        await ending
                except (KafkaError, OSError, TimeoutError):
                    pass  # it is being given up anyway

    async def _ends(self, call: Awaitable[T], seconds: float = ANSWER_SECONDS) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError:
            raise CollectorError(f"Kafka at {self.address.shown} gave no answer in {seconds:.0f} s") from None

    # Topics and offsets

    async def topics(self) -> dict[str, int]:
        """Every topic we may describe, with its number of partitions; Kafka's own are left out."""
        self.calls += 1
        try:
            cluster: ClusterMetadata = await self._ends(self._client.fetch_all_metadata())
        except (KafkaError, OSError):
            raise CollectorError(f"Kafka at {self.address.shown} does not tell its topics: connection lost") from None
        self._client.cluster = cluster
        names = sorted(name for name in cluster.topics() if not name.startswith("__"))
        found = {name: len(cluster.partitions_for_topic(name) or ()) for name in names}
        every = (Partition(name, number) for name, count in found.items() for number in range(count))
        leaders = ((partition, cluster.leader_for_partition(TopicPartition(*partition))) for partition in every)
        self._leaders = {partition: node for partition, node in leaders if node is not None and node != -1}
        self._bytes += sum(15 + len(name) + 40 * count for name, count in found.items())
        return found

    async def offsets(self, asked: Mapping[Partition, int], isolation: int = UNCOMMITTED) -> Answer:
        """ListOffsets: one request per leading broker. What has no leader, or one that is away, is left out."""
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for partition, at in asked.items():
            if (node := self._leaders.get(partition)) is not None:
                by_node.setdefault(node, {}).setdefault(partition.topic, []).append((partition.number, at))
        answers = await asyncio.gather(
            *(self._offsets_of(node, list(topics.items()), isolation) for node, topics in by_node.items()),
            return_exceptions=True,
        )
        found: dict[Partition, tuple[int, int | None]] = {}
        refused: set[Partition] = set()
        lost = [answer for answer in answers if isinstance(answer, BaseException)]
        if lost and (len(lost) == len(answers) or not isinstance(lost[0], CollectorError)):
            raise lost[0]
        for topics in answers:
            if isinstance(topics, BaseException):
                continue  # one broker of several is away: what it leads is not known now
            for topic, partitions in topics:
                self._bytes += 6 + len(topic) + 22 * len(partitions)
                for number, error, at, offset in partitions:
                    if error == 0:
                        found[Partition(topic, number)] = (offset, at if at >= 0 else None)
                    elif error == _NOT_ALLOWED_TOPIC:
                        refused.add(Partition(topic, number))
        return Answer(found, frozenset(refused))

    async def _offsets_of(self, node: int, topics: list[tuple[str, Any]], isolation: int) -> Any:
        self.calls += 1
        try:
            answer = await self._ends(self._client.send(node, OffsetRequest(-1, isolation, topics)))
        except (KafkaError, OSError):
            broker = self._client.cluster.broker_metadata(node)
            where = f"{broker.host}:{broker.port}" if broker else f"node {node}"
            raise CollectorError(
                f"can't reach the broker at {where}, which Kafka at {self.address.shown} names: "
                "is it down, or does its advertised.listeners fit this network?"
            ) from None
        return answer.topics

    # Groups

    async def _future(self, future: Any, right: str) -> Any:
        try:
            return await self._ends(asyncio.wrap_future(future), ANSWER_SECONDS + 1)
        except rd.KafkaException as refusal:
            error = refusal.args[0]
            if error.code() in (
                rd.KafkaError.GROUP_AUTHORIZATION_FAILED,
                rd.KafkaError.CLUSTER_AUTHORIZATION_FAILED,
                rd.KafkaError.TOPIC_AUTHORIZATION_FAILED,
            ):
                raise NotAllowedError(right) from None
            raise CollectorError(f"Kafka at {self.address.shown} did not answer: {error.str()[:200]}") from None

    async def may_see_all_groups(self) -> bool | None:
        """Whether Describe on the cluster is granted: without it the list of groups is silently shortened."""
        self.calls += 1
        try:
            found = await self._future(
                self._admin.describe_cluster(include_authorized_operations=True), "Describe on the cluster"
            )
        except CollectorError:
            return None
        granted = {operation.name for operation in found.authorized_operations or ()}
        return None if not granted else bool(granted & {"DESCRIBE", "ALL"})

    async def groups(self) -> list[Group]:
        """Every group we may see: name, kind (classic, consumer, other) and state. One request per broker."""
        self.calls += max(1, self.brokers)
        found = await self._future(self._admin.list_consumer_groups(), "Describe on the cluster")
        if found.errors:  # a part of the groups would look as if the others were gone
            why = found.errors[0].str()[:200]
            raise CollectorError(f"Kafka at {self.address.shown} does not tell all its groups: {why}")
        return [
            Group(
                group.group_id,
                group.type.name.lower() if group.type is not None else "unknown",
                group.state.name.lower() if group.state is not None else "unknown",
            )
            for group in found.valid
        ]

    async def describe(self, groups: Iterable[Group]) -> bool:
        """Fill in members and assignments; False when some may not be seen."""
        by_name = {group.name: group for group in groups}
        if not by_name:
            return True
        self.calls += len(by_name)
        allowed = True
        for name, future in self._admin.describe_consumer_groups(list(by_name)).items():
            group = by_name[name]
            try:
                found = await self._future(future, f"Describe on group {name}")
            except NotAllowedError:
                allowed = False
                continue
            except CollectorError:
                continue  # gone meanwhile, or its coordinator moves: the next cycle tells
            group.members, group.assigned, group.readers = len(found.members), set(), {}
            for member in found.members:
                read = {Partition(p.topic, p.partition) for p in _assigned(member)}
                group.assigned |= read
                for topic in {partition.topic for partition in read}:
                    group.readers[topic] = group.readers.get(topic, 0) + 1
        return allowed

    async def commits(self, groups: Iterable[Group]) -> tuple[set[str], set[str]]:
        """Fill in what each group has committed, one request each; names of the refused and of the unanswered."""
        wanted = list(groups)
        self.calls += len(wanted)
        futures = [
            self._admin.list_consumer_group_offsets([rd.ConsumerGroupTopicPartitions(group.name)])[group.name]
            for group in wanted
        ]
        refused: set[str] = set()
        silent: set[str] = set()
        for group, future in zip(wanted, futures, strict=True):
            try:
                found = await self._future(future, f"Describe on group {group.name}")
            except NotAllowedError:
                refused.add(group.name)
                continue
            except CollectorError:  # its coordinator is away or moves
                if len(silent) + 1 == len(wanted):
                    raise
                silent.add(group.name)
                continue
            group.commits = {
                Partition(at.topic, at.partition): at.offset
                for at in found.topic_partitions
                if at.offset >= 0 and at.error is None
            }
        return refused, silent

    # Records

    async def read(
        self, ranges: Mapping[Partition, tuple[int, int]], *, at_most: int, wait: float = 1.0
    ) -> tuple[list[Record], dict[Partition, int]]:
        """Records from offset to end, and how far was read (past what holds no message). Commits nothing."""
        if self._reader is None:
            reader = AIOKafkaConsumer(
                **self._options(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_wait_ms=int(wait * 300),
            )
            await self._reading(reader.start())
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


def _assigned(member: Any) -> Any:
    return member.assignment.topic_partitions if member.assignment else ()


def _record(found: Any) -> Record:
    return Record(
        Partition(found.topic, found.partition),
        found.offset,
        instant(found.timestamp),
        found.key,
        found.value,
        tuple((str(name), text(value or b"")) for name, value in found.headers or ()),
    )
