"""Offsets that hold no record, and records that may not be read yet: compacted topics and open transactions."""

import time
from collections.abc import Callable
from importlib import import_module

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from collectors.kafka import collector
from tests.collectors.kafka.shop import Shop, lags, unique
from tests.collectors.recorder import Recorder, run_until
from tests.services import KafkaServer

pytestmark = pytest.mark.kafka

COMPACT_SOON = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "200",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "200",
}


def records(shop: Shop, topic: str) -> int:
    """Counted by reading."""
    reader = Consumer({**shop.where, "group.id": "judge", "enable.auto.commit": False, "enable.partition.eof": True})
    reader.assign([TopicPartition(topic, 0, 0)])
    found = 0
    while (message := reader.poll(10)) is not None and message.error() is None:
        found += 1
    reader.close()
    return found


async def test_on_a_compacted_topic_what_waits_is_counted_and_not_its_offsets(
    kafka_process: Callable[..., KafkaServer],
) -> None:
    server = kafka_process({"log.cleaner.backoff.ms": "200", "log.initial.task.delay.ms": "100"})
    shop, group = Shop(server), unique("pricing")
    topic = shop.topic("prices", config=COMPACT_SOON)
    for _ in range(6):  # the segment that is written to is never compacted
        for key in (b"a", b"b", b"c"):
            shop.publish(topic, 5, key=key)
        time.sleep(0.3)
    shop.commit(group, topic, 0)
    deadline = time.monotonic() + 60
    while (left := records(shop, topic)) > 40:
        assert time.monotonic() < deadline
        time.sleep(0.5)

    def proved(seen: Recorder) -> bool:
        return bool(lags(seen, group)) and lags(seen, group)[topic, "0"].ready == records(shop, topic)

    seen = await run_until(collector("shop", server.url, 0.2), proved, seconds=40)
    sample = lags(seen, group)[topic, "0"]
    assert (sample.published_total, sample.settled_total) == (90, 0)
    assert sample.ready is not None and 0 < sample.ready <= left < 90
    assert "at most" in seen.status.message and topic in seen.status.message


async def test_a_transaction_that_stays_open_is_named_with_what_it_holds_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("collectors.kafka.collector"), "STARTS_SECONDS", 0.5)
    monkeypatch.setattr(import_module("collectors.kafka.transactions"), "HANGING_MS", 1500)
    topic, group = shop.topic("orders"), unique("payment")
    shop.publish(topic, 2)
    shop.commit(group, topic, 2)
    producer = Producer({**shop.where, "transactional.id": unique("writer")})
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(3):
        producer.produce(topic, b"{}", partition=0)
    producer.flush(20)
    try:
        seen = await run_until(
            collector("shop", shop.server.url, 0.2), lambda now: topic in now.status.message, seconds=30
        )
    finally:
        producer.abort_transaction(30)
    assert f"holds back 3 records of {topic}, partition 0" in seen.status.message
    assert lags(seen, group)[topic, "0"].ready == 3  # as Kafka's own tool says

    after = await run_until(
        collector("shop", shop.server.url, 0.2),
        lambda now: lags(now, group) and lags(now, group)[topic, "0"].ready == 0,
    )
    assert "holds back" not in after.status.message  # aborted: its records are none, and nor is its marker
