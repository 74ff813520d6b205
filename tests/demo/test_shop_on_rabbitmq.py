"""The shop on a real RabbitMQ: the same orders and faults as on NATS, judged by its queues."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from demo.processes import DemoError, Shop
from demo.shop import brokers, faults
from demo.shop.broker import Broker
from demo.shop.contract import GROUPS
from tests import required
from tests.demo.conftest import HEARD_SECONDS, Sink, until
from tests.demo.test_shop import honoured, new_order, place

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"), sink.url, rate=0.01, story=False, broker="rabbitmq")
    try:
        shop.start()
    except DemoError as error:
        required.missing("rabbitmq", str(error))
    yield shop
    shop.stop()


@pytest.fixture
async def broker(shop: Shop) -> AsyncIterator[Broker]:
    broker = await brokers.connect(shop.url, "test", patient=False)
    yield broker
    for fault in faults.FAULTS:
        await faults.switch(broker, fault, False)
    await broker.close()


@pytest.fixture
async def channel(shop: Shop) -> AsyncIterator[AbstractChannel]:
    port = parse_qs(urlsplit(shop.url).query)["amqp"][0]
    async with await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/") as connection:
        yield await connection.channel()


async def waiting(channel: AbstractChannel, queue: str) -> int:
    return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count or 0


async def test_an_order_is_paid_reserved_confirmed_shipped_and_written_about(broker: Broker, sink: Sink) -> None:
    order = new_order(accept=honoured)
    await place(broker, order)
    expected = set(GROUPS) - {"inventory-release", "order-releases"}

    def groups() -> set[str]:
        return {span.group for span in sink.of(order.correlation_id)} - {""}

    assert await until(lambda: groups() == expected, 60), expected - groups()
    [paying] = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
    assert paying.attributes["messaging.system"] == "rabbitmq"


async def test_a_gift_card_order_dead_letters_after_four_attempts_and_its_replay_succeeds(
    broker: Broker, sink: Sink, channel: AbstractChannel
) -> None:
    await faults.switch(broker, "gift-card", True)
    await asyncio.sleep(HEARD_SECONDS)
    order = new_order("gift-card")
    await place(broker, order)
    letters = await channel.get_queue("dlq.payment")
    letter = None
    for _ in range(150):
        if (letter := await letters.get(no_ack=True, fail=False)) is not None:
            break
        await asyncio.sleep(0.2)
    assert letter is not None
    assert (letter.body, letter.headers["x-attempts"]) == (order.body(), "4")
    assert letter.headers["x-original-consumer"] == "payment"

    def attempts() -> list[int]:
        spans = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
        return [span.attributes["messaging.message.delivery_attempt"] for span in spans]

    assert await until(lambda: attempts() == [1, 2, 3, 4]), attempts()
    await faults.switch(broker, "gift-card", False)
    await asyncio.sleep(HEARD_SECONDS)
    token = str(uuid4())
    kept = {name: value for name, value in letter.headers.items() if not name.startswith("x-")}
    again = aio_pika.Message(letter.body, headers=kept, message_id=token)
    await channel.default_exchange.publish(again, routing_key="payment")

    def replayed() -> set[str]:
        return {span.group for span in sink.spans if span.attributes.get("messaging.message.id") == token}

    assert await until(lambda: replayed() == {"payment"}, 30)
    assert await until(lambda: any(s.name == "send orders.confirmed" for s in sink.of(order.correlation_id)), 30)


async def test_a_stopped_consumer_takes_no_more_until_it_is_started_again(
    broker: Broker, channel: AbstractChannel
) -> None:
    await faults.switch(broker, "stopped-consumer", True)
    await asyncio.sleep(HEARD_SECONDS)
    for _ in range(24):
        await place(broker, new_order(accept=honoured))
    for _ in range(150):
        if (left := await waiting(channel, "shipping")) >= 5:
            break
        await asyncio.sleep(0.2)
    assert left >= 5
    await faults.switch(broker, "stopped-consumer", False)
    for _ in range(150):
        if not (left := await waiting(channel, "shipping")):
            break
        await asyncio.sleep(0.2)
    assert left == 0


async def test_the_story_does_not_touch_what_a_person_has_touched(broker: Broker) -> None:
    await faults.switch(broker, "gift-card", False)
    assert not await faults.switch(broker, "gift-card", True, by=faults.STORY)
    assert not (await faults.current(broker)).on("gift-card")
