"""Three Kafka processes: leaders and coordinators move, with and without a dead node, and no number is ever wrong."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import ElectionType, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from collectors.kafka import collector
from demo import kafka
from eventflow.domain.observations import LagSample
from tests import required
from tests.collectors.kafka.shop import Shop
from tests.collectors.recorder import Recorder
from tests.faults.test_brokers import watched
from tests.services import KafkaCluster

pytestmark = pytest.mark.kafka

PARTITIONS, COMMITTED, PUBLISHED = 6, 4, 10


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    made = KafkaCluster(tmp_path)
    try:
        made.start()
    except kafka.MissingError as error:
        required.missing("kafka", str(error))
    yield made
    made.kill()


class Replicated(Shop):
    """A topic on all three nodes, with a group that is six messages behind on each partition."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self.where: dict[str, Any] = {"bootstrap.servers": cluster.address, "log_level": 0, "acks": "all"}
        self.admin = AdminClient({"bootstrap.servers": cluster.address, "log_level": 0})
        for done in self.admin.create_topics([NewTopic("orders", PARTITIONS, 3)]).values():
            done.result(30)
        producer = Producer(self.where)
        for number in range(PARTITIONS * PUBLISHED):
            producer.produce("orders", b"{}", partition=number % PARTITIONS)
        assert producer.flush(30) == 0
        for number in range(PARTITIONS):
            self.commit("payment", "orders", COMMITTED, number)

    def leaders(self) -> dict[int, int]:
        partitions = self.admin.list_topics("orders", 20).topics["orders"].partitions
        return {number: found.leader for number, found in partitions.items()}

    def elect(self) -> None:
        """Give each partition back to the node that is first in its list."""
        at = [TopicPartition("orders", number) for number in range(PARTITIONS)]
        self.admin.elect_leaders(ElectionType.PREFERRED, at).result(30)

    def ends(self) -> dict[int, int]:
        asked = {TopicPartition("orders", number): OffsetSpec.latest() for number in range(PARTITIONS)}
        return {at.partition: end.result(20).offset for at, end in self.admin.list_offsets(asked).items()}


def whole(seen: Recorder, since: int) -> bool:
    """A look at every partition after the `since`th observation."""
    fresh = [item for item in seen.seen[since:] if isinstance(item, LagSample) and item.ready is not None]
    return {sample.partition for sample in fresh} == {str(number) for number in range(PARTITIONS)}


async def test_leaders_that_move_between_three_nodes_leave_every_number_right(cluster: KafkaCluster) -> None:
    shop = await asyncio.to_thread(Replicated, cluster)
    before = shop.leaders()
    dying = max(before.values(), key=[*before.values()].count)
    async with watched(collector("shop", cluster.url, 0.2)) as seen:
        await seen.until(lambda now: whole(now, 0), 60)

        await asyncio.to_thread(cluster.nodes[dying].kill)
        mark = len(seen.seen)
        await seen.until(lambda now: whole(now, mark) and now.status.state == "ok", 90)
        during = await asyncio.to_thread(shop.leaders)
        assert dying not in during.values()

        await asyncio.to_thread(cluster.nodes[dying].start)
        for _ in range(100):
            await asyncio.to_thread(_elected, shop)
            if await asyncio.to_thread(shop.leaders) == before:
                break
            await asyncio.sleep(0.5)
        assert await asyncio.to_thread(shop.leaders) == before
        mark = len(seen.seen)
        await seen.until(lambda now: whole(now, mark) and now.status.state == "ok", 90)
    told = {sample.ready for sample in seen.of(LagSample) if sample.group == "payment"}
    assert told <= {PUBLISHED - COMMITTED, None}
    assert await asyncio.to_thread(shop.ends) == dict.fromkeys(range(PARTITIONS), PUBLISHED)


def _elected(shop: Replicated) -> None:
    """Refused while the node that came back has not caught up."""
    try:
        shop.elect()
    except Exception as error:  # noqa: BLE001  # the client raises what the brokers said of any partition
        assert "lect" in str(error) or "vailable" in str(error), error
