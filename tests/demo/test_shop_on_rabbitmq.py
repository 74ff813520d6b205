"""The shop on a real RabbitMQ, judged by its queues."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qs, urlsplit

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from demo.processes import Shop
from demo.shop.broker import Broker
from tests.demo.conftest import Sink
from tests.demo.on_a_broker import Letter, ShopOnABroker, running

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Shop]:
    shop = running(tmp_path_factory.mktemp("shop"), sink, "rabbitmq")
    yield shop
    shop.stop()


class RabbitMqJudge:
    """Takes letters out: a queue can't be read otherwise. It keeps those that it was not asked for."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._taken: dict[str, list[Letter]] = {}

    async def letters(self, group: str, correlation_id: str) -> list[Letter]:
        taken = self._taken.setdefault(group, [])
        queue = await self._channel.get_queue(f"dlq.{group}")
        while (letter := await queue.get(no_ack=True, fail=False)) is not None:
            taken.append(({name: str(value) for name, value in letter.headers.items()}, letter.body))
        return [(headers, body) for headers, body in taken if headers.get("correlation-id") == correlation_id]

    async def waiting(self, group: str) -> int:
        """Ready ones: what a consumer holds is not told here."""
        queue = await self._channel.declare_queue(group, passive=True)
        return queue.declaration_result.message_count or 0

    async def replay(self, broker: Broker, headers: dict[str, str], body: bytes) -> set[str]:
        """Into the one queue that failed."""
        message = aio_pika.Message(body, headers=headers, message_id=headers["message-id"])
        await self._channel.default_exchange.publish(message, routing_key="payment")
        return {"payment"}


@pytest.fixture
async def judge(shop: Shop) -> AsyncIterator[RabbitMqJudge]:
    port = parse_qs(urlsplit(shop.url).query)["amqp"][0]
    async with await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/") as connection:
        yield RabbitMqJudge(await connection.channel())


class TestShopOnRabbitMq(ShopOnABroker):
    system = "rabbitmq"
