"""The shop on a real Kafka: the same orders and faults as on NATS, judged by the topics and by committed offsets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from demo.processes import DemoError, Shop, running_url
from demo.shop import brokers, checkout, faults
from demo.shop.broker import Broker
from demo.shop.contract import GROUPS
from demo.shop.service import Context
from tests import required
from tests.demo.conftest import HEARD_SECONDS, Sink, until
from tests.demo.test_shop import OF_ORDERS_PLACED, honoured, new_order, place

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"), sink.url, rate=0.01, story=False, broker="kafka")
    try:
        shop.start()
    except DemoError as error:
        required.missing("kafka", str(error))
    yield shop
    shop.stop()


@pytest.fixture
async def broker(shop: Shop) -> AsyncIterator[Broker]:
    broker = await brokers.connect(shop.url, "test", patient=False)
    yield broker
    for fault in faults.FAULTS:
        await faults.switch(broker, fault, False)
    await broker.close()


SwitchOn = Callable[[str], Awaitable[None]]


class Judge:
    """Reads topics by assignment and offsets by the admin interface: leaves no group behind."""

    def __init__(self, shop: Shop) -> None:
        self.where: dict[str, Any] = {"bootstrap.servers": shop.url.removeprefix("kafka://"), "log_level": 0}
        self.admin = AdminClient(self.where)

    def records(self, topic: str) -> list[Message]:
        partitions = self.admin.list_topics(topic, 10).topics[topic].partitions
        found: list[Message] = []
        for number in partitions:
            reader = Consumer({**self.where, "group.id": "judge", "enable.auto.commit": False})
            reader.assign([TopicPartition(topic, number, 0)])
            end = reader.get_watermark_offsets(TopicPartition(topic, number), 10)[1]
            while end and (message := reader.poll(10)) is not None:
                found.append(message)
                if (message.offset() or 0) + 1 >= end:
                    break
            reader.close()
        return found

    def letters(self, topic: str, group: str, correlation_id: str) -> list[tuple[dict[str, str], bytes]]:
        pairs = [({n: v.decode() for n, v in m.headers() or ()}, m.value() or b"") for m in self.records(topic)]
        wanted = [(headers, body) for headers, body in pairs if headers.get("correlation-id") == correlation_id]
        return [(headers, body) for headers, body in wanted if headers["x-original-consumer"] == group]

    def waiting(self, group: str) -> int:
        topic = GROUPS[group].subject
        numbers = list(self.admin.list_topics(topic, 10).topics[topic].partitions)
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in numbers])
        committed = self.admin.list_consumer_group_offsets([asked])[group].result(10).topic_partitions
        done = {at.partition: max(at.offset, 0) for at in committed}
        ends = self.admin.list_offsets({TopicPartition(topic, number): OffsetSpec.latest() for number in numbers})
        return sum(end.result(10).offset - done.get(place.partition, 0) for place, end in ends.items())


@pytest.fixture
def judge(shop: Shop) -> Judge:
    return Judge(shop)


@pytest.fixture
def switch_on(broker: Broker) -> SwitchOn:
    async def switch_on(fault: str) -> None:
        await faults.switch(broker, fault, True)
        await asyncio.sleep(HEARD_SECONDS)

    return switch_on


async def becomes(look: Callable[[], Any], right: Callable[[Any], bool] = bool, seconds: float = 40) -> Any:
    """What `look` says once it is right; its last word when time is up."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await asyncio.to_thread(look)
        if right(found) or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(0.2)


async def test_an_order_is_paid_reserved_confirmed_shipped_and_written_about(broker: Broker, sink: Sink) -> None:
    order = new_order(accept=honoured)
    await place(broker, order)
    expected = set(GROUPS) - {"inventory-release", "order-releases"}

    def groups() -> set[str]:
        return {span.group for span in sink.of(order.correlation_id)} - {""}

    assert await until(lambda: groups() == expected, 60), expected - groups()
    [paying] = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
    assert paying.attributes["messaging.system"] == "kafka"
    assert paying.attributes["messaging.destination.partition.id"] in {"0", "1", "2"}


async def test_a_gift_card_order_dead_letters_after_four_attempts_and_its_replay_succeeds(
    broker: Broker, sink: Sink, judge: Judge, switch_on: SwitchOn
) -> None:
    await switch_on("gift-card")
    order = new_order("gift-card")
    await place(broker, order)
    [(headers, body)] = await becomes(lambda: judge.letters("orders.placed.dlq", "payment", order.correlation_id))
    assert body == order.body()
    assert (headers["x-attempts"], headers["x-original-stream"]) == ("4", "orders.placed")
    assert headers["x-original-partition"] in {"0", "1", "2"}
    assert headers["x-exception-type"] == "demo.shop.giftcards.GiftCardBalanceError"

    def attempts() -> list[int]:
        spans = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
        return [span.attributes["messaging.message.delivery_attempt"] for span in spans]

    assert await until(lambda: attempts() == [1, 2, 3, 4]), attempts()

    await faults.switch(broker, "gift-card", False)
    await asyncio.sleep(HEARD_SECONDS)
    token = str(uuid4())
    kept = {name: value for name, value in headers.items() if not name.startswith("x-")}
    await broker.publish("orders.placed", body, {**kept, "message-id": token})

    def replayed() -> set[str]:
        return {span.group for span in sink.spans if span.attributes.get("messaging.message.id") == token}

    assert await until(lambda: replayed() == OF_ORDERS_PLACED, 30)
    assert await until(lambda: any(s.name == "send orders.confirmed" for s in sink.of(order.correlation_id)), 30)


async def test_the_commit_waits_for_a_message_that_is_tried_again_and_then_goes_on(
    broker: Broker, judge: Judge, switch_on: SwitchOn
) -> None:
    assert await becomes(lambda: judge.waiting("payment"), lambda count: count == 0) == 0
    await switch_on("gift-card")
    await place(broker, new_order("gift-card"))
    assert await becomes(lambda: judge.waiting("payment"), lambda count: count == 1, 10) == 1
    assert await becomes(lambda: judge.waiting("payment"), lambda count: count == 0) == 0


async def test_a_poison_message_is_given_up_at_once_by_one_group(
    broker: Broker, judge: Judge, switch_on: SwitchOn
) -> None:
    await switch_on("poison")
    order = new_order()
    await place(broker, order, encoding="utf-16")
    [(headers, body)] = await becomes(lambda: judge.letters("orders.placed.dlq", "fraud-check", order.correlation_id))
    assert (headers["x-attempts"], headers["x-exception-type"]) == ("1", "demo.shop.events.UndecodableError")
    assert body == order.body().decode().encode("utf-16")


async def test_a_duplicate_is_published_twice_and_skipped(broker: Broker, sink: Sink, switch_on: SwitchOn) -> None:
    await switch_on("duplicate")
    state = await faults.current(broker)
    for _ in range(9):
        await checkout.place(checkout.new_order(), Context("checkout", broker, state))

    def skips() -> list[Any]:
        skipped = "skipped: this event was handled before"
        return [span for span in sink.spans if span.group == "inventory" and skipped in span.events]

    assert await until(skips, 30)


async def test_a_stopped_consumer_reads_nothing_until_it_is_started_again(
    broker: Broker, judge: Judge, switch_on: SwitchOn
) -> None:
    await switch_on("stopped-consumer")
    for _ in range(6):
        await place(broker, new_order(accept=honoured))
    # A read that was already under way may still take one message.
    assert await becomes(lambda: judge.waiting("shipping"), lambda count: count >= 5) >= 5
    await faults.switch(broker, "stopped-consumer", False)
    assert await becomes(lambda: judge.waiting("shipping"), lambda count: count == 0) == 0


async def test_a_slow_consumer_falls_behind_and_catches_up(broker: Broker, judge: Judge, switch_on: SwitchOn) -> None:
    await switch_on("slow-consumer")
    for _ in range(20):
        await place(broker, new_order(accept=honoured))
    assert await becomes(lambda: judge.waiting("email"), lambda count: count > 10) > 10
    await faults.switch(broker, "slow-consumer", False)
    assert await becomes(lambda: judge.waiting("email"), lambda count: count == 0) == 0


async def test_the_story_does_not_touch_what_a_person_has_touched(broker: Broker) -> None:
    await faults.switch(broker, "gift-card", False)
    assert not await faults.switch(broker, "gift-card", True, by=faults.STORY)
    assert not (await faults.current(broker)).on("gift-card")


def test_it_is_known_to_run_by_its_folder(shop: Shop) -> None:
    assert running_url(shop.folder) == shop.url


def test_without_java_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="Java 17"):
        Shop(tmp_path, "http://127.0.0.1:9", broker="kafka").start()
