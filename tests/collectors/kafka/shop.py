"""A few moves of an application on Kafka, as tests need them. Uses its own connections, never the collector's.

Names are made unique here: all tests share one broker.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from eventflow.domain.observations import LagSample
from tests.collectors.recorder import Recorder
from tests.services import KafkaServer

LETTER_HEADERS = [
    ("correlation-id", b"order-1"),
    ("ce-id", b"event-1"),
    ("ce-type", b"orders.placed"),
    ("x-original-topic", b"orders.placed"),
    ("x-original-partition", b"1"),
    ("x-original-offset", b"17"),
    ("x-original-consumer", b"payment"),
    ("x-exception-type", b"shop.payment.GiftCardError"),
    ("x-exception-message", b"gift card 7 has no balance"),
    ("x-attempts", b"4"),
    ("x-failed-at", b"2026-11-25T15:00:07.5Z"),
]


def unique(name: str) -> str:
    return f"{name}-{uuid4().hex[:8]}"


class Shop:
    """What applications and operators do."""

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self.where: dict[str, Any] = {"bootstrap.servers": server.address, "log_level": 0}
        self.admin = AdminClient(self.where)

    def topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        return self.create(unique(name), partitions, config)

    def create(self, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        for done in self.admin.create_topics([NewTopic(topic, partitions, 1, config=dict(config or {}))]).values():
            done.result(20)
        return topic

    def publish(
        self,
        topic: str,
        how_many: int = 1,
        *,
        partition: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes | None = None,
        value: bytes | None = b"{}",
        at: Sequence[int] = (),
    ) -> None:
        """`at`: their timestamps in ms."""
        producer, refused = Producer(self.where), []
        for number in range(how_many):
            when = {"timestamp": at[number]} if at else {}
            told = {"on_delivery": lambda error, _: error and refused.append(str(error))}
            producer.produce(topic, value, key, partition, headers=list(headers), **when, **told)
        assert (producer.flush(20), refused) == (0, [])

    def transact(self, topic: str, times: int = 1) -> None:
        """Committed transactions of one message each: every one leaves a marker behind its message."""
        producer = Producer({**self.where, "transactional.id": unique("writer")})
        producer.init_transactions(30)
        for _ in range(times):
            producer.begin_transaction()
            producer.produce(topic, b"{}", partition=0)
            producer.commit_transaction(30)

    def consumer(self, group: str, topics: Sequence[str], **config: Any) -> Consumer:
        """A member that has its partitions."""
        consumer = Consumer(
            {**self.where, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **config}
        )
        consumer.subscribe(list(topics))
        deadline = time.monotonic() + 20
        message = None
        while not consumer.assignment():
            assert time.monotonic() < deadline
            message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            # A quick broker gives the first message with the partitions; it is the test's to poll.
            consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))
        return consumer

    def commit(self, group: str, topic: str, offset: int, partition: int = 0) -> None:
        """What an operator's reset, or a client that assigns by itself, leaves behind."""
        deadline = time.monotonic() + 30
        while True:
            at = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
            done = self.admin.alter_consumer_group_offsets([at])[group].result(20)
            errors = [str(place.error) for place in done.topic_partitions if place.error is not None]
            if not errors:
                return
            assert time.monotonic() < deadline, errors
            time.sleep(0.2)  # the group's coordinator is only being chosen

    def trim(self, topic: str, before: int, partition: int = 0) -> None:
        for done in self.admin.delete_records([TopicPartition(topic, partition, before)]).values():
            done.result(20)

    def first(self, topic: str, partition: int = 0) -> int:
        """The first offset that is kept."""
        at = TopicPartition(topic, partition)
        return int(self.admin.list_offsets({at: OffsetSpec.earliest()})[at].result(20).offset)

    def forget(self, group: str) -> None:
        for done in self.admin.delete_consumer_groups([group]).values():
            done.result(20)

    def everything(self) -> object:
        """All that looking must leave as it is: groups with state, members and commits; topics with their ends."""
        groups = self.admin.list_consumer_groups().result(20).valid
        found: dict[str, object] = {}
        for group in groups:
            name = group.group_id
            described = self.admin.describe_consumer_groups([name])[name].result(20)
            committed = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(20)
            commits = sorted((at.topic, at.partition, at.offset) for at in committed.topic_partitions)
            found[name] = (group.state, sorted(member.member_id for member in described.members), commits)
        topics = self.admin.list_topics(timeout=20).topics
        asked = {TopicPartition(topic, n): OffsetSpec.latest() for topic in topics for n in topics[topic].partitions}
        ends = {(at.topic, at.partition): end.result(20).offset for at, end in self.admin.list_offsets(asked).items()}
        return found, ends

    def by_the_tool(self, group: str) -> dict[tuple[str, str], tuple[int | None, int | None, int | None]]:
        """(topic, partition) → committed, end and lag, as Kafka's own command prints them; None where it prints `-`."""
        found = {}
        for line in self.server.groups_as_the_tool_tells().splitlines():
            words = line.split()
            if len(words) > 5 and words[0] == group:
                committed, end, lag = (None if word == "-" else int(word) for word in words[3:6])
                found[words[1], words[2]] = committed, end, lag
        return found


def lags(seen: Recorder, group: str) -> dict[tuple[str, str], LagSample]:
    """The newest sample of each of a group's partitions."""
    found = {}
    for sample in seen.of(LagSample):
        if sample.group == group:
            found[sample.destination, sample.partition or ""] = sample
    return found


def numbers(seen: Recorder, group: str) -> dict[tuple[str, str], tuple[int | None, int | None, int | None]]:
    """In the tool's terms."""
    return {at: (s.settled_total, s.published_total, s.ready) for at, s in lags(seen, group).items()}
