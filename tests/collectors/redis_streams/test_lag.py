"""Lag of consumer groups, measured on a real server and compared with counting what is really there."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from collectors.base import CollectorError
from collectors.redis_streams import backlog, collector, parse
from eventflow.domain.observations import GroupMembers, LagSample
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.collectors.redis_streams.shop import connection, publish, read
from tests.redis_rabbitmq import RedisServer

pytestmark = pytest.mark.redis

GROUP = "payment"


async def look(server: RedisServer) -> Recorder:
    return await run_until(collector("shop", server.url, 0.05), one_cycle)


async def waiting(client: Redis, stream: str = "orders.placed") -> int:
    """Counted: what lies after the last delivered entry."""
    (group,) = await client.xinfo_groups(stream)
    return len(await client.xrange(stream, min=b"(" + group["last-delivered-id"]))


async def test_what_was_published_read_and_acknowledged_is_counted_exactly(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await publish(client, "orders.placed", 50)
        got = await read(client, "orders.placed", GROUP, 12)
        await client.xack("orders.placed", GROUP, *got[:10])
        (told,) = await client.xinfo_groups("orders.placed")
    found = await look(redis_server)
    lag = found.lag(GROUP)
    assert (lag.ready, lag.in_flight) == (38, 2) == (told["lag"], told["pending"])
    assert (lag.published_total, lag.delivered_total, lag.settled_total, lag.members) == (50, 12, 10, 1)
    assert (lag.destination, lag.system, lag.method) == ("orders.placed", "redis", "broker-exact")
    destination = found.destination("orders.placed")
    assert (destination.kind, destination.messages, destination.published_total) == ("stream", 50, 50)


async def test_after_trimming_the_lag_is_what_is_really_left_and_zero_when_caught_up(
    redis_server: RedisServer,
) -> None:
    """§9.6, test 2."""
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await publish(client, "orders.placed", 100)
        await read(client, "orders.placed", GROUP, 10)
        await client.xtrim("orders.placed", maxlen=30, approximate=False)
        found = await look(redis_server)
        assert found.lag(GROUP).ready == 30 == await waiting(client)  # Redis 7.0.15 itself says 90
        await read(client, "orders.placed", GROUP, 10)
        found = await look(redis_server)
        assert found.lag(GROUP).ready == 20 == await waiting(client)  # 80
        await read(client, "orders.placed", GROUP, 100)
        assert (await look(redis_server)).lag(GROUP).ready == 0  # 60, for ever
        await publish(client, "orders.placed", 3)
        assert (await look(redis_server)).lag(GROUP).ready == 3


async def test_what_was_trimmed_before_the_group_read_it_is_told_as_lost(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await publish(client, "orders.placed", 100)
        await client.xtrim("orders.placed", maxlen=30, approximate=False)
    found = await look(redis_server)
    assert (found.lag(GROUP).ready, found.lag(GROUP).delivered_total) == (30, 0)
    assert "70 entries were trimmed before payment on orders.placed had read them" in found.status.message


async def test_deleted_entries_ahead_of_the_group_do_not_wait(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        ids = await publish(client, "orders.placed", 20)
        await read(client, "orders.placed", GROUP, 5)
        await client.xdel("orders.placed", *ids[10:14])
        (told,) = await client.xinfo_groups("orders.placed")
        assert told["lag"] is None  # the server gives up
        lag = (await look(redis_server)).lag(GROUP)
        assert lag.ready == 11 == await waiting(client)


async def test_a_group_made_in_the_middle_of_the_stream_is_counted(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        ids = await publish(client, "orders.placed", 40)
        await client.xgroup_create("orders.placed", GROUP, id=ids[24])
        assert (await look(redis_server)).lag(GROUP).ready == 15 == await waiting(client)
        await client.xtrim("orders.placed", maxlen=20, approximate=False)
        assert (await look(redis_server)).lag(GROUP).ready == 15 == await waiting(client)


async def test_a_rewound_group_waits_for_all_again(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        ids = await publish(client, "orders.placed", 20)
        got = await read(client, "orders.placed", GROUP, 20)
        await client.xack("orders.placed", GROUP, *got)
        assert (await look(redis_server)).lag(GROUP).ready == 0
        await client.xgroup_setid("orders.placed", GROUP, ids[4])
        assert (await look(redis_server)).lag(GROUP).ready == 15 == await waiting(client)


async def test_a_count_too_long_for_one_cycle_is_said_to_go_on_and_then_told(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "PAGE_ENTRIES", 10)
    monkeypatch.setattr(backlog, "ROUNDS", 2)
    async with connection(redis_server) as client:
        ids = await publish(client, "orders.placed", 100)
        await client.xtrim("orders.placed", maxlen=90, approximate=False)
        await client.xgroup_create("orders.placed", GROUP, id=ids[29])
        found = await run_until(
            collector("shop", redis_server.url, 0.02), lambda seen: seen.lag(GROUP).ready is not None
        )
    first = found.of(LagSample)[0]
    assert first.ready is None
    assert first.unknown_reason is not None
    assert "being counted" in first.unknown_reason
    assert found.lag(GROUP).ready == 70


async def test_a_running_collector_stays_right_while_the_stream_is_written_read_and_trimmed(
    redis_server: RedisServer,
) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        seen = Recorder()
        running = asyncio.create_task(collector("shop", redis_server.url, 0.01).run(seen))
        for step in range(12):
            await publish(client, "orders.placed", 37, maxlen=60, approximate=False)
            await read(client, "orders.placed", GROUP, 11 if step < 8 else 29)
            expected, told = await waiting(client), len(seen.of(LagSample))
            await seen.until(lambda now, told=told: len(now.of(LagSample)) >= told + 2)  # type: ignore[misc]  # bound
            assert seen.lag(GROUP).ready == expected
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_oldest_waiting_entry_gives_the_age_and_pending_ones_count(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        (first,) = await publish(client, "orders.placed", 1)
        await asyncio.sleep(0.05)
        await publish(client, "orders.placed", 3)
        lag = (await look(redis_server)).lag(GROUP)
        oldest = datetime.fromtimestamp(int(first.split(b"-")[0]) / 1000, UTC)
        assert (lag.ready, lag.oldest_at) == (4, oldest)
        await read(client, "orders.placed", GROUP, 4)
        lag = (await look(redis_server)).lag(GROUP)
        assert (lag.ready, lag.in_flight, lag.oldest_at) == (0, 4, oldest)
        await client.xack("orders.placed", GROUP, first)
        lag = (await look(redis_server)).lag(GROUP)
        assert lag.oldest_at is not None
        assert lag.oldest_at > oldest


async def test_pending_entries_that_were_trimmed_away_give_no_age(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await publish(client, "orders.placed", 5)
        await read(client, "orders.placed", GROUP, 2)
        await client.xtrim("orders.placed", maxlen=3, approximate=False)
        await asyncio.sleep(0.01)
        lag = (await look(redis_server)).lag(GROUP)
        (left, *_) = await client.xrange("orders.placed")
    assert (lag.ready, lag.in_flight) == (3, 2)
    assert lag.oldest_at == datetime.fromtimestamp(int(left[0].split(b"-")[0]) / 1000, UTC)


async def test_ids_that_an_application_made_up_are_no_times(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await client.xadd("orders.placed", {"payload": "x"}, id="5-1")
    lag = (await look(redis_server)).lag(GROUP)
    assert (lag.ready, lag.oldest_at) == (1, None)


async def test_names_that_are_no_utf8_are_shown_and_nothing_fails(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create(b"or\xffders", b"gr\xfe", id="0", mkstream=True)
        await client.xadd(b"or\xffders", {b"\xff": b"\xfe"})
    assert (await look(redis_server)).lag("gr\\xfe").destination == "or\\xffders"


async def test_a_stream_that_is_gone_is_no_longer_told(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await client.set("not-a-stream", "x")
        seen = Recorder()
        running = asyncio.create_task(collector("shop", redis_server.url, 0.01).run(seen))
        await seen.until(lambda now: now.lag(GROUP))
        await client.delete("orders.placed")
        await seen.until(lambda now: now.of(LagSample)[-1:] and now.status.at > now.lag(GROUP).at)
        told = len(seen.of(LagSample))
        await asyncio.sleep(0.1)
        assert len(seen.of(LagSample)) <= told + 1
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_killed_server_is_said_and_the_next_run_goes_on(redis_process: Callable[..., RedisServer]) -> None:
    server = redis_process("--appendfsync", "always")
    async with connection(server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await publish(client, "orders.placed", 4)
    looks, seen = collector("shop", server.url, 0.02), Recorder()
    running = asyncio.create_task(looks.run(seen))
    await seen.until(lambda now: now.lag(GROUP).ready == 4)
    server.kill()
    with pytest.raises(CollectorError, match="closed the connection"):
        await running
    with pytest.raises(CollectorError, match="connection refused") as refused:
        await looks.run(seen)
    assert not refused.value.permanent
    server.start()
    again = await run_until(looks, one_cycle)
    assert again.lag(GROUP).ready == 4


async def test_consumers_are_told_with_what_each_holds_and_when_it_was_heard_of(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", GROUP, id="0", mkstream=True)
        await client.xgroup_create("orders.placed", "idle", id="$")
        await client.xgroup_createconsumer("orders.placed", "idle", "waits")
        await client.xgroup_create("orders.paid", GROUP, id="0", mkstream=True)
        await publish(client, "orders.placed", 10)
        await client.xreadgroup(GROUP, "one", {"orders.placed": ">"}, count=3)
        await client.xreadgroup(GROUP, "two", {"orders.placed": ">"}, count=4)
        before = datetime.now(UTC)
        seen = await look(redis_server)
        by_the_tool = await client.xinfo_consumers("orders.placed", GROUP)
    found = {(one.destination, one.group): one for one in seen.of(GroupMembers)}
    held = [(one.id, one.in_flight) for one in found["orders.placed", GROUP].members or ()]
    assert held == [("one", 3), ("two", 4)] == [(one["name"].decode(), one["pending"]) for one in by_the_tool]
    for member in found["orders.placed", GROUP].members or ():
        assert member.active_at is not None
        assert abs((member.active_at - before).total_seconds()) < 2
    # A group of the same name on another stream is another group; where nothing waits they are asked for in turn.
    assert [one.id for one in found["orders.placed", "idle"].members or ()] == ["waits"]
    assert ("orders.paid", GROUP) not in found or found["orders.paid", GROUP].members == ()


def test_when_a_consumer_got_something_at_last_is_told_where_redis_does() -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    names = [b"name", b"one", b"pending", 2, b"idle", 1500]
    old, new, never = (parse.consumers([[*names, *more]], now) for more in ((), (b"inactive", 9000), (b"inactive", -1)))
    assert old and new and never
    assert (old[0].active_at, old[0].got_at) == (now - timedelta(seconds=1.5), None)
    assert (new[0].got_at, never[0].got_at) == (now - timedelta(seconds=9), None)
