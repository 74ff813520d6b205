"""Queues as RabbitMQ tells them, measured on a real server and compared with rabbitmqctl."""

import asyncio
import time
from datetime import UTC, datetime
from importlib import import_module

import pytest

from collectors.base import CollectorError
from collectors.rabbitmq import collector
from eventflow.domain.observations import DestinationSample, LagSample, SourceStatus
from tests.collectors.rabbitmq.shop import Vhost, publish
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.redis_rabbitmq import RabbitMqServer

pytestmark = pytest.mark.rabbitmq


def by(server: RabbitMqServer, path: str, url: str) -> str:
    """The same source, its numbers from the management API or from the metrics."""
    return f"{url}?prometheus={server.metrics}" if path == "metrics" else url


@pytest.mark.parametrize("path", ["management", "metrics"])
@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_what_waits_and_what_is_out_is_counted_exactly(vhost: Vhost, kind: str, path: str) -> None:
    vhost.queue("payment", queue_type=kind)
    async with vhost.channel() as channel:
        await publish(channel, "payment", 20)
        await channel.set_qos(prefetch_count=5)
        got: asyncio.Queue[object] = asyncio.Queue()
        reading = await channel.get_queue("payment")
        settled = 0

        async def on_message(message: object) -> None:
            await got.put(message)

        await reading.consume(on_message)
        while settled < 3:
            await (await got.get()).ack()  # type: ignore[attr-defined]  # an incoming message
            settled += 1
        url = by(vhost.server, path, vhost.url)
        found = await run_until(
            collector("shop", url, 0.2),
            lambda seen: seen.lag("payment").in_flight == 5 and seen.lag("payment").settled_total == 3,
            seconds=30,
        )
        lag = found.lag("payment")
        assert (lag.ready, lag.in_flight, lag.members, lag.settled_total) == (12, 5, 1, 3)
        assert (lag.published_total, lag.delivered_total) == (20, 8)
        assert (lag.destination, lag.container, lag.subscriptions) == ("payment", vhost.name, ("payment",))
        assert (found.destination("payment").kind, found.destination("payment").messages) == ("queue", 17)
        told = await asyncio.to_thread(
            vhost.server.control, "list_queues", "-p", vhost.name, "messages_ready", "messages_unacknowledged"
        )
        assert told.split()[-2:] == ["12", "5"]


async def test_the_publishers_timestamp_of_the_head_gives_the_age(vhost: Vhost) -> None:
    vhost.queue("payment")
    at = datetime.fromtimestamp(int(time.time()) - 90, UTC)
    async with vhost.channel() as channel:
        await publish(channel, "payment", 1, timestamp=at)
        await publish(channel, "payment", 1)
    found = await run_until(
        collector("shop", vhost.url, 0.2), lambda seen: seen.lag("payment").oldest_at is not None, seconds=30
    )
    lag = found.lag("payment")
    assert (lag.ready, lag.oldest_at, lag.error_seconds) == (2, at, 1.0)


async def test_a_stream_keeps_what_was_read_so_its_lag_is_unknown_with_the_reason(vhost: Vhost) -> None:
    vhost.queue("events", queue_type="stream")
    async with vhost.channel() as channel:
        await publish(channel, "events", 3)
        await channel.set_qos(prefetch_count=10)
        reading = await channel.get_queue("events")

        async def on_message(message: object) -> None:
            del message  # taken and not settled

        await reading.consume(on_message, arguments={"x-stream-offset": "first"})
        found = await run_until(collector("shop", vhost.url, 0.2), lambda seen: seen.lag("events").members, seconds=30)
    assert found.lag("events").ready is None
    assert "offsets are not told" in (found.lag("events").unknown_reason or "")
    assert found.destination("events").kind == "stream"


async def test_exchanges_that_feed_a_queue_are_among_its_subscriptions(vhost: Vhost) -> None:
    vhost.queue("payment")
    vhost.exchange("shop", "topic")
    vhost.bind("shop", "payment", "orders.#")
    found = await run_until(collector("shop", vhost.url, 0.2), one_cycle)
    assert found.lag("payment").subscriptions == ("payment", "shop", "orders.>")


async def test_dead_letter_routes_are_told_as_configured_and_the_lost_ones_as_lost(vhost: Vhost) -> None:
    vhost.exchange("dlx", "direct")
    vhost.queue("dlq.payment")
    vhost.queue("parking", max_length=1000)
    vhost.queue("old.dead.letters")
    vhost.bind("dlx", "dlq.payment", "payment")
    vhost.queue("payment", dead_letter_exchange="dlx", dead_letter_routing_key="payment")
    vhost.queue("email", dead_letter_exchange="", dead_letter_routing_key="parking")
    vhost.queue("audit", dead_letter_exchange="nowhere")
    vhost.queue("fraud", dead_letter_exchange="dlx", dead_letter_routing_key="fraud")
    vhost.put(
        f"policies/{vhost.name}/dead",
        {"pattern": "^ship", "definition": {"dead-letter-exchange": "dlx", "dead-letter-routing-key": "payment"}},
    )
    vhost.queue("shipping")
    async with vhost.channel() as channel:
        await publish(channel, "payment", 3)
        message = await (await channel.get_queue("payment")).get()
        await message.reject(requeue=False)
    found = await run_until(
        collector("shop", vhost.url, 0.2), lambda seen: seen.destination("dlq.payment").messages == 1, seconds=30
    )
    told = {
        one.destination: (one.dead_letters_of, one.dead_letter_certainty)
        for one in (found.destination(name) for name in ("dlq.payment", "parking", "old.dead.letters", "payment"))
    }
    assert told == {
        "dlq.payment": (("payment", "shipping"), "configured"),
        "parking": (("email",), "configured"),
        "old.dead.letters": (("old",), "by-name"),
        "payment": ((), None),
    }
    assert "audit (there is no exchange nowhere)" in found.status.message
    assert "fraud (nothing is bound to exchange dlx with key fraud)" in found.status.message
    lost = {one.destination: one.letters_lost for one in found.of(DestinationSample) if one.letters_lost}
    assert lost == {
        "audit": "there is no exchange nowhere",
        "fraud": "nothing is bound to exchange dlx with key fraud",
    }
    assert found.destination("parking").kept_messages == 1000
    assert "counted, not read" in found.status.message
    groups = {sample.group for sample in found.of(LagSample)}
    assert groups == {"payment", "email", "audit", "fraud", "shipping"}  # nobody reads letters: no group waits for them


async def test_what_a_dead_letter_queue_drops_is_told_and_a_mended_route_is_mended(vhost: Vhost) -> None:
    vhost.queue("dlq.timed", message_ttl=600_000)
    vhost.queue("dlq.unused", expires=3_600_000)
    vhost.queue("dlq.retry", message_ttl=5000, dead_letter_exchange="", dead_letter_routing_key="orders")
    vhost.queue("orders", dead_letter_exchange="", dead_letter_routing_key="dlq.orders")
    watcher = collector("shop", vhost.url, 0.2)
    found = await run_until(watcher, one_cycle)
    timed, unused, retry = (found.destination(f"dlq.{name}") for name in ("timed", "unused", "retry"))
    assert (timed.kept_seconds, timed.kept_messages, timed.letters_lost) == (600.0, None, None)
    assert unused.letters_lost == "the queue is deleted with all that it holds after 3,600 s without a consumer"
    assert (retry.kept_seconds, retry.letters_lost) == (None, None)  # moves its messages on, drops none
    assert found.destination("orders").letters_lost == "there is no queue dlq.orders"
    vhost.queue("dlq.orders")
    found = await run_until(watcher, lambda seen: seen.destination("dlq.orders"), seconds=30)
    assert found.destination("orders").letters_lost is None


async def test_ten_looks_at_a_full_dead_letter_queue_lose_nothing(vhost: Vhost) -> None:
    """§9.6, test 4."""
    vhost.queue("dlq.payment", queue_type="quorum", delivery_limit=2)
    async with vhost.channel() as channel:
        await publish(channel, "dlq.payment", 3)
        found = Recorder()
        await run_until(
            collector("shop", vhost.url, 0.02),
            lambda seen: len(seen.of(SourceStatus)) >= 10,
            recorder=found,
        )
        queue = await channel.get_queue("dlq.payment")
        messages = [await queue.get(no_ack=True) for _ in range(3)]
    assert [message.body for message in messages] == [b"0", b"1", b"2"]
    assert not any(message.redelivered or message.headers.get("x-delivery-count") for message in messages)


async def test_a_user_without_the_vhost_is_told_so_and_not_that_it_is_empty(vhost: Vhost) -> None:
    """§9.6, test 5."""
    vhost.queue("payment")
    vhost.put("users/watcher", {"password": "s3cret", "tags": "monitoring"})
    looks = collector("shop", vhost.server.url(vhost.name, "watcher", "s3cret"), 0.2)
    found = Recorder()
    with pytest.raises(CollectorError, match="give the user permissions there") as refused:
        await run_until(looks, lambda seen: seen.of(LagSample), recorder=found)
    assert not refused.value.permanent
    assert (found.status.state, found.status.rights["list queues"]) == ("blind", "denied")
    vhost.put(f"permissions/{vhost.name}/watcher", {"configure": "^$", "write": "^$", "read": "^$"})
    seen = await run_until(looks, lambda now: now.lag("payment").ready == 0)
    assert set(seen.status.rights.values()) == {"allowed"}
    assert (seen.status.calls >= 1, seen.status.received_bytes > 100) == (True, True)


async def test_wrong_credentials_and_users_without_the_tag_stop_it_for_good(vhost: Vhost) -> None:
    vhost.put("users/nobody", {"password": "s3cret", "tags": ""})
    for user, password, why in (("guest", "wr0ng", "refuses our credentials"), ("nobody", "s3cret", "tag monitoring")):
        with pytest.raises(CollectorError, match=why) as refused:
            await run_until(collector("shop", vhost.server.url(vhost.name, user, password), 0.2), one_cycle)
        assert refused.value.permanent
        assert password not in str(refused.value)
    with pytest.raises(CollectorError, match="has no vhost nowhere"):
        await run_until(collector("shop", vhost.server.url("nowhere"), 0.2), one_cycle)


async def test_more_queues_than_a_page_are_all_seen(vhost: Vhost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("collectors.rabbitmq.collector"), "PAGE", 3)
    for number in range(7):
        vhost.queue(f"q{number}")
    for path in ("management", "metrics"):
        found = await run_until(
            collector("shop", by(vhost.server, path, vhost.url), 0.2),
            lambda seen: (
                {sample.group for sample in seen.of(LagSample)} == {f"q{n}" for n in range(7)}
                and all(seen.lag(f"q{n}").ready == 0 for n in range(7))
            ),
        )
        assert ("?prometheus=15692" in found.status.message) == (path == "management")


async def test_a_killed_server_is_said_and_the_next_run_goes_on(vhost: Vhost) -> None:
    vhost.queue("payment", queue_type="quorum")
    async with vhost.channel() as channel:
        await publish(channel, "payment", 4)
    looks, seen = collector("shop", vhost.url, 0.1), Recorder()
    running = asyncio.create_task(looks.run(seen))
    await seen.until(lambda now: now.lag("payment").ready == 4, seconds=30)
    await asyncio.to_thread(vhost.server.kill)
    with pytest.raises(CollectorError, match=r"connection refused|closed the connection"):
        await running
    with pytest.raises(CollectorError, match="connection refused") as refused:
        await looks.run(seen)
    assert not refused.value.permanent
    await asyncio.to_thread(vhost.server.start)
    again = await run_until(looks, lambda now: now.lag("payment").ready == 4, seconds=60)
    assert again.status.state == "ok"
