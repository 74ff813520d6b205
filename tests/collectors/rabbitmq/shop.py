"""A vhost of a test's own, and a few moves of an application in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from tests.redis_rabbitmq import RabbitMqServer


class Vhost:
    """Everything is undone with the vhost."""

    def __init__(self, server: RabbitMqServer, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)
        self._api = httpx.Client(
            base_url=f"http://127.0.0.1:{server.management}/api", auth=("guest", "guest"), trust_env=False, timeout=30
        )

    @classmethod
    def fresh(cls, server: RabbitMqServer) -> "Vhost":
        """One that nobody else uses."""
        return cls(server, f"test-{uuid4().hex[:10]}")

    def __enter__(self) -> "Vhost":
        self.put(f"vhosts/{self.name}")
        return self

    def __exit__(self, *_: object) -> None:
        self._api.delete(f"vhosts/{self.name}")
        self._api.close()

    def put(self, path: str, body: dict[str, Any] | None = None) -> None:
        self._api.put(path, json=body or {}).raise_for_status()

    def delete(self, path: str) -> None:
        self._api.delete(path).raise_for_status()

    def get(self, path: str) -> Any:
        return self._api.get(path).raise_for_status().json()

    def queue(self, name: str, **arguments: Any) -> None:
        named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
        self.put(f"queues/{self.name}/{name}", {"durable": True, "arguments": named})

    def exchange(self, name: str, kind: str, **arguments: Any) -> None:
        self.put(f"exchanges/{self.name}/{name}", {"type": kind, "durable": True, "arguments": arguments})

    def bind(self, exchange: str, queue: str, key: str = "") -> None:
        self._api.post(f"bindings/{self.name}/e/{exchange}/q/{queue}", json={"routing_key": key}).raise_for_status()

    @asynccontextmanager
    async def channel(self, name: str | None = None) -> AsyncIterator[AbstractChannel]:
        """On a connection of its own, which bears `name`."""
        named = {"client_properties": {"connection_name": name}} if name else {}
        async with await aio_pika.connect(self.server.amqp(self.name), **named) as connection:
            yield await connection.channel()


async def publish(channel: AbstractChannel, key: str, count: int, exchange: str = "", **properties: Any) -> None:
    to = await channel.get_exchange(exchange) if exchange else channel.default_exchange
    for number in range(count):
        await to.publish(aio_pika.Message(b"%d" % number, **properties), routing_key=key)


async def take(channel: AbstractChannel, queue: str, count: int) -> list[AbstractIncomingMessage]:
    """Messages that are out and not settled, to a consumer that asks for no more than `count`."""
    await channel.set_qos(prefetch_count=count)
    found: list[AbstractIncomingMessage] = []
    async with (await channel.get_queue(queue)).iterator(no_ack=False) as messages:
        async for message in messages:
            found.append(message)
            if len(found) == count:
                return found
    return found
