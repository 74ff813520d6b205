"""The half of the talk that confluent-kafka does best: consumer groups, their members and commits, and why we can't in.

Promises what `client.py` promises. Asks only; the configuration made here also serves the producer of a replay.
"""

import asyncio
import json
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar

from collectors.base import CollectorError
from collectors.kafka import parse
from collectors.kafka.address import Address
from collectors.kafka.parse import Group, Partition

try:
    import confluent_kafka as rd
    from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # it is meant to be
except ImportError:
    raise CollectorError(
        "watching Kafka needs the packages aiokafka and confluent-kafka: pip install 'eventflow[kafka]'", permanent=True
    ) from None

from collectors.kafka.oauth import Tokens

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 4
UNREADABLE = "a certificate file named in the source's URL can't be read"
T = TypeVar("T")


class NotAllowedError(CollectorError):
    """We may not do this. `right` names what would have to be granted, `topics` on what if it was told."""

    def __init__(self, right: str, topics: Iterable[str] = ()) -> None:
        super().__init__(f"not allowed: grant {right} to see more")
        self.right = right
        self.topics = frozenset(topics)


class GroupsClient:
    """One cluster's groups. `calls` counts what we asked."""

    def __init__(self, url: str, name: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self.brokers = 1
        self._name = "eventflow-" + "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
        self._admin: Any = None
        self._admin_bytes = 0
        self._trouble: Any = None
        self._tokens = Tokens(self.address)

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
            options["oauth_cb"] = lambda _: self._tokens.current()
        return options

    async def fresh_token(self) -> None:
        """Have a token that lasts, so that the libraries' callbacks find one at once. Raises CollectorError."""
        if self.address.mechanism == "OAUTHBEARER":
            await asyncio.to_thread(self._tokens.current)

    async def _open_admin(self) -> None:
        """Raises CollectorError, permanent for files that can't be read. It may wait for a token, so not here."""
        self._trouble = None
        await self.fresh_token()
        told = {"statistics.interval.ms": 1000, "stats_cb": self._on_statistics, "error_cb": self._on_error}
        try:
            self._admin = await asyncio.to_thread(AdminClient, self.librdkafka() | told)
        except rd.KafkaException as error:
            if error.args[0].code() == rd.KafkaError._INVALID_ARG:
                raise CollectorError(UNREADABLE, permanent=True) from None
            raise CollectorError(f"no client for Kafka at {self.address.shown}: {error.args[0].name()}") from None

    def _on_error(self, error: Any) -> None:
        if error.code() != rd.KafkaError._ALL_BROKERS_DOWN:
            self._trouble = error

    def _on_statistics(self, statistics: str) -> None:
        self._admin_bytes = int(json.loads(statistics).get("rx_bytes", 0))

    async def _why(self) -> CollectorError:
        """Why there is no connection: this library tells refused credentials from a closed port."""
        where = self.address.shown
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

    async def _ends(self, call: Awaitable[T], seconds: float = ANSWER_SECONDS) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError:
            raise CollectorError(f"Kafka at {self.address.shown} gave no answer in {seconds:.0f} s") from None

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

    async def settings(self, topics: Iterable[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """These settings of each topic; what is gone is left out. Raises NotAllowedError when all are refused."""
        self.calls += 1
        wanted = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        found: dict[str, tuple[str, ...]] = {}
        refusal: NotAllowedError | None = None
        for resource, future in self._admin.describe_configs(wanted).items():
            try:
                told = await self._future(future, "DescribeConfigs on topics")
                found[resource.name] = tuple(str(told[name].value) for name in names)
            except NotAllowedError as error:
                refusal = error
            except (CollectorError, KeyError):
                continue  # gone meanwhile
        if refusal is not None and not found:
            raise refusal
        return found

    async def groups(self) -> list[Group]:
        """Every group we may see: name, kind (classic, consumer, other) and state. One request per broker."""
        self.calls += max(1, self.brokers)
        await self.fresh_token()
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
            consumers = []
            for member in found.members:
                read = {Partition(p.topic, p.partition) for p in _assigned(member)}
                consumers.append(parse.member(member.member_id, member.client_id, member.host, read))
                group.assigned |= read
                for topic in {partition.topic for partition in read}:
                    group.readers[topic] = group.readers.get(topic, 0) + 1
            group.consumers = tuple(sorted(consumers, key=lambda one: one.id))
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


def _assigned(member: Any) -> Any:
    return member.assignment.topic_partitions if member.assignment else ()
