"""Sending back to a broker leaves nothing open, at whichever of its awaits it is cancelled."""

import asyncio
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from collectors.base import Outgoing, Replayer
from collectors.kafka import replayer as kafka_replayer
from collectors.nats import replayer as nats_replayer
from collectors.rabbitmq import collector as rabbitmq_collector
from collectors.rabbitmq import replayer as rabbitmq_replayer
from collectors.redis_streams import replayer as redis_replayer
from collectors.sqs import replayer as sqs_replayer
from tests.collectors.kafka.shop import Shop as KafkaShop
from tests.collectors.leaks import cancelled_at, nothing_left_open
from tests.collectors.nats.shop import connection as nats_connection
from tests.collectors.rabbitmq.shop import Vhost, publish
from tests.collectors.recorder import Recorder
from tests.collectors.redis_streams import shop as redis_shop
from tests.collectors.sqs.shop import Shop as SqsShop
from tests.redis_rabbitmq import RabbitMqServer, RedisServer
from tests.services import KafkaServer, SqsServer


async def sent_and_closed(replayer: Replayer, destination: str) -> None:
    try:
        await replayer.receivers(destination, None)
        await replayer.send(Outgoing(destination, None, (("a", "b"),), b"order 7", "token"))
    finally:
        await replayer.close()


async def leaves_nothing_open(make: Callable[[], Replayer], destination: str) -> None:
    step, reached = 0, True
    while reached and step < 30:
        step += 1
        with nothing_left_open():
            reached = await cancelled_at(sent_and_closed(make(), destination), step, step + 2)
            await asyncio.sleep(0.01)
    assert step > 3


@pytest.mark.kafka
async def test_kafka(kafka_server: KafkaServer) -> None:
    await leaves_nothing_open(lambda: kafka_replayer("shop", kafka_server.url), KafkaShop(kafka_server).topic("orders"))


@pytest.mark.nats
async def test_nats(nats_server: str) -> None:
    async with nats_connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
    await leaves_nothing_open(lambda: nats_replayer("shop", nats_server), "orders.placed")


@pytest.mark.redis
async def test_redis_streams(redis_process: Callable[..., RedisServer]) -> None:
    server = redis_process()
    async with redis_shop.connection(server) as client:
        await redis_shop.publish(client, "orders.placed", 1)
    await leaves_nothing_open(lambda: redis_replayer("shop", server.url), "orders.placed")


async def test_sqs(sqs_server: SqsServer) -> None:
    await asyncio.to_thread(SqsShop(sqs_server).queue, "orders")
    await leaves_nothing_open(lambda: sqs_replayer("shop", sqs_server.url), "orders")


@pytest.fixture
def vhost(rabbitmq_process: RabbitMqServer) -> Iterator[Vhost]:
    with Vhost(rabbitmq_process, f"test-{uuid4().hex[:10]}") as made:
        yield made


def amqp_url(vhost: Vhost) -> str:
    return f"{vhost.url}?amqp={vhost.server.port}"


@pytest.mark.rabbitmq
async def test_rabbitmq(vhost: Vhost) -> None:
    vhost.queue("payment")
    await leaves_nothing_open(lambda: rabbitmq_replayer("shop", amqp_url(vhost)), "payment")


@pytest.mark.rabbitmq
async def test_rabbitmq_whose_letters_are_being_taken(vhost: Vhost) -> None:
    vhost.exchange("dlx", "direct")
    vhost.queue("payment", dead_letter_exchange="dlx")
    vhost.queue("payment.dlq")
    async with vhost.channel() as channel:
        await publish(channel, "payment.dlq", 1)
    for step in range(1, 25):
        with nothing_left_open():
            taking = rabbitmq_collector("shop", f"{amqp_url(vhost)}&take=payment.dlq", 0.1)
            assert await cancelled_at(taking.run(Recorder()), step, step + 2)
            await asyncio.sleep(0.01)
