"""The same story told on every broker: publish, consume, rewind, trim, give up, and what the broker's own tool says.

Each scenario has one destination and one consumer group on a real server. It may be watched from another address than
the application uses, so that only the watcher meets what a test does to the line.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
from confluent_kafka import Consumer

from collectors.base import Collector
from collectors.kafka import collector as kafka_collector
from collectors.nats import collector as nats_collector
from collectors.rabbitmq import collector as rabbitmq_collector
from collectors.redis_streams import collector as redis_collector
from collectors.sqs import collector as sqs_collector
from eventflow.domain.observations import DeadLetter, LagSample
from tests.collectors.kafka import shop as kafka_shop
from tests.collectors.nats import shop as nats_shop
from tests.collectors.rabbitmq import shop as rabbitmq_shop
from tests.collectors.recorder import Recorder
from tests.collectors.redis_streams import shop as redis_shop
from tests.collectors.sqs import shop as sqs_shop
from tests.redis_rabbitmq import RedisServer
from tests.services import KafkaServer, NatsServer, SqsServer

BROKERS = [
    pytest.param(name, marks=getattr(pytest.mark, name), id=name) for name in ("kafka", "nats", "rabbitmq", "redis")
]
"""Servers that can be killed, and that know users and rights."""
EVERY_BROKER = [*BROKERS, pytest.param("sqs", id="sqs")]
Numbers = tuple[int | None, int | None]
"""What waits and what is in flight; None where this broker does not tell it."""


class Scenario(Protocol):
    """One destination with one group."""

    group: str
    tells_in_flight: bool
    rewinds: bool
    keeps_when_trimmed: bool
    """False: trimming a queue empties it."""
    members: tuple[int | None, int | None]
    """Told while one consumer is connected, and after it left."""

    def collector(self, port: int | None = None) -> Collector:
        """A collector of it, at another port if it is to look through a proxy."""
        ...

    @property
    def port(self) -> int:
        """Where a collector asks."""
        ...

    async def prepare(self) -> None: ...
    async def publish(self, how_many: int) -> None: ...
    def hold(self, how_many: int) -> AbstractAsyncContextManager[None]:
        """Messages are out at a consumer inside, and settled at the end."""
        ...

    async def rewind(self, to: int) -> None:
        """Set the group back so that it has done `to` messages."""
        ...

    async def trim(self, keep: int) -> None: ...
    async def dead_letter(self, how_many: int) -> None: ...
    async def forget(self) -> None:
        """Delete the group (with its queue, where they are one)."""
        ...

    async def judge(self) -> Numbers:
        """What the broker's own tool says."""
        ...

    def letters(self, seen: Recorder) -> int: ...
    def kill(self) -> None:
        """kill -9."""
        ...

    def start(self) -> None:
        """Again, with the same data."""
        ...


def numbers(seen: Recorder, group: str) -> Numbers:
    """The group's newest sums over its partitions."""
    newest = {(s.destination, s.partition): s for s in seen.of(LagSample) if s.group == group}
    if not newest:
        raise IndexError(group)
    sums = []
    for name in ("ready", "in_flight"):
        values = [getattr(sample, name) for sample in newest.values()]
        sums.append(None if None in values else sum(values))
    return sums[0], sums[1]


def _letters_read(seen: Recorder) -> int:
    return len({(letter.location, letter.position) for letter in seen.of(DeadLetter)})


class Kafka:
    """A topic of one partition. What is polled and not committed is not in flight: the broker does not know of it."""

    tells_in_flight, rewinds, keeps_when_trimmed, members = False, True, True, (1, 0)

    def __init__(self, server: KafkaServer) -> None:
        self.shop, self.group = kafka_shop.Shop(server), kafka_shop.unique("payment")

    @property
    def port(self) -> int:
        return self.shop.server.port

    def collector(self, port: int | None = None) -> Collector:
        return kafka_collector("shop", f"kafka://127.0.0.1:{port or self.port}", 0.1)

    async def prepare(self) -> None:
        self.topic = await asyncio.to_thread(self.shop.topic, "orders")
        self.dead = await asyncio.to_thread(self.shop.create, f"{self.topic}.dlq")
        await asyncio.to_thread(self.shop.commit, self.group, self.topic, 0)

    async def publish(self, how_many: int) -> None:
        await asyncio.to_thread(self.shop.publish, self.topic, how_many)

    @asynccontextmanager
    async def hold(self, how_many: int) -> AsyncIterator[None]:
        member, message = await asyncio.to_thread(self._take, how_many)
        try:
            yield
            await asyncio.to_thread(member.commit, message, asynchronous=False)
        finally:
            await asyncio.to_thread(member.close)

    def _take(self, how_many: int) -> tuple[Consumer, object]:
        member, message = self.shop.consumer(self.group, [self.topic]), None
        while how_many:
            message = member.poll(10)
            assert message is not None and message.error() is None
            how_many -= 1
        return member, message

    async def rewind(self, to: int) -> None:
        await asyncio.to_thread(self.shop.commit, self.group, self.topic, to)

    async def trim(self, keep: int) -> None:
        end = (await asyncio.to_thread(self.shop.by_the_tool, self.group))[self.topic, "0"][1]
        await asyncio.to_thread(self.shop.trim, self.topic, (end or 0) - keep)

    async def dead_letter(self, how_many: int) -> None:
        await asyncio.to_thread(self.shop.publish, self.dead, how_many, headers=kafka_shop.LETTER_HEADERS)

    async def forget(self) -> None:
        await asyncio.to_thread(self.shop.forget, self.group)

    async def judge(self) -> Numbers:
        """ConsumerGroupCommand. It does not know that what was trimmed away can't wait: lag is end − commit there."""
        committed, end, _ = (await asyncio.to_thread(self.shop.by_the_tool, self.group))[self.topic, "0"]
        start = await asyncio.to_thread(self.shop.first, self.topic)
        assert committed is not None and end is not None
        return end - max(committed, start), None

    def letters(self, seen: Recorder) -> int:
        return len({letter.position for letter in seen.of(DeadLetter) if letter.location == self.dead})

    def kill(self) -> None:
        self.shop.server.kill()

    def start(self) -> None:
        self.shop.server.start()


class Nats:
    """A stream with a durable pull consumer. NATS tells no members."""

    group, tells_in_flight, rewinds, keeps_when_trimmed, members = "payment", True, True, True, (None, None)

    def __init__(self, server: NatsServer) -> None:
        self._server = server

    @property
    def port(self) -> int:
        return self._server.port

    def collector(self, port: int | None = None) -> Collector:
        return nats_collector("shop", f"nats://127.0.0.1:{port or self.port}", 0.1)

    async def prepare(self) -> None:
        async with nats_shop.connection(self._server.url) as (_, js):
            await js.add_stream(name="ORDERS", subjects=["orders.>"])
            await js.add_stream(name="DLQ", subjects=["dlq.>"])
            await nats_shop.consumer(js, "ORDERS", self.group, "orders.placed")

    async def publish(self, how_many: int) -> None:
        async with nats_shop.connection(self._server.url) as (_, js):
            for number in range(how_many):
                await js.publish("orders.placed", b"%d" % number)

    @asynccontextmanager
    async def hold(self, how_many: int) -> AsyncIterator[None]:
        async with nats_shop.connection(self._server.url) as (_, js):
            reading = await js.pull_subscribe_bind(self.group, "ORDERS")
            taken = await reading.fetch(how_many)
            assert len(taken) == how_many
            yield
            for message in taken:
                await message.ack_sync()

    async def rewind(self, to: int) -> None:
        async with nats_shop.connection(self._server.url) as (_, js):
            await js.delete_consumer("ORDERS", self.group)
            await nats_shop.consumer(
                js,
                "ORDERS",
                self.group,
                "orders.placed",
                deliver_policy=nats_shop.BY_SEQUENCE,
                opt_start_seq=to + 1,
            )

    async def trim(self, keep: int) -> None:
        async with nats_shop.connection(self._server.url) as (_, js):
            await js.purge_stream("ORDERS", keep=keep)

    async def dead_letter(self, how_many: int) -> None:
        async with nats_shop.connection(self._server.url) as (_, js):
            for number in range(how_many):
                await js.publish("dlq.payment", b"%d" % number, headers=nats_shop.LETTER_HEADERS)

    async def forget(self) -> None:
        async with nats_shop.connection(self._server.url) as (_, js):
            await js.delete_consumer("ORDERS", self.group)

    async def judge(self) -> Numbers:
        """$JS.API.CONSUMER.INFO."""
        async with nats_shop.connection(self._server.url) as (client, _):
            told = json.loads((await client.request(f"$JS.API.CONSUMER.INFO.ORDERS.{self.group}", b"")).data)
        return told["num_pending"], told["num_ack_pending"]

    def letters(self, seen: Recorder) -> int:
        return _letters_read(seen)

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()


class Redis:
    """A stream with a group. Consumers stay known after they left."""

    group, tells_in_flight, rewinds, keeps_when_trimmed, members = "payment", True, True, True, (1, 1)

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._ids: list[bytes] = []

    @property
    def port(self) -> int:
        return self._server.port

    def collector(self, port: int | None = None) -> Collector:
        return redis_collector("shop", f"redis-streams://127.0.0.1:{port or self.port}", 0.1)

    async def prepare(self) -> None:
        async with redis_shop.connection(self._server) as client:
            await client.xgroup_create("orders.placed", self.group, id="0", mkstream=True)

    async def publish(self, how_many: int) -> None:
        async with redis_shop.connection(self._server) as client:
            self._ids += await redis_shop.publish(client, "orders.placed", how_many)

    @asynccontextmanager
    async def hold(self, how_many: int) -> AsyncIterator[None]:
        async with redis_shop.connection(self._server) as client:
            taken = await redis_shop.read(client, "orders.placed", self.group, how_many)
            assert len(taken) == how_many
            yield
            await client.xack("orders.placed", self.group, *taken)

    async def rewind(self, to: int) -> None:
        async with redis_shop.connection(self._server) as client:
            await client.xgroup_setid("orders.placed", self.group, self._ids[to - 1])

    async def trim(self, keep: int) -> None:
        async with redis_shop.connection(self._server) as client:
            await client.xtrim("orders.placed", maxlen=keep, approximate=False)

    async def dead_letter(self, how_many: int) -> None:
        async with redis_shop.connection(self._server) as client:
            for number in range(how_many):
                await client.xadd("dlq.payment", {**redis_shop.LETTER_FIELDS, "payload": b"%d" % number})

    async def forget(self) -> None:
        async with redis_shop.connection(self._server) as client:
            await client.xgroup_destroy("orders.placed", self.group)

    async def judge(self) -> Numbers:
        """XINFO GROUPS, but what waits by counting: this release's `lag` is wrong after XTRIM."""
        async with redis_shop.connection(self._server) as client:
            (told,) = await client.xinfo_groups("orders.placed")
            waits = await client.xrange("orders.placed", min=b"(" + told["last-delivered-id"])
        return len(waits), told["pending"]

    def letters(self, seen: Recorder) -> int:
        return _letters_read(seen)

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()


class RabbitMq:
    """A queue: it is destination and group in one. Letters are counted, not read."""

    group, tells_in_flight, rewinds, keeps_when_trimmed, members = "payment", True, False, False, (1, 0)

    def __init__(self, vhost: rabbitmq_shop.Vhost) -> None:
        self._vhost = vhost

    @property
    def port(self) -> int:
        return self._vhost.server.management

    def collector(self, port: int | None = None) -> Collector:
        url = self._vhost.url.replace(f":{self.port}/", f":{port or self.port}/")
        return rabbitmq_collector("shop", url, 0.1)

    async def prepare(self) -> None:
        await asyncio.to_thread(self._vhost.exchange, "dlx", "direct")
        await asyncio.to_thread(self._vhost.queue, "dlq.payment")
        await asyncio.to_thread(self._vhost.bind, "dlx", "dlq.payment", self.group)
        await asyncio.to_thread(
            lambda: self._vhost.queue(self.group, dead_letter_exchange="dlx", dead_letter_routing_key=self.group)
        )

    async def publish(self, how_many: int) -> None:
        async with self._vhost.channel() as channel:
            await rabbitmq_shop.publish(channel, self.group, how_many, delivery_mode=2)

    @asynccontextmanager
    async def hold(self, how_many: int) -> AsyncIterator[None]:
        async with self._vhost.channel() as channel:
            await channel.set_qos(prefetch_count=how_many)
            queue = await channel.get_queue(self.group)
            got: asyncio.Queue[rabbitmq_shop.AbstractIncomingMessage] = asyncio.Queue()
            tag = await queue.consume(got.put)
            taken = [await asyncio.wait_for(got.get(), 20) for _ in range(how_many)]
            yield
            await queue.cancel(tag)
            for message in taken:
                await message.ack()

    async def rewind(self, to: int) -> None:
        raise NotImplementedError("a queue has no past")

    async def trim(self, keep: int) -> None:
        async with self._vhost.channel() as channel:
            await (await channel.get_queue(self.group)).purge()

    async def dead_letter(self, how_many: int) -> None:
        async with self._vhost.channel() as channel:
            await rabbitmq_shop.publish(channel, self.group, how_many)
            queue = await channel.get_queue(self.group)
            for _ in range(how_many):
                await (await queue.get()).reject(requeue=False)

    async def forget(self) -> None:
        async with self._vhost.channel() as channel:
            await channel.queue_delete(self.group)

    async def judge(self) -> Numbers:
        """rabbitmqctl."""
        wanted = "name", "messages_ready", "messages_unacknowledged"
        told = await asyncio.to_thread(self._vhost.server.control, "list_queues", "-p", self._vhost.name, *wanted)
        (line,) = (words for line in told.splitlines() if (words := line.split())[:1] == [self.group])
        return int(line[1]), int(line[2])

    def letters(self, seen: Recorder) -> int:
        return seen.destination("dlq.payment").messages or 0

    def kill(self) -> None:
        self._vhost.server.kill()

    def start(self) -> None:
        self._vhost.server.start()


class Sqs:
    """A queue of SQS as moto speaks it: destination and group in one. Letters are counted, not read."""

    group, tells_in_flight, rewinds, keeps_when_trimmed, members = "payment", True, False, False, (None, None)

    def __init__(self, server: SqsServer) -> None:
        self._server, self._shop = server, sqs_shop.Shop(server)

    @property
    def port(self) -> int:
        return self._server.port

    def collector(self, port: int | None = None) -> Collector:
        return sqs_collector("shop", self._server.url.replace(f":{self.port}&", f":{port or self.port}&"), 0.1)

    async def prepare(self) -> None:
        self._dead = await asyncio.to_thread(self._shop.queue, "graveyard")
        self._queue = await asyncio.to_thread(lambda: self._shop.queue(self.group, dead_letters="graveyard"))

    async def publish(self, how_many: int) -> None:
        await asyncio.to_thread(self._shop.send, self._queue, how_many)

    @asynccontextmanager
    async def hold(self, how_many: int) -> AsyncIterator[None]:
        taken = await asyncio.to_thread(self._take, how_many)
        yield
        for handle in taken:
            await asyncio.to_thread(self._shop.sqs.delete_message, QueueUrl=self._queue, ReceiptHandle=handle)

    def _take(self, how_many: int) -> list[str]:
        taken: list[str] = []
        while len(taken) < how_many:
            found = self._shop.receive(self._queue, min(10, how_many - len(taken)), VisibilityTimeout=600)
            taken += [message["ReceiptHandle"] for message in found]
        return taken

    async def rewind(self, to: int) -> None:
        raise NotImplementedError("a queue has no past")

    async def trim(self, keep: int) -> None:
        await asyncio.to_thread(self._shop.sqs.purge_queue, QueueUrl=self._queue)

    async def dead_letter(self, how_many: int) -> None:
        await asyncio.to_thread(self._shop.send, self._dead, how_many)

    async def forget(self) -> None:
        await asyncio.to_thread(self._shop.sqs.delete_queue, QueueUrl=self._queue)

    async def judge(self) -> Numbers:
        """GetQueueAttributes."""
        visible, hidden, _ = (await asyncio.to_thread(self._shop.counts))[self.group]
        return visible, hidden

    def letters(self, seen: Recorder) -> int:
        return seen.destination("graveyard").messages or 0

    def kill(self) -> None:
        raise NotImplementedError("it keeps nothing over a restart")

    def start(self) -> None:
        raise NotImplementedError("it keeps nothing over a restart")
