"""Sending back into real topics: key, partition, headers; and what is said when it can't be."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from collectors.base import CollectorError, Outgoing
from collectors.kafka import KafkaReplayer, replayer
from tests.collectors.kafka.shop import Shop, unique
from tests.services import free_port

pytestmark = pytest.mark.kafka


@pytest.fixture
async def back(shop: Shop) -> AsyncIterator[KafkaReplayer]:
    found = replayer("shop", shop.server.url)
    yield found
    await found.close()


def message(topic: str, *, key: str | None = "customer-7", partition: str | None = None) -> Outgoing:
    headers = (("correlation-id", "order-1"), ("binary", "base64:AAAAAg=="), ("Eventflow-Replay", "token-1"))
    return Outgoing(topic, "payment", headers, b"{}", "token-1", key, partition)


def stored(shop: Shop, position: str) -> Message:
    topic, partition, offset = position.rsplit(":", 2)
    consumer = Consumer({**shop.where, "group.id": unique("judge"), "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, int(partition), int(offset))])
        found = consumer.poll(20)
        assert found is not None
        return found
    finally:
        consumer.close()


async def test_key_headers_and_token_arrive_as_they_were(shop: Shop, back: KafkaReplayer) -> None:
    topic = shop.topic("orders", 3)
    found = stored(shop, await back.send(message(topic)))
    assert (found.key(), found.value()) == (b"customer-7", b"{}")
    assert found.headers() == [
        ("correlation-id", b"order-1"),
        ("binary", b"\0\0\0\2"),
        ("Eventflow-Replay", b"token-1"),
    ]


async def test_a_partition_the_letter_told_is_kept_while_it_exists(shop: Shop, back: KafkaReplayer) -> None:
    topic = shop.topic("orders", 3)
    assert (await back.send(message(topic, partition="2"))).startswith(f"{topic}:2:")
    by_key = {(await back.send(message(topic, partition=told))).rsplit(":", 2)[1] for told in (None, "3", "x")}
    assert len(by_key) == 1


async def test_every_group_that_reads_the_topic_is_told(shop: Shop, back: KafkaReplayer) -> None:
    topic, payment, audit = shop.topic("orders"), unique("payment"), unique("audit")
    shop.publish(topic)
    shop.commit(payment, topic, 1)
    assert (await back.receivers(topic, payment)).exact
    shop.commit(audit, topic, 0)
    found = await back.receivers(topic, payment)
    assert (found.groups, found.exact) == (tuple(sorted((payment, audit))), False)


async def test_a_topic_that_is_not_there_is_refused_for_good(back: KafkaReplayer) -> None:
    with pytest.raises(CollectorError, match="nothing was sent") as refused:
        await back.send(message(unique("nowhere")))
    assert refused.value.permanent
    assert not refused.value.reached


async def test_a_message_larger_than_the_topic_takes_is_refused_for_good(shop: Shop, back: KafkaReplayer) -> None:
    topic = shop.topic("orders", config={"max.message.bytes": "1000"})
    with pytest.raises(CollectorError) as refused:
        await back.send(Outgoing(topic, None, (), b"x" * 5000, "token-1"))
    assert refused.value.permanent


async def test_a_cluster_that_is_away_was_not_reached() -> None:
    away = replayer("shop", f"kafka://127.0.0.1:{free_port()}")
    with pytest.raises(CollectorError, match="nothing was sent") as refused:
        await away.send(message("orders"))
    assert (refused.value.permanent, refused.value.reached) == (False, False)
    await asyncio.wait_for(away.close(), 5)
