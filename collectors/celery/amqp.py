"""All talk with the RabbitMQ that Celery uses as its broker: how long queues are, and hearing what workers publish.

Promises: queues are asked for passively; of the vhost nothing is changed but for one queue of our own beside the event
exchange, exclusive, bounded and gone with our connection. No message or log line holds credentials.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from collectors.base import CollectorError
from collectors.celery.address import Address
from collectors.celery.parse import NotAllowedError, Seen
from collectors.closing import cancelled_once, closed

try:
    import aio_pika
    from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
    from aiormq.exceptions import ChannelAccessRefused
except ImportError:  # the extra `rabbitmq` was not installed: said at first use
    aio_pika = None  # type: ignore[assignment]  # checked before use

ANSWER_SECONDS = 10.0
EVENTS = "celeryev"
QUIET_SECONDS = 5.0
"""Between two looks whether there are events at all yet."""
BOUNDS = {"x-max-length": 20_000, "x-message-ttl": 60_000}
T = TypeVar("T")

# They warn of lost connections with their URL.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)


class AmqpClient:
    """One vhost. `calls` and `received_bytes` count what we cost it."""

    usual: tuple[str, ...] = ("celery",)
    """Queues to look at besides those found: AMQP lists none."""
    events_right = "configure, write and read on queues celeryev\\.eventflow.* and read on the exchange celeryev"

    def __init__(self, url: str, name: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self.received_bytes = 0
        self._name = name
        self._connection: Any = None
        self._channel: Any = None

    async def connect(self) -> None:
        """Connect once. Raises CollectorError; permanent when the server knows us not."""
        if aio_pika is None:
            raise CollectorError(
                "Celery on RabbitMQ needs aio-pika: run pip install 'eventflow[rabbitmq]'", permanent=True
            )
        where = self.address
        who = f"{quote(where.user or 'guest', safe='')}:{quote(where.password or 'guest', safe='')}"
        url = f"{'amqps' if where.tls else 'amqp'}://{who}@{where.shown}/{quote(where.vhost, safe='')}"
        try:
            trusted = ssl.create_default_context(cafile=where.ca_file) if where.tls else None
            async with asyncio.timeout(ANSWER_SECONDS):
                self._connection = await aio_pika.connect(
                    url, client_properties={"connection_name": f"eventflow {self._name}"}, ssl_context=trusted
                )
        except (AMQPError, OSError, TimeoutError) as error:
            if "ACCESS_REFUSED" in str(error):
                raise CollectorError(
                    f"RabbitMQ at {where.shown} refuses our credentials: correct user and password in the URL",
                    permanent=True,
                ) from None
            raise CollectorError(f"no connection with RabbitMQ at {where.shown}: {type(error).__name__}") from None

    async def close(self) -> None:
        """Give the connection back; never raises, never waits long."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await closed(connection.close())

    async def _ask(self, call: Awaitable[T]) -> T:
        self.calls += 1
        where = self.address.shown
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await cancelled_once(call)
        except ChannelNotFoundEntity:
            raise
        except ChannelAccessRefused as refusal:
            raise NotAllowedError(f"RabbitMQ at {where} says: {str(refusal)[:200]}") from None
        except TimeoutError:
            raise CollectorError(f"RabbitMQ at {where} gave no answer in {ANSWER_SECONDS:.0f} s") from None
        except (AMQPError, OSError, RuntimeError) as error:
            raise CollectorError(f"RabbitMQ at {where} was lost: {type(error).__name__}") from None

    async def bindings(self) -> dict[tuple[str, str], str]:
        """AMQP lists no queues."""
        return {}

    async def look(self, queues: Sequence[str], bindings: Mapping[tuple[str, str], str]) -> Seen:
        """How many tasks wait in each queue that is there, and how many workers consume it."""
        ready: dict[str, int] = {}
        members: dict[str, int] = {}
        for queue in queues:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self._ask(self._connection.channel())
            try:
                found = await self._ask(self._channel.declare_queue(queue, passive=True))
            except ChannelNotFoundEntity:
                continue  # the broker closed the channel for it
            ready[queue] = int(found.declaration_result.message_count or 0)
            members[queue] = int(found.declaration_result.consumer_count or 0)
        return Seen(ready, members=members)

    async def listen(self, heard: Callable[[bytes], None], ready: asyncio.Event) -> None:
        """Hear events until cancelled or lost. Waits for the exchange, which the first worker makes."""
        while True:
            channel = await self._ask(self._connection.channel())
            try:
                exchange = await self._ask(channel.get_exchange(EVENTS, ensure=True))
                break
            except ChannelNotFoundEntity:
                await asyncio.sleep(QUIET_SECONDS)
        queue = await self._ask(
            channel.declare_queue(
                f"celeryev.eventflow-{uuid4().hex}", exclusive=True, auto_delete=True, arguments=BOUNDS
            )
        )
        await self._ask(queue.bind(exchange, "#"))

        async def take(message: Any) -> None:
            self.received_bytes += len(message.body)
            heard(message.body)

        await self._ask(queue.consume(take, no_ack=True))
        ready.set()
        await channel.closed()
        raise CollectorError(f"RabbitMQ at {self.address.shown} closed the connection")
