"""A few moves of an application on Redis Streams, as tests need them, by the client that applications use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from tests.redis_rabbitmq import RedisServer

LETTER_FIELDS = {
    "correlation-id": "order-1",
    "ce-id": "event-1",
    "ce-type": "orders.placed",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-original-subject": "orders.placed",
    "x-original-consumer": "payment",
    "x-exception-type": "shop.payment.GiftCardError",
    "x-exception-message": "gift card 7 has no balance",
    "x-attempts": "4",
    "x-failed-at": "2026-11-25T15:00:07.5Z",
}


@asynccontextmanager
async def connection(server: RedisServer, **options: Any) -> AsyncIterator[Redis]:
    client = Redis(host="127.0.0.1", port=server.port, **options)
    try:
        yield client
    finally:
        await client.aclose()


async def publish(client: Redis, stream: str, count: int, **options: Any) -> list[bytes]:
    return [await client.xadd(stream, {"payload": b"%d" % number}, **options) for number in range(count)]


async def read(client: Redis, stream: str, group: str, count: int) -> list[bytes]:
    """The ids that the group got now, not acknowledged."""
    found = await client.xreadgroup(group, "one", {stream: ">"}, count=count)
    return [entry_id for _, entries in found for entry_id, _ in entries]
