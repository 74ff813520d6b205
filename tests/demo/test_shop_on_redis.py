"""The shop on real Redis Streams: the same orders and faults as on NATS, judged by the streams and their groups."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from demo.processes import DemoError, Shop, running_url
from demo.shop import brokers, checkout, faults, redis_broker
from demo.shop.broker import Broker
from demo.shop.contract import GROUPS, Group
from demo.shop.service import Context
from tests import required
from tests.demo.conftest import HEARD_SECONDS, Sink, until
from tests.demo.test_shop import OF_ORDERS_PLACED, honoured, new_order, place

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"), sink.url, rate=0.01, story=False, broker="redis")
    try:
        shop.start()
    except DemoError as error:
        required.missing("redis", str(error))
    yield shop
    shop.stop()


@pytest.fixture
async def broker(shop: Shop) -> AsyncIterator[Broker]:
    broker = await brokers.connect(shop.url, "test", patient=False)
    yield broker
    for fault in faults.FAULTS:
        await faults.switch(broker, fault, False)
    await broker.close()


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Any]:
    client = Redis(port=int(shop.url.rpartition(":")[2]))
    yield client
    await client.aclose()


SwitchOn = Callable[[str], Awaitable[None]]


@pytest.fixture
def switch_on(broker: Broker) -> SwitchOn:
    async def switch_on(fault: str) -> None:
        await faults.switch(broker, fault, True)
        await asyncio.sleep(HEARD_SECONDS)

    return switch_on


async def letters(client: Any, group: str, correlation_id: str) -> list[tuple[dict[str, str], bytes]]:
    found = []
    for _, fields in await client.xrange(f"dlq.{group}"):
        headers = {name.decode(): value.decode() for name, value in fields.items() if name != b"payload"}
        if headers.get("correlation-id") == correlation_id:
            found.append((headers, fields[b"payload"]))
    return found


async def backlog(client: Any, group: str) -> tuple[int, int]:
    """What waits and what is out, counted."""
    [told] = [one for one in await client.xinfo_groups(GROUPS[group].subject) if one["name"].decode() == group]
    waiting = await client.xrange(GROUPS[group].subject, min=b"(" + told["last-delivered-id"])
    return len(waiting), told["pending"]


async def becomes(look: Callable[[], Awaitable[Any]], right: Callable[[Any], bool] = bool, seconds: float = 40) -> Any:
    """What `look` says once it is right; its last word when time is up."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not right(found := await look()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.2)
    return found


async def test_an_order_is_paid_reserved_confirmed_shipped_and_written_about(broker: Broker, sink: Sink) -> None:
    order = new_order(accept=honoured)
    await place(broker, order)
    expected = set(GROUPS) - {"inventory-release", "order-releases"}

    def groups() -> set[str]:
        return {span.group for span in sink.of(order.correlation_id)} - {""}

    assert await until(lambda: groups() == expected, 60), expected - groups()
    [paying] = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
    assert paying.attributes["messaging.system"] == "redis"


async def test_a_gift_card_order_dead_letters_after_four_attempts_and_its_replay_succeeds(
    broker: Broker, sink: Sink, client: Any, switch_on: SwitchOn
) -> None:
    await switch_on("gift-card")
    order = new_order("gift-card")
    await place(broker, order)
    [(headers, body)] = await becomes(lambda: letters(client, "payment", order.correlation_id))
    assert body == order.body()
    assert (headers["x-attempts"], headers["x-original-stream"]) == ("4", "orders.placed")
    assert headers["x-exception-type"] == "demo.shop.giftcards.GiftCardBalanceError"

    def attempts() -> list[int]:
        spans = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
        return [span.attributes["messaging.message.delivery_attempt"] for span in spans]

    assert await until(lambda: attempts() == [1, 2, 3, 4]), attempts()
    assert await becomes(lambda: backlog(client, "payment"), lambda left: left == (0, 0)) == (0, 0)

    await faults.switch(broker, "gift-card", False)
    await asyncio.sleep(HEARD_SECONDS)
    token = str(uuid4())
    kept = {name: value for name, value in headers.items() if not name.startswith("x-")}
    await broker.publish("orders.placed", body, {**kept, "message-id": token})

    def replayed() -> set[str]:
        return {span.group for span in sink.spans if span.attributes.get("messaging.message.id") == token}

    assert await until(lambda: replayed() == OF_ORDERS_PLACED, 30)
    assert await until(lambda: any(s.name == "send orders.confirmed" for s in sink.of(order.correlation_id)), 30)


async def test_a_poison_message_is_given_up_at_once_by_one_group(
    broker: Broker, client: Any, switch_on: SwitchOn
) -> None:
    await switch_on("poison")
    order = new_order()
    await place(broker, order, encoding="utf-16")
    [(headers, body)] = await becomes(lambda: letters(client, "fraud-check", order.correlation_id))
    assert (headers["x-attempts"], headers["x-exception-type"]) == ("1", "demo.shop.events.UndecodableError")
    assert body == order.body().decode().encode("utf-16")


async def test_a_duplicate_is_published_twice_and_skipped(broker: Broker, sink: Sink, switch_on: SwitchOn) -> None:
    await switch_on("duplicate")
    state = await faults.current(broker)
    for _ in range(9):
        await checkout.place(checkout.new_order(), Context("checkout", broker, state))

    def skips() -> list[Any]:
        skipped = "skipped: this event was handled before"
        return [span for span in sink.spans if span.group == "inventory" and skipped in span.events]

    assert await until(skips, 30)


async def test_a_stopped_consumer_reads_nothing_until_it_is_started_again(
    broker: Broker, client: Any, switch_on: SwitchOn
) -> None:
    await switch_on("stopped-consumer")
    for _ in range(6):
        await place(broker, new_order(accept=honoured))
    # A read that was already under way may still take one message.
    assert (await becomes(lambda: backlog(client, "shipping"), lambda left: left[0] >= 5))[0] >= 5
    await faults.switch(broker, "stopped-consumer", False)
    assert await becomes(lambda: backlog(client, "shipping"), lambda left: left == (0, 0)) == (0, 0)


async def test_a_slow_consumer_falls_behind_and_catches_up(broker: Broker, client: Any, switch_on: SwitchOn) -> None:
    await switch_on("slow-consumer")
    for _ in range(20):
        await place(broker, new_order(accept=honoured))
    assert (await becomes(lambda: backlog(client, "email"), lambda left: left[0] > 10))[0] > 10
    await faults.switch(broker, "slow-consumer", False)
    assert await becomes(lambda: backlog(client, "email"), lambda left: left == (0, 0)) == (0, 0)


async def test_what_a_dead_process_held_is_taken_over(
    broker: Broker, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_broker, "ABANDONED_MS", 200)
    await client.xgroup_create("orders.flagged", "test-group", id="$", mkstream=True)
    await broker.publish("orders.flagged", b"{}", {"Nats-Msg-Id": "m1"})
    [[_, [(held, _)]]] = await client.xreadgroup("test-group", "died", {"orders.flagged": ">"}, count=1)
    await asyncio.sleep(0.4)
    group = Group("test-group", "ORDERS", "orders.flagged")
    found = await broker.next(group, 5)
    assert found is not None
    assert (found.attempt, found.headers, found.receipt) == (2, {"Nats-Msg-Id": "m1"}, ("test-group", held))
    await client.xgroup_destroy("orders.flagged", "test-group")


async def test_the_story_does_not_touch_what_a_person_has_touched(broker: Broker) -> None:
    await faults.switch(broker, "gift-card", False)
    assert not await faults.switch(broker, "gift-card", True, by=faults.STORY)
    assert not (await faults.current(broker)).on("gift-card")


def test_it_is_known_to_run_by_its_folder(shop: Shop) -> None:
    assert running_url(shop.folder) == shop.url


def test_without_redis_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="install the package redis-server"):
        Shop(tmp_path, "http://127.0.0.1:9", broker="redis").start()
