"""The shop on a real Kafka, judged by its topics and by committed offsets."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from demo.processes import DemoError, Shop
from demo.shop.broker import Broker
from demo.shop.contract import GROUPS
from tests.demo.conftest import Sink
from tests.demo.on_a_broker import OF_ORDERS_PLACED, Letter, ShopOnABroker, SwitchOn, becomes, running
from tests.demo.test_shop import new_order, place

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Shop]:
    shop = running(tmp_path_factory.mktemp("shop"), sink, "kafka")
    yield shop
    shop.stop()


class KafkaJudge:
    """Reads topics by assignment and offsets by the admin interface: leaves no group behind."""

    def __init__(self, shop: Shop) -> None:
        self.where: dict[str, Any] = {"bootstrap.servers": shop.url.removeprefix("kafka://"), "log_level": 0}
        self.admin = AdminClient(self.where)

    def _records(self, topic: str) -> list[Message]:
        found: list[Message] = []
        for number in self.admin.list_topics(topic, 10).topics[topic].partitions:
            reader = Consumer({**self.where, "group.id": "judge", "enable.auto.commit": False})
            reader.assign([TopicPartition(topic, number, 0)])
            end = reader.get_watermark_offsets(TopicPartition(topic, number), 10)[1]
            while end and (message := reader.poll(10)) is not None:
                found.append(message)
                if (message.offset() or 0) + 1 >= end:
                    break
            reader.close()
        return found

    async def letters(self, group: str, correlation_id: str) -> list[Letter]:
        records = await asyncio.to_thread(self._records, f"{GROUPS[group].subject}.dlq")
        pairs = [({n: v.decode() for n, v in m.headers() or ()}, m.value() or b"") for m in records]
        wanted = [(headers, body) for headers, body in pairs if headers.get("correlation-id") == correlation_id]
        return [(headers, body) for headers, body in wanted if headers["x-original-consumer"] == group]

    async def waiting(self, group: str) -> int:
        return await asyncio.to_thread(self._waiting, group)

    def _waiting(self, group: str) -> int:
        topic = GROUPS[group].subject
        numbers = list(self.admin.list_topics(topic, 10).topics[topic].partitions)
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in numbers])
        committed = self.admin.list_consumer_group_offsets([asked])[group].result(10).topic_partitions
        done = {at.partition: max(at.offset, 0) for at in committed}
        ends = self.admin.list_offsets({TopicPartition(topic, number): OffsetSpec.latest() for number in numbers})
        return sum(end.result(10).offset - done.get(place.partition, 0) for place, end in ends.items())

    async def replay(self, broker: Broker, headers: dict[str, str], body: bytes) -> set[str]:
        await broker.publish("orders.placed", body, headers)
        return OF_ORDERS_PLACED


@pytest.fixture
def judge(shop: Shop) -> KafkaJudge:
    return KafkaJudge(shop)


class TestShopOnKafka(ShopOnABroker):
    system = "kafka"

    async def test_the_commit_waits_for_a_message_that_is_tried_again_and_then_goes_on(
        self, broker: Broker, judge: KafkaJudge, switch_on: SwitchOn
    ) -> None:
        assert await becomes(lambda: judge.waiting("payment"), lambda count: count == 0) == 0
        await switch_on("gift-card")
        order = new_order("gift-card")
        await place(broker, order)
        assert await becomes(lambda: judge.waiting("payment"), lambda count: count == 1) == 1
        assert await becomes(lambda: judge.waiting("payment"), lambda count: count == 0) == 0
        [(headers, _)] = await judge.letters("payment", order.correlation_id)
        assert headers["x-original-stream"] == "orders.placed"
        assert headers["x-original-partition"] in {"0", "1", "2"}


def test_without_java_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="Java 17"):
        Shop(tmp_path, "http://127.0.0.1:9", broker="kafka").start()
