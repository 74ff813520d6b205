"""A cluster of many partitions, on a real broker: what one look at it takes."""

from collections.abc import Callable
from statistics import median

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from collectors.kafka import collector
from eventflow.domain.observations import LagSample, SourceStatus
from tests.collectors.recorder import Recorder, run_until
from tests.running import until
from tests.services import KafkaServer

pytestmark = pytest.mark.kafka
TOPICS, PARTITIONS, GROUPS = 2, 100, 5


@pytest.fixture
def large(kafka_process: Callable[..., KafkaServer]) -> KafkaServer:
    """A broker of its own: others' tests look at the shared one whole."""
    server = kafka_process({"log.index.size.max.bytes": "16384"})
    admin = AdminClient({"bootstrap.servers": server.address, "log_level": 0})
    # The groups' offsets first: their own topic would wait behind all others.
    _create(admin, 0)
    at = [TopicPartition("topic-0", n, 0) for n in range(PARTITIONS)]
    for number in range(GROUPS):
        until(lambda group=f"g{number}": _committed(admin, group, at), 60, "the groups' coordinator")
    for number in range(1, TOPICS):
        _create(admin, number)
    until(lambda: _led(admin) == TOPICS * PARTITIONS, 120, "a leader of every partition")
    return server


def _led(admin: AdminClient) -> int:
    """How many partitions have a leader."""
    topics = admin.list_topics(timeout=30).topics
    return sum(
        partition.leader >= 0
        for name, topic in topics.items()
        if name.startswith("topic-")
        for partition in topic.partitions.values()
    )


def _create(admin: AdminClient, number: int) -> None:
    admin.create_topics([NewTopic(f"topic-{number}", PARTITIONS, 1)], request_timeout=120)[f"topic-{number}"].result(
        180
    )


def _committed(admin: AdminClient, group: str, at: list[TopicPartition]) -> bool:
    """The partition of the group's offsets may still be on its way to its leader."""
    try:
        wanted = [ConsumerGroupTopicPartitions(group, at)]
        done = admin.alter_consumer_group_offsets(wanted, request_timeout=5)[group].result(6)
    except (KafkaException, TimeoutError):
        return False
    return not any(partition.error for partition in done.topic_partitions)


async def test_one_look_takes_three_requests_a_broker_and_one_a_group_however_many_partitions(
    large: KafkaServer,
) -> None:
    """§9.6, test 1, small; at its whole size it is `python -m benchmarks.kafka --partitions 10000`."""

    def three_more_looks(seen: Recorder) -> bool:
        return len(seen.of(SourceStatus)) >= 4

    seen = await run_until(collector("shop", large.url, 0.5), three_more_looks, seconds=60)
    looks = seen.of(SourceStatus)[1:]
    assert median(look.calls for look in looks) <= 3 + GROUPS
    newest = seen.of(LagSample)[-1].at
    last = [sample for sample in seen.of(LagSample) if sample.at == newest]
    assert len(last) == GROUPS * PARTITIONS
    assert {sample.ready for sample in last} == {0}
    assert seen.destination("topic-1").partitions == PARTITIONS
