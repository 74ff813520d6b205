"""The collector contract, over every collector: nothing lost, nothing changed by looking, safe to cancel and repeat.

A bench knows how to make things happen at one kind of source. A new collector adds its bench to the fixture `bench`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
import pytest

import collectors
from collectors.base import Collector, CollectorError, Emit
from collectors.celery import collector as celery_collector
from collectors.kafka import collector as kafka_collector
from collectors.nats import collector as nats_collector
from collectors.otlp import OtlpReceiver, parse
from collectors.otlp.scan import OtlpFormat
from collectors.rabbitmq import collector as rabbitmq_collector
from collectors.redis_streams import collector as redis_collector
from collectors.sqs import collector as sqs_collector
from collectors.zipkin import ZipkinReceiver
from eventflow.domain.observations import DeadLetter, DestinationSample, Observation, SpanBatch
from eventflow.worker.collect import supervise
from tests.collectors.celery.shop import Shop as CeleryShop
from tests.collectors.kafka.shop import LETTER_HEADERS as KAFKA_LETTER_HEADERS
from tests.collectors.kafka.shop import Shop as KafkaShop
from tests.collectors.kafka.shop import unique
from tests.collectors.leaks import cancelled_at, nothing_left_open
from tests.collectors.nats.shop import LETTER_HEADERS, connection, consumer
from tests.collectors.rabbitmq import shop as rabbitmq_shop
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.redis_streams import shop as redis_shop
from tests.collectors.sqs.shop import Shop as SqsShop
from tests.redis_rabbitmq import RabbitMqServer, RedisServer
from tests.services import KafkaServer, NatsServer, SqsServer

HOW_MANY = 12


class Bench(Protocol):
    """One kind of source, ready to be looked at."""

    def collector(self) -> Collector:
        """A new collector of the source."""
        ...

    async def happen(self, running: Collector) -> set[str]:
        """Make HOW_MANY things happen while `running` runs; the keys of those that the sender was not refused."""
        ...


class BrokerBench(Bench, Protocol):
    """A bench at a broker, which looking must not change."""

    async def state(self) -> object:
        """Everything that looking must leave as it is."""
        ...


class NatsBench:
    """Dead letters on a real server, beside a consumer that is half-way."""

    def __init__(self, server: NatsServer) -> None:
        self.url = server.url

    def collector(self) -> Collector:
        return nats_collector("shop", self.url, 0.05)

    async def prepare(self) -> "NatsBench":
        async with connection(self.url) as (_, js):
            await js.add_stream(name="ORDERS", subjects=["orders.>"])
            await js.add_stream(name="DLQ", subjects=["dlq.>"])
            await consumer(js, "ORDERS", "payment", "orders.placed")
            for number in range(5):
                await js.publish("orders.placed", b"%d" % number)
            reading = await js.pull_subscribe_bind("payment", "ORDERS")
            done, _, _ = await reading.fetch(3)
            await done.ack_sync()
        return self

    async def happen(self, running: Collector) -> set[str]:
        keys = set()
        async with connection(self.url) as (_, js):
            for number in range(HOW_MANY):
                stored = await js.publish("dlq.payment", b"%d" % number, headers=LETTER_HEADERS)
                keys.add(f"dlq.payment {stored.seq}")
                await asyncio.sleep(0.01)
        return keys

    async def state(self) -> object:
        """Everything at the broker that looking must leave as it is."""
        async with connection(self.url) as (client, _):

            async def ask(call: str) -> Any:
                return json.loads((await client.request(f"$JS.API.{call}", b"")).data)

            streams = (await ask("STREAM.LIST"))["streams"]
            found = {s["config"]["name"]: (s, (await ask(f"CONSUMER.LIST.{s['config']['name']}"))) for s in streams}
        return json.loads(json.dumps(found), object_hook=lambda d: {k: v for k, v in d.items() if k != "ts"})


class KafkaBench:
    """Dead letters on a real cluster that has other topics too, beside a group that is half-way."""

    def __init__(self, server: KafkaServer) -> None:
        self.shop = KafkaShop(server)
        self.orders, self.letters, self.group = self.shop.topic("orders"), self.shop.topic("orders.dlq"), unique("pay")
        self.shop.publish(self.orders, 5)
        self.shop.commit(self.group, self.orders, 3)

    def collector(self) -> Collector:
        return kafka_collector("shop", self.shop.server.url, 0.05)

    async def happen(self, running: Collector) -> set[str]:
        await asyncio.to_thread(self.shop.publish, self.letters, HOW_MANY, headers=KAFKA_LETTER_HEADERS)
        return {f"{self.letters} 0:{offset}" for offset in range(HOW_MANY)}

    async def state(self) -> object:
        """Groups with members and commits, topics with their ends."""
        return await asyncio.to_thread(self.shop.everything)


class RedisBench:
    """Dead letters in a stream, beside a group that is half-way and a stream that was trimmed under it."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def collector(self) -> Collector:
        return redis_collector("shop", self._server.url, 0.05)

    async def prepare(self) -> "RedisBench":
        async with redis_shop.connection(self._server) as client:
            await client.xgroup_create("orders.placed", "payment", id="0", mkstream=True)
            await redis_shop.publish(client, "orders.placed", 9)
            done, *_ = await redis_shop.read(client, "orders.placed", "payment", 3)
            await client.xack("orders.placed", "payment", done)
            await client.xtrim("orders.placed", maxlen=7, approximate=False)
        return self

    async def happen(self, running: Collector) -> set[str]:
        keys = set()
        async with redis_shop.connection(self._server) as client:
            for number in range(HOW_MANY):
                stored = await client.xadd("dlq.payment", {**redis_shop.LETTER_FIELDS, "payload": b"%d" % number})
                keys.add(f"dlq.payment {stored.decode()}")
                await asyncio.sleep(0.01)
        return keys

    async def state(self) -> object:
        """Everything of the streams that looking must leave as it is, and that no key came or went."""
        async with redis_shop.connection(self._server) as client:
            keys = sorted(await client.keys())
            return [(key, await client.execute_command("XINFO", "STREAM", key, "FULL", "COUNT", 0)) for key in keys]


class RabbitMqBench:
    """Letters in dead-letter queues of their own, beside a queue with a route; here letters are counted, not read."""

    def __init__(self, vhost: Vhost) -> None:
        self._vhost = vhost

    def collector(self) -> Collector:
        return rabbitmq_collector("shop", self._vhost.url, 0.1)

    async def prepare(self) -> "RabbitMqBench":
        self._vhost.exchange("dlx", "direct")
        self._vhost.queue("payment", dead_letter_exchange="dlx")
        async with self._vhost.channel() as channel:
            await rabbitmq_shop.publish(channel, "payment", 3)
        return self

    async def happen(self, running: Collector) -> set[str]:
        names = [f"dlq.{uuid4().hex[:8]}" for _ in range(HOW_MANY)]
        async with self._vhost.channel() as channel:
            for name in names:
                self._vhost.queue(name)
                await rabbitmq_shop.publish(channel, name, 1)
        return {f"{name} holds 1" for name in names}

    async def state(self) -> object:
        """What looking must leave as it is: counters and who is connected, once the server has counted."""
        columns = "name,messages_ready,messages_unacknowledged,consumers,message_stats.get,message_stats.redeliver"
        async with asyncio.timeout(30):
            while True:
                totals = self._vhost.get("overview?columns=object_totals")["object_totals"]
                rows = self._vhost.get(f"queues/{self._vhost.name}?columns={columns}")
                ready = {row["name"]: row.get("messages_ready") for row in rows}
                if not totals["connections"] and all(ready.values()) and ready["payment"] == 3:
                    return totals, sorted(_without_what_is_empty(row) for row in rows)
                await asyncio.sleep(0.2)


def _without_what_is_empty(row: dict[str, Any]) -> str:
    """A row of the management API: counters that were never moved are left out, empty or zero, as it happens to be."""
    stats = {name: count for name, count in dict(row.get("message_stats") or {}).items() if count}
    return str(sorted({**row, "message_stats": stats}.items(), key=str))


class CeleryBench:
    """Tasks that nobody has fetched, each in a queue of its own, beside one with some more."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._shop = CeleryShop(server, folder)

    def collector(self) -> Collector:
        return celery_collector("shop", self._shop.url, 0.1)

    async def prepare(self) -> "CeleryBench":
        await asyncio.to_thread(self._shop.send, "shop.pay", 5)
        return self

    async def happen(self, running: Collector) -> set[str]:
        names = [f"pay-{uuid4().hex[:8]}" for _ in range(HOW_MANY)]
        for name in names:
            await asyncio.to_thread(self._shop.send, "shop.pay", queue=name)
        return {f"{name} holds 1" for name in names}

    async def state(self) -> object:
        """Every key with what it holds."""
        async with redis_shop.connection(self._shop.server) as client:
            return {key: await client.dump(key) for key in sorted(await client.keys())}


class SqsBench:
    """Letters in a dead-letter queue, beside a queue that is half-way; here letters are counted, not read."""

    def __init__(self, server: SqsServer) -> None:
        self._shop = SqsShop(server)
        self._letters = ""

    def collector(self) -> Collector:
        return sqs_collector("shop", self._shop.server.url, 0.1)

    async def prepare(self) -> "SqsBench":
        def prepare() -> None:
            self._letters = self._shop.queue("payment-dlq")
            payment = self._shop.queue("payment", dead_letters="payment-dlq")
            self._shop.send(payment, 5)
            self._shop.receive(payment, 2)

        await asyncio.to_thread(prepare)
        return self

    async def happen(self, running: Collector) -> set[str]:
        names = [f"dlq-{uuid4().hex[:8]}" for _ in range(HOW_MANY)]

        def happen() -> None:
            for name in names:
                self._shop.send(self._shop.queue(name))

        await asyncio.to_thread(happen)
        return {f"{name} holds 1" for name in names}

    async def state(self) -> object:
        """All that SQS tells of every queue, what a look at it would hide included."""
        return await asyncio.to_thread(self._shop.everything)


class OtlpBench:
    """Spans pushed over HTTP, one per request, as an SDK without retries would."""

    def collector(self) -> Collector:
        return OtlpReceiver(http="127.0.0.1:0", grpc=None)

    async def happen(self, running: Collector) -> set[str]:
        assert isinstance(running, OtlpReceiver)
        async with asyncio.timeout(10):
            await running.ready.wait()
        keys = set()
        async with httpx.AsyncClient(trust_env=False) as client:
            for number in range(1, HOW_MANY + 1):
                trace, span = f"{number:032x}", f"{number:016x}"
                answer = await client.post(
                    f"http://127.0.0.1:{running.http_port}/v1/traces", json=export_request(trace, span)
                )
                if answer.status_code == 200:
                    keys.add(f"{trace} {span}")
        return keys


class ZipkinBench:
    """The same, one Zipkin span per request."""

    def collector(self) -> Collector:
        return ZipkinReceiver("127.0.0.1:0", lambda body: parse.from_protobuf(body).spans)

    async def happen(self, running: Collector) -> set[str]:
        assert isinstance(running, ZipkinReceiver)
        async with asyncio.timeout(10):
            await running.ready.wait()
        keys = set()
        async with httpx.AsyncClient(trust_env=False) as client:
            for number in range(1, HOW_MANY + 1):
                trace, span = f"{number:032x}", f"{number:016x}"
                sent = [{"traceId": trace, "id": span, "timestamp": 1764000000000000, "kind": "CONSUMER"}]
                answer = await client.post(f"http://127.0.0.1:{running.port}/api/v2/spans", json=sent)
                if answer.status_code == 202:
                    keys.add(f"{trace} {span}")
        return keys


def export_request(trace: str, span: str) -> dict[str, Any]:
    times = {"startTimeUnixNano": "1764000000000000000", "endTimeUnixNano": "1764000001000000000"}
    spans = [{"traceId": trace, "spanId": span, "name": "process", "kind": 5, **times}]
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


def keys_of(batch: Sequence[Observation]) -> set[str]:
    keys = set()
    for item in batch:
        if isinstance(item, DeadLetter):
            keys.add(f"{item.location} {item.position}")
        elif (
            isinstance(item, DestinationSample)
            and (item.dead_letters_of if item.system in {"rabbitmq", "aws_sqs"} else item.system == "celery")
            and item.messages
        ):
            keys.add(f"{item.destination} holds {item.messages}")
        elif isinstance(item, SpanBatch):
            keys |= {f"{span.trace_id} {span.span_id}" for span in item.spans or OtlpFormat().read(item.body)}
    return keys


class Store:
    """An emit that may fail before it keeps anything. What it kept is durable."""

    def __init__(self, fail: Callable[[int], Exception | None] = lambda _: None) -> None:
        self.kept: set[str] = set()
        self.calls = 0
        self.fail = fail

    async def __call__(self, batch: Sequence[Observation]) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if (error := self.fail(self.calls)) is not None:
            raise error
        self.kept |= keys_of(batch)

    async def has(self, keys: set[str]) -> None:
        async with asyncio.timeout(30):
            while not keys <= self.kept:
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(collector: Collector, emit: Emit) -> AsyncIterator["asyncio.Task[None]"]:
    """The collector under the real supervisor, whose pauses are made short."""

    async def nothing(_: object) -> None:
        return None

    def soon(_: float) -> Awaitable[None]:
        return asyncio.sleep(0.02)

    task = asyncio.create_task(
        supervise([collector], emit, on_status=nothing, now=lambda: datetime.now(UTC), sleep=soon)
    )
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def nats_bench(nats_process: Callable[..., NatsServer]) -> NatsBench:
    return await NatsBench(nats_process()).prepare()


@pytest.fixture
def kafka_bench(kafka_server: KafkaServer) -> KafkaBench:
    return KafkaBench(kafka_server)


@pytest.fixture
async def redis_bench(redis_process: Callable[..., RedisServer]) -> RedisBench:
    return await RedisBench(redis_process()).prepare()


@pytest.fixture
async def rabbitmq_bench(rabbitmq_process: RabbitMqServer) -> AsyncIterator[RabbitMqBench]:
    with Vhost(rabbitmq_process, f"test-{uuid4().hex[:10]}") as vhost:
        yield await RabbitMqBench(vhost).prepare()


@pytest.fixture
async def celery_bench(redis_process: Callable[..., RedisServer], tmp_path: Path) -> CeleryBench:
    return await CeleryBench(redis_process(), tmp_path).prepare()


@pytest.fixture
async def sqs_bench(sqs_server: SqsServer) -> SqsBench:
    return await SqsBench(sqs_server).prepare()


RECEIVERS: dict[str, Callable[[], Bench]] = {"otlp": OtlpBench, "zipkin": ZipkinBench}


@pytest.fixture(params=["celery", "kafka", "nats", "otlp", "redis", "rabbitmq", "sqs", "zipkin"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param in RECEIVERS:
        return RECEIVERS[request.param]()
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found


@pytest.fixture(params=["celery", "kafka", "nats", "redis", "rabbitmq", "sqs"])
def broker(request: pytest.FixtureRequest) -> BrokerBench:
    found: BrokerBench = request.getfixturevalue(f"{request.param}_bench")
    return found


def test_every_scheme_of_the_registry_makes_a_collector_with_a_bench() -> None:
    made = {collectors.from_url("any", f"{scheme}://127.0.0.1:1").system for scheme in collectors.SCHEMES}
    assert made == {"kafka", "nats", "redis", "rabbitmq", "aws_sqs", "celery"}  # a new system needs a bench above
    assert all(
        isinstance(collectors.from_url("any", f"{scheme}://127.0.0.1:1"), Collector) for scheme in collectors.SCHEMES
    )


async def test_everything_that_happens_is_delivered(bench: Bench) -> None:
    store, collector = Store(), bench.collector()
    async with running(collector, store):
        happened = await bench.happen(collector)
        assert len(happened) == HOW_MANY
        await store.has(happened)


async def test_what_could_not_be_stored_for_a_while_is_delivered_later_or_was_refused(bench: Bench) -> None:
    store = Store(lambda call: CollectorError("the store is busy") if call < 9 else None)
    collector = bench.collector()
    async with running(collector, store):
        await store.has(await bench.happen(collector))


async def test_a_fault_while_storing_is_no_acknowledgement_either(bench: Bench) -> None:
    store = Store(lambda call: OSError("disk I/O error") if call % 3 == 2 else None)
    collector = bench.collector()
    async with running(collector, store):
        await store.has(await bench.happen(collector))


async def test_what_could_not_be_stored_at_all_was_refused_or_is_still_there_for_the_next_run(bench: Bench) -> None:
    full = Store(lambda _: CollectorError("the disk is full", permanent=True))
    collector = bench.collector()
    async with running(collector, full):
        happened = await bench.happen(collector)
        await asyncio.sleep(0.1)
    assert full.kept == set()
    store = Store()
    async with running(collector, store):
        await store.has(happened)


async def test_looking_at_a_broker_changes_nothing_there(broker: BrokerBench) -> None:
    letters = await broker.happen(broker.collector())
    before = await broker.state()
    store = Store()
    async with running(broker.collector(), store):
        await store.has(letters)
        async with asyncio.timeout(15):
            while store.calls < 9:
                await asyncio.sleep(0.02)
        during = await broker.state()
    assert during == before
    assert await broker.state() == before


async def test_offered_twice_it_has_the_same_keys(bench: Bench) -> None:
    first, second = Store(), Store()
    for store in (first, second):
        collector = bench.collector()
        async with running(collector, store):
            await store.has(await bench.happen(collector) | first.kept)
    assert first.kept <= second.kept


@pytest.mark.parametrize("hanging", [False, True], ids=["idle", "while storing hangs"])
async def test_it_ends_promptly_when_cancelled(bench: Bench, hanging: bool) -> None:
    reached = asyncio.Event()

    async def emit(batch: Sequence[Observation]) -> None:
        reached.set()
        if hanging:
            await asyncio.Event().wait()

    task = asyncio.create_task(bench.collector().run(emit))
    async with asyncio.timeout(10):
        await reached.wait()
    await asyncio.sleep(0.1)
    task.cancel()
    async with asyncio.timeout(2.5):
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("again", [(), (1, 2), (4,)], ids=["once", "and again at once", "and again later"])
async def test_it_leaves_nothing_open_wherever_it_is_cancelled(broker: BrokerBench, again: tuple[int, ...]) -> None:
    await broker.happen(broker.collector())
    for step in range(1, 30):
        with nothing_left_open():
            assert await cancelled_at(broker.collector().run(Store()), step, *(step + more for more in again))
            await asyncio.sleep(0.01)
