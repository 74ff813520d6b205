"""A broker dies, falls silent or takes rights away: the collector says that it is blind, recovers, invents nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module

import pytest

from collectors.base import Collector
from eventflow.domain.observations import LagSample, SourceStatus
from eventflow.worker.collect import supervise
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.recorder import Recorder
from tests.collectors.scenarios import BROKERS, EVERY_BROKER, Kafka, Nats, RabbitMq, Redis, Scenario, Sqs, numbers
from tests.line import Line
from tests.redis_rabbitmq import RabbitMqServer
from tests.services import free_port

LONGEST_PAUSE = 0.5


@asynccontextmanager
async def watched(collector: Collector) -> AsyncIterator[Recorder]:
    """The collector under the real supervisor, whose pauses are made short."""
    seen = Recorder()

    async def tell(status: SourceStatus) -> None:
        await seen([status])

    async def pause(seconds: float) -> None:
        await asyncio.sleep(min(seconds, LONGEST_PAUSE))

    running = asyncio.create_task(
        supervise([collector], seen, on_status=tell, now=lambda: datetime.now(UTC), sleep=pause)
    )
    try:
        yield seen
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def vhost(rabbitmq_process: RabbitMqServer) -> Iterator[Vhost]:
    with Vhost.fresh(rabbitmq_process) as made:
        yield made


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with Line() as line:
        yield line


@pytest.fixture
def scenario(request: pytest.FixtureRequest, broker: str, line: Line) -> Scenario:
    """On a server of its own wherever the test may kill it; Kafka names the line's address to who comes through it."""
    if broker == "rabbitmq":
        return RabbitMq(request.getfixturevalue("vhost"))
    if broker == "sqs":
        return Sqs(request.getfixturevalue("sqs_server"))
    start: Callable[..., object] = request.getfixturevalue(f"{broker}_process")
    if broker == "nats":
        return Nats(start())  # type: ignore[arg-type]  # the fixture's own server
    if broker == "redis":
        return Redis(start("--appendfsync", "always"))  # type: ignore[arg-type]  # as above
    inner = free_port()
    listeners = {
        "listeners": f"PLAINTEXT://127.0.0.1:{{port}},LINE://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{{controller}}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{{port}},LINE://127.0.0.1:{line.port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,LINE:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
    }
    line.to = inner
    return Kafka(start(listeners))  # type: ignore[arg-type]  # as above


def told(seen: Recorder, group: str) -> list[LagSample]:
    return [sample for sample in seen.of(LagSample) if sample.group == group]


@pytest.mark.parametrize(
    ("broker", "fault"),
    [
        *(pytest.param(*one.values, "silence", marks=one.marks, id=f"{one.id}, silence") for one in EVERY_BROKER),
        *(pytest.param(*one.values, "kill -9", marks=one.marks, id=f"{one.id}, kill -9") for one in BROKERS),
    ],
)
async def test_a_broker_out_of_sight_is_said_and_seen_again_with_true_numbers(
    scenario: Scenario, line: Line, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("collectors.rabbitmq.client"), "ANSWER_SECONDS", 4.0)
    line.to = line.to or scenario.port
    await scenario.prepare()
    await scenario.publish(5)
    async with watched(scenario.collector(line.port)) as seen:
        await seen.until(lambda now: numbers(now, scenario.group)[0] == 5, 30)

        if fault == "silence":
            line.silence()
        else:
            await asyncio.to_thread(scenario.kill)
        await seen.until(lambda now: now.status.state == "blind", 30)
        since, known = seen.status.at, len(told(seen, scenario.group))
        assert "trying again" in seen.status.message
        await asyncio.sleep(3)
        assert len(told(seen, scenario.group)) == known  # nothing is told that nobody saw
        assert {status.state for status in seen.of(SourceStatus) if status.at >= since} <= {"blind", "connecting"}

        if fault == "silence":
            await scenario.publish(7)  # life goes on there
            line.resume()
        else:
            await asyncio.to_thread(scenario.start)
            await scenario.publish(7)
        await seen.until(lambda now: numbers(now, scenario.group)[0] == 12, 60)
        await seen.until(lambda now: now.status.state == "ok")
    steps = [sample.ready for sample in told(seen, scenario.group) if sample.ready is not None]
    steps = steps[steps.index(5) :]  # it was watched while the first ones came
    assert set(steps) <= set(range(5, 13))
    assert steps == sorted(steps)
