"""Clocks that run ahead, a producer's or a broker's: what waits is counted, its age is not known and not zero."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from collectors.kafka import collector as kafka_collector
from collectors.rabbitmq import collector as rabbitmq_collector
from collectors.redis_streams import collector as redis_collector
from eventflow.domain import lag
from eventflow.domain.observations import LagSample, SourceStatus
from tests.collectors.kafka.shop import Shop, lags, unique
from tests.collectors.rabbitmq.shop import Vhost, publish
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.collectors.redis_streams.shop import connection
from tests.faults.test_brokers import vhost
from tests.redis_rabbitmq import RedisServer
from tests.services import KafkaServer

__all__ = ["vhost"]  # pytest finds fixtures by name

AHEAD = 50 * 60
"""Seconds. A Kafka broker refuses what is more than an hour ahead (log.message.timestamp.after.max.ms)."""


def believed(sample: LagSample) -> datetime | None:
    return lag.dated(sample.oldest_at, sample.at)


@pytest.mark.kafka
async def test_kafka_records_from_the_future_have_no_age_and_the_count_stays_exact(kafka_server: KafkaServer) -> None:
    shop, group = Shop(kafka_server), unique("payment")
    topic = shop.topic("orders")
    ahead = int((time.time() + AHEAD) * 1000)
    shop.publish(topic, 5, at=[ahead + number for number in range(5)])
    shop.commit(group, topic, 2)

    def looked_often(seen: Recorder) -> bool:
        return len([sample for sample in seen.of(LagSample) if sample.group == group]) > 12

    seen = await run_until(kafka_collector("shop", kafka_server.url, 0.05), looked_often, seconds=30)
    sample = lags(seen, group)[topic, "0"]
    assert sample.ready == 3
    assert believed(sample) is None or sample.error_seconds  # never "written just now, exactly"
    assert all(one.oldest_at is None or one.oldest_at <= one.at + timedelta(seconds=1) for one in seen.of(LagSample))


@pytest.mark.kafka
async def test_one_kafka_record_from_the_future_does_not_hide_how_long_the_others_wait(
    kafka_server: KafkaServer,
) -> None:
    shop, group = Shop(kafka_server), unique("payment")
    topic = shop.topic("orders")
    now = int(time.time() * 1000)
    shop.publish(topic, 4, at=[now - 600_000, now - 599_000, now + AHEAD * 1000, now - 1000])
    shop.commit(group, topic, 0)
    seen = await run_until(
        kafka_collector("shop", kafka_server.url, 0.05),
        lambda told: lags(told, group) and lags(told, group)[topic, "0"].method == "probe-exact",
        seconds=30,
    )
    sample = lags(seen, group)[topic, "0"]
    assert sample.oldest_at is not None
    assert sample.oldest_at.timestamp() * 1000 == pytest.approx(now - 600_000, abs=1500)


@pytest.mark.redis
async def test_a_redis_whose_clock_runs_ahead_gives_no_age(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders", "payment", id="0", mkstream=True)
        for number in range(3):
            await client.xadd("orders", {"payload": b"{}"}, id=f"{int((time.time() + AHEAD) * 1000) + number}-0")
    sample = (await run_until(redis_collector("shop", redis_server.url, 0.05), one_cycle)).lag("payment")
    assert (sample.ready, believed(sample)) == (3, None)


@pytest.mark.rabbitmq
async def test_a_rabbitmq_publisher_whose_clock_runs_ahead_gives_no_age(vhost: Vhost) -> None:
    vhost.queue("payment")
    async with vhost.channel() as channel:
        await publish(channel, "payment", 2, timestamp=datetime.now(UTC) + timedelta(seconds=AHEAD))

    def looked(seen: Recorder) -> bool:
        return seen.lag("payment").ready == 2 and len(seen.of(SourceStatus)) > 3

    seen = await run_until(rabbitmq_collector("shop", vhost.url, 0.3), looked, seconds=30)
    assert believed(seen.lag("payment")) is None
