"""Share groups on a real broker: members, start and lag, judged by Kafka's own ShareGroupCommand."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from confluent_kafka import ShareConsumer

from collectors.kafka import collector, parse, replayer
from collectors.kafka.parse import Ends, Group, Partition
from collectors.kafka.share_groups import ShareGroups
from demo import kafka
from tests.collectors.kafka.shop import Shop, lags, unique
from tests.collectors.recorder import Recorder, run_until

pytestmark = pytest.mark.kafka


@contextmanager
def sharing(shop: Shop, group: str, topic: str) -> Iterator[ShareConsumer]:
    """A member that acknowledges each record itself, from the first one on."""
    shop.server.tool(
        kafka.TOOL_CONFIGS, "--alter", "--entity-type", "groups", "--entity-name", group, "--add-config",
        "share.auto.offset.reset=earliest",
    )  # fmt: skip
    member = ShareConsumer({**shop.where, "group.id": group, "share.acknowledgement.mode": "explicit"})
    member.subscribe([topic])
    try:
        yield member
    finally:
        member.close()


def take(member: ShareConsumer, how_many: int) -> None:
    """Done with so many records; the others that came with them are given back."""
    deadline = time.monotonic() + 40
    done = 0
    while done < how_many and time.monotonic() < deadline:
        for message in member.poll(1.0):
            assert message.error() is None
            kind = 1 if done < how_many else 2  # accept, else release
            member.acknowledge(message, kind)
            done += kind == 1
        member.commit_sync()
    assert done == how_many


def by_the_tool(shop: Shop, group: str, topic: str) -> tuple[int, int]:
    """Start and lag."""
    for line in shop.server.groups_as_the_tool_tells(kafka.TOOL_SHARE_GROUPS).splitlines():
        words = line.split()
        if words[:2] == [group, topic]:
            return int(words[3]), int(words[4])
    raise AssertionError("the tool does not know the group")


async def test_a_share_groups_lag_and_members_are_what_kafkas_own_tool_says(shop: Shop) -> None:
    topic, group = shop.topic("orders"), unique("sharing")
    shop.publish(topic, 20)

    def take_five() -> tuple[Recorder, tuple[int, int]]:
        with sharing(shop, group, topic) as member:
            take(member, 5)
            seen = asyncio.run(look(shop, lambda now: lags(now, group)[topic, "0"].ready == 15, group))
            asyncio.run(receivers(shop, topic, group))
            return seen, by_the_tool(shop, group, topic)

    seen, told = await asyncio.to_thread(take_five)
    sample = lags(seen, group)[topic, "0"]
    assert told[1] == sample.ready == 15
    # Kafka's start of the group moves late; what it has done is counted from the lag.
    assert (sample.settled_total, sample.published_total, sample.members) == (5, 20, 1)
    assert seen.status.message == ""


async def receivers(shop: Shop, topic: str, group: str) -> None:
    """Who would get a replayed message is told with share groups."""
    sender = replayer("shop", shop.server.url)
    try:
        assert (await sender.receivers(topic, None)).groups == (group,)
    finally:
        await sender.close()


async def look(shop: Shop, until: object, group: str) -> Recorder:
    def seen_so(now: Recorder) -> bool:
        return bool(lags(now, group)) and until(now) and bool(now.status)  # type: ignore[operator]  # a condition

    return await run_until(collector("shop", shop.server.url, 0.1), seen_so, seconds=40)


@pytest.mark.parametrize(
    ("told", "ready", "reason"),
    [(7, 7, None), (-1, None, parse.NO_SHARE_LAG), (None, None, parse.NOT_BEGUN)],
    ids=["told", "before Kafka 4.2", "not begun"],
)
def test_a_share_groups_lag_is_the_brokers_word_or_unknown(
    told: int | None, ready: int | None, reason: str | None
) -> None:
    at, now = Partition("orders", 0), datetime(2026, 11, 25, tzinfo=UTC)
    group = Group("sharing", parse.SHARE, "stable", members=1, assigned={at}, readers={"orders": 1})
    if told is not None:
        group.commits[at], group.told[at] = 3, told
    (sample,) = parse.lags("shop", group, {"orders": 1}, Ends({at: 0}, {at: 20}), at=now)
    assert (sample.ready, sample.unknown_reason) == (ready, reason)


def test_what_a_share_group_has_done_never_falls_unless_it_was_set_back() -> None:
    at, groups = Partition("orders", 0), ShareGroups()

    def done(start: int, lag: int, end: int) -> int:
        group = Group("sharing", parse.SHARE, "stable", commits={at: start}, told={at: lag})
        groups.count([group], {at: end})
        return group.done[at]

    assert [done(0, 15, 20), done(0, 16, 20), done(5, 10, 20)] == [5, 5, 10]
    assert done(0, 20, 20) == 0
