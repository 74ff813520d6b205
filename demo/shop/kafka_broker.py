"""The shop's broker on Kafka: a topic per event, retries in the process, dead letters in `<topic>.dlq`.

A message to be tried again waits in memory while its partition is read on; the commit waits for the oldest message that
is not settled, so a crash repeats messages and loses none. Switches live in a compacted topic.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from demo.shop.broker import BrokerError, Delivery
from demo.shop.contract import EVENTS, GROUPS, Group, events_of
from demo.shop.events import CORRELATION_ID, MESSAGE_ID

SWITCHES = "__shop_faults"
PARTITIONS = 3
KEPT_BYTES = 256 * 1024 * 1024
LOOK_SECONDS = 0.25
_KAFKAS_MESSAGE_ID = "message-id"


async def connect(url: str, name: str, *, patient: bool = True) -> "KafkaBroker":
    """Wait for Kafka for ever if `patient`, else say within a few seconds that it is not there."""
    where = urlsplit(url).netloc
    while True:
        producer = AIOKafkaProducer(
            bootstrap_servers=where, client_id=name, acks="all", enable_idempotence=True, request_timeout_ms=5000
        )
        try:
            await producer.start()
        except (KafkaError, OSError) as error:
            await producer.stop()
            if not patient:
                raise BrokerError(f"Kafka does not answer at {where}: {type(error).__name__}") from error
            await asyncio.sleep(0.5)
        else:
            return KafkaBroker(where, name, producer)


class KafkaBroker:
    system = "kafka"

    def __init__(self, where: str, name: str, producer: AIOKafkaProducer) -> None:
        self._where = where
        self._name = name
        self._producer = producer
        self._readers: dict[str, _Reader] = {}

    def dead_letters_of(self, delivery: Delivery, group: str) -> str:
        return f"{delivery.subject}.dlq"

    async def declare(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._where, client_id=self._name)
        await _asked(admin.start())
        try:
            limit = {"retention.bytes": str(KEPT_BYTES)}
            topics = [NewTopic(event, PARTITIONS, 1, topic_configs=limit) for event in EVENTS]
            read = sorted({event for group in GROUPS.values() for event in events_of(group)})
            topics += [NewTopic(f"{event}.dlq", 1, 1, topic_configs=limit) for event in read]
            topics.append(NewTopic(SWITCHES, 1, 1, topic_configs={"cleanup.policy": "compact"}))
            answer = await _asked(admin.create_topics(topics))
            for topic, code, *_ in answer.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    raise BrokerError(f"Kafka did not create the topic {topic}: error {code}")
        finally:
            await admin.close()

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        pairs = [(_KAFKAS_MESSAGE_ID if n == MESSAGE_ID else n, value.encode()) for n, value in headers.items()]
        key = headers.get(CORRELATION_ID, "").encode() or None
        await _asked(self._producer.send_and_wait(subject, body, key=key, headers=pairs))

    async def next(self, group: Group, wait_seconds: float) -> Delivery | None:
        if group.name not in self._readers:
            reader = _Reader(self._where, self._name, group)
            await _asked(reader.consumer.start())
            self._readers[group.name] = reader
        return await _asked(self._readers[group.name].next(wait_seconds))  # type: ignore[no-any-return]  # no types there

    async def ack(self, delivery: Delivery) -> None:
        reader, record = delivery.receipt
        await _asked(reader.settled(record))

    async def nak(self, delivery: Delivery, delay_seconds: float) -> None:
        reader, record = delivery.receipt
        reader.again(record, delivery.attempt + 1, delay_seconds)

    async def term(self, delivery: Delivery) -> None:
        await self.ack(delivery)

    async def switch(self, name: str, value: str, *, first: bool = False) -> bool:
        if first and name in await self.switch_values():
            return False
        await _asked(self._producer.send_and_wait(SWITCHES, value.encode(), key=name.encode()))
        return True

    async def switches(self) -> AsyncIterator[tuple[str, str]]:
        consumer = await self._switch_consumer()
        try:
            while True:
                record = await _asked(consumer.getone())
                yield (record.key or b"").decode(), (record.value or b"").decode()
        finally:
            await consumer.stop()

    async def switch_values(self) -> dict[str, str]:
        consumer, place = await self._switch_consumer(), TopicPartition(SWITCHES, 0)
        values: dict[str, str] = {}
        try:
            end = (await _asked(consumer.end_offsets([place])))[place]
            while await _asked(consumer.position(place)) < end:
                for record in (await _asked(consumer.getmany(timeout_ms=500))).get(place, ()):
                    values[(record.key or b"").decode()] = (record.value or b"").decode()
        finally:
            await consumer.stop()
        return values

    async def close(self) -> None:
        for reader in self._readers.values():
            await reader.consumer.stop()
        await self._producer.stop()

    async def _switch_consumer(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._where, client_id=self._name, enable_auto_commit=False)
        await _asked(consumer.start())
        place = TopicPartition(SWITCHES, 0)
        consumer.assign([place])
        await _asked(consumer.seek_to_beginning(place))
        return consumer


@dataclass
class _Progress:
    """One partition: what was handed out and is not settled, and where the next commit may stand."""

    reached: int = -1
    open: set[int] = field(default_factory=set)

    @property
    def safe(self) -> int:
        return min(self.open, default=self.reached + 1)


class _Reader(ConsumerRebalanceListener):  # type: ignore[misc]  # the library ships no types
    """One group's member in this process."""

    def __init__(self, where: str, name: str, group: Group) -> None:
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=where,
            client_id=name,
            group_id=group.name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # A service that stops reading on a person's word stays a member.
            max_poll_interval_ms=24 * 3600 * 1000,
            rebalance_timeout_ms=10_000,
        )
        self.consumer.subscribe(events_of(group), listener=self)
        self._progress: dict[TopicPartition, _Progress] = {}
        self._later: list[tuple[float, int, Any, int]] = []
        self._turn = itertools.count()

    async def next(self, wait_seconds: float) -> Delivery | None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_seconds
        while (left := deadline - clock()) > 0:
            if self._later and self._later[0][0] <= clock():
                _, _, record, attempt = heapq.heappop(self._later)
                return self._delivery(record, attempt)
            found = await self.consumer.getmany(timeout_ms=int(min(left, LOOK_SECONDS) * 1000), max_records=1)
            for place, records in found.items():
                for record in records:
                    progress = self._progress.setdefault(place, _Progress())
                    progress.reached = max(progress.reached, record.offset)
                    progress.open.add(record.offset)
                    return self._delivery(record, 1)
        return None

    def again(self, record: Any, attempt: int, delay_seconds: float) -> None:
        due = asyncio.get_running_loop().time() + delay_seconds
        heapq.heappush(self._later, (due, next(self._turn), record, attempt))

    async def settled(self, record: Any) -> None:
        place = TopicPartition(record.topic, record.partition)
        if (progress := self._progress.get(place)) is None or record.offset not in progress.open:
            return  # the partition went to another member meanwhile
        before = progress.safe
        progress.open.discard(record.offset)
        if progress.safe > before:
            await self.consumer.commit({place: progress.safe})

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        for place in revoked:
            self._progress.pop(place, None)
        self._later = [
            entry for entry in self._later if TopicPartition(entry[2].topic, entry[2].partition) not in revoked
        ]
        heapq.heapify(self._later)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass

    def _delivery(self, record: Any, attempt: int) -> Delivery:
        headers = {MESSAGE_ID if n == _KAFKAS_MESSAGE_ID else n: value.decode() for n, value in record.headers}
        return Delivery(
            subject=record.topic,
            stream=record.topic,
            sequence=record.offset,
            attempt=attempt,
            headers=headers,
            body=record.value or b"",
            receipt=(self, record),
            partition=record.partition,
        )


async def _asked(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{type(error).__name__}: {error}") from error
