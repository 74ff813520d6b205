"""The shop's broker on RabbitMQ: one topic exchange, a queue per group, dead letters in `dlq.<group>`.

A message to be tried again stays with this process until its pause is over; when the process dies, the broker gives it
to the next one. Switches are messages of a stream, which every service reads from its beginning.
"""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aio_pika
from aio_pika.exceptions import AMQPError

from demo.shop.broker import BrokerError, Delivery
from demo.shop.contract import GROUPS, Group, dead_letter_subject
from demo.shop.events import MESSAGE_ID

EXCHANGE = "shop"
SWITCHES = "shop_faults"
# As many as wait for another try at most times; what lies with a stopped service waits for nobody else.
PREFETCH = 16
# A demo that is left alone for days must not fill the disk.
KEPT_MESSAGES = 100_000
LOOK_SECONDS = 0.25
QUIET_SECONDS = 0.5


async def connect(url: str, name: str, *, patient: bool = True) -> "RabbitMqBroker":
    """Wait for RabbitMQ for ever if `patient`, else say within a few seconds that it is not there."""
    parts = urlsplit(url)
    port = parse_qs(parts.query).get("amqp", ["5672"])[0]
    who = f"{parts.username or 'guest'}:{parts.password or 'guest'}"
    where = f"amqp://{who}@{parts.hostname}:{port}/"
    while True:
        try:
            async with asyncio.timeout(5):
                connection = await (aio_pika.connect_robust if patient else aio_pika.connect)(where)
                return RabbitMqBroker(connection, await connection.channel())
        except (AMQPError, OSError, TimeoutError) as error:
            if not patient:
                raise BrokerError(f"RabbitMQ does not answer at {parts.hostname}:{port}") from error
            await asyncio.sleep(0.5)


class RabbitMqBroker:
    system = "rabbitmq"

    def __init__(self, connection: Any, channel: Any) -> None:
        self._connection = connection
        self._channel = channel
        self._fresh: dict[str, asyncio.Queue[Any]] = {}
        self._later: dict[str, list[tuple[float, int, Delivery]]] = {}
        self._turn = itertools.count()

    def dead_letters_of(self, delivery: Delivery, group: str) -> str:
        return dead_letter_subject(group)

    async def declare(self) -> None:
        limit = {"x-max-length": KEPT_MESSAGES}
        exchange = await _asked(self._channel.declare_exchange(EXCHANGE, "topic", durable=True))
        for group in GROUPS.values():
            letters = dead_letter_subject(group.name)
            await _asked(self._channel.declare_queue(letters, durable=True, arguments=limit))
            # What a service does not get done in the broker's own patience is dead too: nothing vanishes.
            route = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": letters}
            queue = await _asked(self._channel.declare_queue(group.name, durable=True, arguments=limit | route))
            await _asked(queue.bind(exchange, group.subject.replace(">", "#")))
        await _asked(self._channel.declare_queue(SWITCHES, durable=True, arguments={"x-queue-type": "stream"}))

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        rest = {name: value for name, value in headers.items() if name != MESSAGE_ID}
        message = aio_pika.Message(body, headers=dict(rest), message_id=headers.get(MESSAGE_ID), delivery_mode=2)
        if subject in self._dead_letters():
            await _asked(self._channel.default_exchange.publish(message, routing_key=subject))
        else:
            exchange = await _asked(self._channel.get_exchange(EXCHANGE, ensure=False))
            await _asked(exchange.publish(message, routing_key=subject, mandatory=False))

    @staticmethod
    def _dead_letters() -> set[str]:
        return {dead_letter_subject(group) for group in GROUPS}

    async def next(self, group: Group, wait_seconds: float) -> Delivery | None:
        if group.name not in self._fresh:
            waiting: asyncio.Queue[Any] = asyncio.Queue()
            self._fresh[group.name] = waiting
            channel = await _asked(self._connection.channel())
            await _asked(channel.set_qos(prefetch_count=PREFETCH))
            queue = await _asked(channel.get_queue(group.name, ensure=False))
            await _asked(queue.consume(waiting.put))
        clock = asyncio.get_running_loop().time
        deadline, later = clock() + wait_seconds, self._later.setdefault(group.name, [])
        while (left := deadline - clock()) > 0:
            if later and later[0][0] <= clock():
                return heapq.heappop(later)[2]
            try:
                message = await asyncio.wait_for(self._fresh[group.name].get(), min(left, LOOK_SECONDS))
            except TimeoutError:
                continue
            return _delivery(group, message, 2 if message.redelivered else 1)
        return None

    async def ack(self, delivery: Delivery) -> None:
        _, message = delivery.receipt
        await _asked(message.ack())

    async def nak(self, delivery: Delivery, delay_seconds: float) -> None:
        group, message = delivery.receipt
        due = asyncio.get_running_loop().time() + delay_seconds
        again = _delivery(group, message, delivery.attempt + 1)
        heapq.heappush(self._later.setdefault(group.name, []), (due, next(self._turn), again))

    async def term(self, delivery: Delivery) -> None:
        await self.ack(delivery)

    async def switch(self, name: str, value: str, *, first: bool = False) -> bool:
        if first and name in await self.switch_values():
            return False
        message = aio_pika.Message(value.encode(), headers={"switch": name})
        await _asked(self._channel.default_exchange.publish(message, routing_key=SWITCHES))
        return True

    async def switches(self) -> AsyncIterator[tuple[str, str]]:
        channel, told = await self._told()
        try:
            while True:
                message = await told.get()
                yield str(message.headers["switch"]), message.body.decode()
                await _asked(message.ack())
        finally:
            await channel.close()

    async def switch_values(self) -> dict[str, str]:
        channel, told = await self._told()
        values: dict[str, str] = {}
        try:
            while True:
                message = await asyncio.wait_for(told.get(), QUIET_SECONDS)
                values[str(message.headers["switch"])] = message.body.decode()
                await _asked(message.ack())
        except TimeoutError:
            return values
        finally:
            await channel.close()

    async def _told(self) -> "tuple[Any, asyncio.Queue[Any]]":
        """Every switch ever set, then those to come."""
        told: asyncio.Queue[Any] = asyncio.Queue()
        channel = await _asked(self._connection.channel())
        await _asked(channel.set_qos(prefetch_count=100))
        queue = await _asked(channel.get_queue(SWITCHES, ensure=False))
        await _asked(queue.consume(told.put, arguments={"x-stream-offset": "first"}))
        return channel, told

    async def close(self) -> None:
        await self._connection.close()


def _delivery(group: Group, message: Any, attempt: int) -> Delivery:
    headers = {str(name): str(value) for name, value in message.headers.items() if not name.startswith("x-")}
    if message.message_id:
        headers[MESSAGE_ID] = message.message_id
    # Put back by hand a message comes by the default exchange: then its type tells what it is.
    subject = message.routing_key if message.exchange else headers.get("ce-type", message.routing_key)
    return Delivery(
        subject=subject,
        stream=group.name,
        sequence=message.delivery_tag or 0,
        attempt=attempt,
        headers=headers,
        body=message.body,
        receipt=(group, message),
    )


async def _asked(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (AMQPError, OSError, RuntimeError) as error:
        raise BrokerError(f"RabbitMQ does not answer: {type(error).__name__}") from error
