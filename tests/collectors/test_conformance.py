"""One scenario over every broker: known moves in, exact numbers out, compared with the broker's own tool."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from eventflow.domain.observations import LagSample, SourceStatus
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.recorder import Recorder
from tests.collectors.scenarios import EVERY_BROKER, Kafka, Nats, Numbers, RabbitMq, Redis, Scenario, Sqs, numbers
from tests.redis_rabbitmq import RabbitMqServer, RedisServer
from tests.services import KafkaServer, NatsServer


@pytest.fixture
def vhost(rabbitmq_process: RabbitMqServer) -> Iterator[Vhost]:
    with Vhost.fresh(rabbitmq_process) as made:
        yield made


@pytest.fixture
def scenario(request: pytest.FixtureRequest, broker: str) -> Scenario:
    """On the run's servers, or on one of its own where it is cheap."""
    if broker == "kafka":
        server: KafkaServer = request.getfixturevalue("kafka_server")
        return Kafka(server)
    if broker == "nats":
        nats_process: Callable[[], NatsServer] = request.getfixturevalue("nats_process")
        return Nats(nats_process())
    if broker == "sqs":
        return Sqs(request.getfixturevalue("sqs_server"))
    if broker == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        return Redis(redis)
    return RabbitMq(request.getfixturevalue("vhost"))


class Watch:
    """A running collector, asked after each move."""

    def __init__(self, scenario: Scenario, seen: Recorder) -> None:
        self.scenario, self.seen = scenario, seen

    async def tells(self, ready: int, in_flight: int = 0) -> None:
        """It comes to say exactly this, and so does the broker's own tool."""
        expected: Numbers = (ready, in_flight if self.scenario.tells_in_flight else None)
        try:
            await self.seen.until(lambda seen: numbers(seen, self.scenario.group) == expected, 30)
        except TimeoutError:
            assert numbers(self.seen, self.scenario.group) == expected
        assert await self.scenario.judge() == expected


@pytest.mark.parametrize("broker", EVERY_BROKER)
async def test_each_move_is_told_exactly_and_as_the_brokers_own_tool_tells_it(scenario: Scenario) -> None:
    await scenario.prepare()
    seen = Recorder()
    running = asyncio.create_task(scenario.collector().run(seen))
    watch = Watch(scenario, seen)
    try:
        await watch.tells(0)

        await scenario.publish(100)
        await watch.tells(100)

        async with scenario.hold(40):
            await watch.tells(*((60, 40) if scenario.tells_in_flight else (100, 0)))
            await seen.until(lambda now: now.lag(scenario.group).members == scenario.members[0])
        await watch.tells(60)  # consumed, and nobody is there now
        await seen.until(lambda now: now.lag(scenario.group).members == scenario.members[1])

        if scenario.rewinds:
            await scenario.rewind(10)
            await watch.tells(90)
        await scenario.trim(30)
        await watch.tells(left := 30 if scenario.keeps_when_trimmed else 0)

        if left:
            async with scenario.hold(left):
                pass
        await watch.tells(0)

        await scenario.publish(3)
        await watch.tells(3)

        await scenario.dead_letter(4)
        await seen.until(lambda now: scenario.letters(now) == 4, 30)

        await scenario.forget()
        await _no_more_told(scenario, seen)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    told = [sample for sample in seen.of(LagSample) if sample.group == scenario.group]
    assert all(0 <= (sample.ready or 0) <= 100 and 0 <= (sample.in_flight or 0) <= 40 for sample in told)
    assert {status.state for status in seen.of(SourceStatus)} == {"ok"}


async def _no_more_told(scenario: Scenario, seen: Recorder) -> None:
    """A whole look without the group, before long."""

    def gone(now: Recorder) -> bool:
        statuses = [index for index, item in enumerate(now.seen) if isinstance(item, SourceStatus)]
        last = now.seen[statuses[-2] : statuses[-1]]
        return not any(isinstance(item, LagSample) and item.group == scenario.group for item in last)

    await seen.until(gone, 30)
