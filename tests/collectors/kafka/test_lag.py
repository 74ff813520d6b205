"""A known scenario in, the exact numbers out; judged by Kafka's own ConsumerGroupCommand on the same broker."""

import asyncio
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition

from collectors.kafka import collector
from eventflow.domain.observations import GroupMembers, LagSample, SourceStatus
from tests.collectors.kafka.shop import Shop, lags, numbers, unique
from tests.collectors.recorder import Recorder, one_cycle, run_until

pytestmark = pytest.mark.kafka


async def look(shop: Shop, until: Callable[[Recorder], object] = one_cycle) -> Recorder:
    return await run_until(collector("shop", shop.server.url, 0.2), until)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_lag_is_what_kafkas_own_tool_says_for_groups_of_both_protocols(shop: Shop, protocol: str) -> None:
    topic, group = shop.topic("orders", 2), unique("payment")
    shop.publish(topic, 30)
    shop.publish(topic, 12, partition=1)
    member = shop.consumer(group, [topic], **{"group.protocol": protocol})
    try:
        read = 0
        while read < 15:
            message = member.poll(5)
            assert message is not None
            member.commit(message, asynchronous=False)
            read += 1
        seen = await look(shop)
        told = shop.by_the_tool(group)
    finally:
        member.close()
    found = {at: n for at, n in numbers(seen, group).items() if n[0] is not None}
    assert found == {at: n for at, n in told.items() if n[0] is not None}
    assert sum(ready or 0 for _, _, ready in found.values()) > 0
    assert {sample.members for sample in lags(seen, group).values()} == {1}


async def test_a_partition_without_a_commit_is_unknown_unless_nothing_lies_there(shop: Shop) -> None:
    topic, group = shop.topic("orders", 3), unique("payment")
    shop.publish(topic, 5)
    shop.publish(topic, 7, partition=1)
    member = shop.consumer(group, [topic])
    try:
        member.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
        found = lags(await look(shop), group)
    finally:
        member.close()
    assert found[topic, "0"].ready == 2
    assert found[topic, "1"].ready is None
    assert "auto.offset.reset" in (found[topic, "1"].unknown_reason or "")
    assert found[topic, "2"].ready == 0


async def test_consume_stop_rewind_trim_and_delete_are_each_told_exactly(shop: Shop) -> None:
    topic, group = shop.topic("orders"), unique("payment")
    shop.publish(topic, 100)
    shop.commit(group, topic, 60)
    sample = lags(await look(shop), group)[topic, "0"]
    assert (sample.ready, sample.settled_total, sample.published_total, sample.members) == (40, 60, 100, 0)
    assert shop.by_the_tool(group)[topic, "0"] == (60, 100, 40)

    shop.commit(group, topic, 20)  # rewound
    assert lags(await look(shop), group)[topic, "0"].ready == 80

    shop.trim(topic, 70)
    trimmed = lags(await look(shop), group)[topic, "0"]
    assert (trimmed.ready, trimmed.lost, trimmed.retained) == (30, 50, 30)

    shop.commit(group, topic, 95)  # few are kept, and none was lost: no risk to speak of
    assert lags(await look(shop), group)[topic, "0"].retained is None

    shop.trim(topic, 100)  # nothing is left, so nothing waits
    assert lags(await look(shop), group)[topic, "0"].ready == 0

    shop.forget(group)
    assert lags(await look(shop), group) == {}


async def test_a_commit_past_the_end_is_unknown_and_not_negative(shop: Shop) -> None:
    topic, group = shop.topic("orders"), unique("payment")
    shop.publish(topic, 3)
    shop.commit(group, topic, 10)
    sample = lags(await look(shop), group)[topic, "0"]
    assert sample.ready is None
    assert "made anew" in (sample.unknown_reason or "")


async def test_a_topic_that_connected_members_read_no_more_is_no_lag(shop: Shop) -> None:
    old, new, group = shop.topic("old"), shop.topic("new"), unique("payment")
    shop.publish(old, 5)
    shop.publish(new, 5)
    shop.commit(group, old, 1)
    member = shop.consumer(group, [new])
    try:
        member.commit(offsets=[TopicPartition(new, 0, 4)], asynchronous=False)
        found = lags(await look(shop), group)
    finally:
        member.close()
    assert (found[new, "0"].ready, found[old, "0"].ready) == (1, None)
    assert "none is assigned" in (found[old, "0"].unknown_reason or "")


async def test_the_oldest_waiting_record_is_dated_by_describe_alone(shop: Shop) -> None:
    topic, group = shop.topic("orders"), unique("payment")
    now = int(time.time() * 1000)
    stamps = [now - 3_600_000 + number * 7_000 for number in range(500)]
    shop.publish(topic, 500, at=stamps)
    shop.commit(group, topic, 321)

    def dated(seen: Recorder) -> bool:
        sample = lags(seen, group)[topic, "0"]
        return sample.method == "probe-exact"

    seen = await run_until(collector("shop", shop.server.url, 0.02), lambda s: lags(s, group) and dated(s))
    sample = lags(seen, group)[topic, "0"]
    assert sample.oldest_at is not None
    assert abs(sample.oldest_at.timestamp() * 1000 - stamps[321]) <= 1000 * (sample.error_seconds or 0) + 1
    looks = len([s for s in seen.of(LagSample) if s.group == group])
    assert looks <= 8  # steady traffic: interpolation between proofs is far quicker than halving


async def test_nothing_waiting_asks_for_no_time(shop: Shop) -> None:
    topic, group = shop.topic("orders"), unique("payment")
    shop.publish(topic, 4)
    shop.commit(group, topic, 4)
    sample = lags(await look(shop), group)[topic, "0"]
    assert (sample.ready, sample.oldest_at, sample.error_seconds) == (0, None, None)


async def test_a_topic_is_told_with_its_partitions_and_all_that_was_ever_published(shop: Shop) -> None:
    topic = shop.topic("orders", 3)
    shop.publish(topic, 8, partition=2)
    shop.trim(topic, 5, partition=2)
    found = (await look(shop)).destination(topic)
    assert (found.kind, found.partitions, found.published_total, found.messages) == ("topic", 3, 8, 3)


async def test_a_group_with_only_transaction_markers_ahead_is_caught_up(shop: Shop) -> None:
    topic, done, behind = shop.topic("orders"), unique("done"), unique("behind")
    shop.transact(topic, 3)  # offsets 0, 2, 4 hold messages; 1, 3, 5 markers
    shop.commit(done, topic, 5)
    shop.commit(behind, topic, 3)
    assert shop.by_the_tool(done)[topic, "0"] == (5, 6, 1)

    def proved(seen: Recorder) -> bool:
        return (lags(seen, done)[topic, "0"].ready, lags(seen, behind)[topic, "0"].ready) == (0, 1)

    seen = await run_until(collector("shop", shop.server.url, 0.1), lambda s: lags(s, done) and proved(s), seconds=30)
    assert proved(seen)
    shop.transact(topic)
    assert lags(await look(shop), done)[topic, "0"].ready == 3  # until it is looked at again


async def test_members_are_told_with_what_each_reads_and_again_only_when_that_changed(shop: Shop) -> None:
    topic, group = shop.topic("orders", 4), unique("payment")

    def reads(seen: Recorder) -> list[list[int]]:
        """How many partitions each member has, every time it was told."""
        told = [one for one in seen.of(GroupMembers) if one.group == group]
        return [sorted(len(member.partitions) for member in one.members) for one in told]

    first = shop.consumer(group, [topic], **{"client.id": "payment-1"})
    seen = Recorder()
    running = asyncio.create_task(collector("shop", shop.server.url, 0.2).run(seen))
    try:
        await seen.until(lambda now: reads(now) == [[4]], 30)
        second = await asyncio.to_thread(joined, shop, group, topic, first)
        await seen.until(lambda now: reads(now)[-1] == [2, 2], 90)
        looks = len(seen.of(SourceStatus))
        await seen.until(lambda now: len(now.of(SourceStatus)) > looks + 5)
        assert reads(seen).count([2, 2]) == 1
        newest = [one for one in seen.of(GroupMembers) if one.group == group][-1]
        assert {member.client for member in newest.members} == {"payment-1", "payment-2"}
        assert {partition for member in newest.members for partition in member.partitions} == {
            (topic, str(number)) for number in range(4)
        }
        for member in (first, second):
            await asyncio.to_thread(member.close)
        await seen.until(lambda now: reads(now)[-1] == [], 30)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def joined(shop: Shop, group: str, topic: str, first: Consumer) -> Consumer:
    """A second member; the first has to hear of it by polling."""
    second = Consumer({**shop.where, "group.id": group, "client.id": "payment-2", "enable.auto.commit": False})
    second.subscribe([topic])
    deadline = time.monotonic() + 30
    while not second.assignment() or len(first.assignment()) != 2:
        assert time.monotonic() < deadline
        first.poll(0.1)
        second.poll(0.1)
    return second
