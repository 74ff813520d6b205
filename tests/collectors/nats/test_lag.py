"""Lag as JetStream tells it, measured on a real server."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from collectors.nats import collector, parse
from eventflow.domain.observations import GroupMembers, LagSample, Observation
from tests.collectors.nats.shop import ADVISORIES, connection, consumer
from tests.collectors.recorder import one_cycle, run_until
from tests.services import NatsServer

pytestmark = pytest.mark.nats


async def test_lag_counts_only_what_the_filter_takes(nats_server: str) -> None:
    """§9.6, test 3."""
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        for number in range(50):
            await js.publish("orders.placed", b"%d" % number)
            await js.publish("orders.cancelled", b"%d" % number)
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        for message in await reading.fetch(10):
            await message.ack_sync()
    lag = (await run_until(collector("shop", nats_server, 0.2), one_cycle)).lag("payment")
    assert (lag.ready, lag.in_flight) == (40, 0)  # last_seq − delivered.stream_seq says 81
    assert (lag.destination, lag.container, lag.subscriptions) == ("orders.placed", "ORDERS", ("orders.placed",))
    assert (lag.published_total, lag.delivered_total, lag.settled_total) == (50, 10, 10)


async def test_the_oldest_waiting_message_is_told_with_its_own_time(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        await js.publish("orders.placed", b"done")
        await js.publish("orders.cancelled", b"not for payment")
        await asyncio.sleep(0.3)
        between = datetime.now(UTC)
        await js.publish("orders.placed", b"waits")
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        await (await reading.fetch(1))[0].ack_sync()
    lag = (await run_until(collector("shop", nats_server, 0.2), one_cycle)).lag("payment")
    assert lag.ready == 1
    assert lag.oldest_at is not None
    assert abs((lag.oldest_at - between).total_seconds()) < 0.25


async def test_a_waiting_message_that_is_deleted_no_longer_gives_the_age(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        for body in (b"head", b"deleted", b"stays"):
            await js.publish("orders.placed", body)
            await asyncio.sleep(0.3)
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        await (await reading.fetch(1))[0].ack_sync()
        told: list[datetime | None] = []
        changed = asyncio.Event()

        async def emit(batch: Sequence[Observation]) -> None:
            for sample in batch:
                if isinstance(sample, LagSample):
                    told.append(sample.oldest_at)
                    if len(told) == 3:
                        await js.delete_msg("ORDERS", 2)
            if len(set(told)) > 1:
                changed.set()

        running = asyncio.create_task(collector("shop", nats_server, 0.1).run(emit))
        try:
            await asyncio.wait_for(changed.wait(), 10)
        finally:
            running.cancel()
    first, last = told[0], told[-1]
    assert first is not None and last is not None and told[1] == told[2] == first
    assert (last - first).total_seconds() == pytest.approx(0.3, abs=0.2)


async def test_a_consumer_that_gave_a_message_up_has_no_lag_although_its_ack_floor_is_stuck(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed", max_deliver=2, ack_wait=0.3)
        await js.publish("orders.placed", b"poison")
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        for _ in range(2):
            await (await reading.fetch(1))[0].nak()
        with pytest.raises(TimeoutError):
            await reading.fetch(1, timeout=0.6)
        info = await js.consumer_info("ORDERS", "payment")
        assert info.ack_floor is not None
        assert info.ack_floor.stream_seq == 0
    lag = (await run_until(collector("shop", nats_server, 0.2), one_cycle)).lag("payment")
    assert (lag.ready, lag.in_flight, lag.oldest_at) == (0, 0, None)


async def test_messages_in_flight_are_told_apart_and_give_their_age(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        await js.publish("orders.placed", b"1")
        await js.publish("orders.placed", b"2")
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        await reading.fetch(2)
        lag = (await run_until(collector("shop", nats_server, 0.2), one_cycle)).lag("payment")
    assert (lag.ready, lag.in_flight) == (0, 2)
    assert lag.oldest_at is not None


async def test_a_consumer_of_a_pattern_is_shown_under_it_and_ephemeral_ones_are_not_shown(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "audit-orders", "orders.>")
        await consumer(js, "ORDERS", "everything", None)
        await js.subscribe("orders.placed")
        found = await run_until(collector("shop", nats_server, 0.2), one_cycle)
    lags = {item.group: item.destination for item in found.seen if hasattr(item, "group")}
    assert lags == {"audit-orders": "orders.>", "everything": "orders.>"}


async def test_subjects_and_streams_are_told_with_their_counts(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        for subject in ("orders.placed", "orders.placed", "orders.cancelled"):
            await js.publish(subject, b"x")
    found = await run_until(collector("shop", nats_server, 0.2), one_cycle)
    placed, stream = found.destination("orders.placed"), found.destination("ORDERS")
    assert (placed.kind, placed.messages, placed.container, placed.published_total) == ("subject", 2, "ORDERS", 2)
    assert (stream.kind, stream.messages, stream.published_total, stream.container) == ("stream", 3, 3, None)
    assert stream.size_bytes


async def test_a_killed_server_is_an_error_at_once_and_a_restarted_one_is_seen_again(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process()
    async with connection(server.url) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        await js.publish("orders.placed", b"1")
    looking = collector("shop", server.url, 0.1)
    await run_until(looking, one_cycle)

    running = asyncio.create_task(looking.run(lambda batch: asyncio.sleep(0)))
    await asyncio.sleep(0.5)
    server.kill()
    async with asyncio.timeout(3):
        with pytest.raises(Exception, match="closed the connection") as lost:
            await running
    assert getattr(lost.value, "permanent", None) is False
    with pytest.raises(Exception, match="connection refused"):
        await looking.run(lambda batch: asyncio.sleep(0))
    server.start()
    assert (await run_until(looking, one_cycle)).lag("payment").ready == 1


async def test_more_consumers_than_fit_on_a_page_are_all_seen(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        for number in range(300):
            await consumer(js, "ORDERS", f"group-{number}", "orders.placed", mem_storage=True)
    found = await run_until(collector("shop", nats_server, 0.2), one_cycle)
    assert len({item.group for item in found.seen if hasattr(item, "group")}) == 300


async def test_a_stream_of_very_many_subjects_is_told_whole_and_the_status_says_so(nats_server: str) -> None:
    async with connection(nats_server) as (client, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        for number in range(1001):
            await client.publish(f"orders.{number}", b"x")
        await js.publish("orders.last", b"x")
    found = await run_until(collector("shop", nats_server, 0.2), one_cycle)
    assert [item.destination for item in found.seen if hasattr(item, "dead_letters_of")] == ["ORDERS"]
    assert "ORDERS" in found.status.message


async def test_key_value_buckets_and_kept_advisories_are_no_destinations(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.create_key_value(bucket="settings")
        await js.add_stream(name="ADVISORIES", subjects=ADVISORIES)
    found = await run_until(collector("shop", nats_server, 0.2), one_cycle)
    assert [item for item in found.seen if hasattr(item, "dead_letters_of")] == []
    assert "hear advisories" not in found.status.rights


async def test_what_jetstream_tells_of_readers_is_told_and_that_it_tells_no_names(nats_server: str) -> None:
    async with connection(nats_server) as (client, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed", max_waiting=8)
        pushed = {"deliver_subject": "to.email", "deliver_group": "emailers"}
        await consumer(js, "ORDERS", "email", "orders.placed", **pushed)
        await consumer(js, "ORDERS", "absent", "orders.paid", deliver_subject="to.absent")
        reading = await js.pull_subscribe_bind("payment", "ORDERS")
        await client.subscribe("to.email", "emailers")
        pulling = asyncio.create_task(reading.fetch(1, timeout=20))
        await asyncio.sleep(0.3)
        seen = await run_until(collector("shop", nats_server, 0.2), one_cycle)
        pulling.cancel()
        await asyncio.gather(pulling, return_exceptions=True)
    found = {one.group: one for one in seen.of(GroupMembers)}
    assert {(one.members, one.note) for one in found.values()} == {(None, parse.NOT_TOLD)}
    assert found["payment"].destination == "orders.placed"
    told = {group: dict(one.told) for group, one in found.items()}
    assert (told["payment"]["pulls waiting"], told["payment"]["most pulls waiting"]) == ("1", "8")
    assert (told["payment"]["acknowledges"], told["payment"].get("leader")) == ("each message", None)
    assert (told["email"]["pushed to"], told["email"]["queue group"]) == ("to.email", "emailers")
    assert (told["email"]["somebody subscribed"], told["absent"]["somebody subscribed"]) == ("yes", "no")


def test_the_leader_of_a_clustered_consumer_is_told() -> None:
    sample = LagSample("shop", "nats", "orders.placed", "payment", datetime(2026, 11, 25, tzinfo=UTC), 0)
    told = parse.readers("shop", sample, {"config": {}, "num_waiting": 0, "cluster": {"name": "C1", "leader": "n2"}})
    assert dict(told.told) == {"pulls waiting": "0", "leader": "n2"}
