"""What the shop does on whatever broker it runs: orders go through, and each of its six faults does what its name says.

A test module for a broker says how to start it (`shop`) and who judges it (`judge`), and inherits the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol
from uuid import uuid4

import pytest

from demo.processes import DemoError, Shop, running_url
from demo.shop import brokers, checkout, faults
from demo.shop.broker import Broker
from demo.shop.contract import GROUPS
from demo.shop.faults import strikes
from demo.shop.service import Context
from tests import required
from tests.demo.conftest import HEARD_SECONDS, SeenSpan, Sink, until
from tests.demo.test_shop import OF_ORDERS_PLACED, PRODUCER, honoured, new_order, place

SwitchOn = Callable[[str], Awaitable[None]]
Letter = tuple[dict[str, str], bytes]
SECONDS = 60


class Judge(Protocol):
    """Looks at the broker itself, leaving no trace that matters there."""

    async def letters(self, group: str, correlation_id: str) -> list[Letter]:
        """The dead letters of an order that a group gave up."""
        ...

    async def waiting(self, group: str) -> int:
        """What the group has not done yet, as far as this broker tells."""
        ...

    async def replay(self, broker: Broker, headers: dict[str, str], body: bytes) -> set[str]:
        """Put it back; the groups that get it."""
        ...


def running(folder: Any, sink: Sink, name: str) -> Shop:
    """A shop in which hardly an order happens by itself: tests place their own."""
    shop = Shop(folder, sink.url, rate=0.01, story=False, broker=name)
    try:
        shop.start()
    except DemoError as error:
        required.missing(name, str(error))
    return shop


async def becomes(look: Callable[[], Awaitable[Any]], right: Callable[[Any], bool] = bool) -> Any:
    """What `look` says once it is right; its last word when time is up."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    while not right(found := await look()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.2)
    return found


class ShopOnABroker:
    """The tests that every broker's module inherits."""

    system = ""

    @pytest.fixture
    async def broker(self, shop: Shop) -> AsyncIterator[Broker]:
        broker = await brokers.connect(shop.url, "test", patient=False)
        yield broker
        for fault in faults.FAULTS:
            await faults.switch(broker, fault, False)
        await broker.close()

    @pytest.fixture
    def switch_on(self, broker: Broker) -> SwitchOn:
        async def switch_on(fault: str) -> None:
            await faults.switch(broker, fault, True)
            await asyncio.sleep(HEARD_SECONDS)

        return switch_on

    async def test_an_order_is_paid_reserved_confirmed_shipped_and_written_about(
        self, broker: Broker, sink: Sink
    ) -> None:
        order = new_order(accept=honoured)
        await place(broker, order)
        expected = set(GROUPS) - {"inventory-release", "order-releases"}

        def groups() -> set[str]:
            return {span.group for span in sink.of(order.correlation_id)} - {""}

        assert await until(lambda: groups() == expected, SECONDS), expected - groups()
        [paying] = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
        assert paying.attributes["messaging.system"] == self.system

    async def test_a_gift_card_order_dead_letters_after_four_attempts_and_its_replay_succeeds(
        self, broker: Broker, sink: Sink, judge: Judge, switch_on: SwitchOn
    ) -> None:
        await switch_on("gift-card")
        order = new_order("gift-card")
        await place(broker, order)
        [(headers, body)] = await becomes(lambda: judge.letters("payment", order.correlation_id))
        assert body == order.body()
        assert (headers["x-attempts"], headers["x-original-consumer"]) == ("4", "payment")
        assert headers["x-exception-type"] == "demo.shop.giftcards.GiftCardBalanceError"

        def attempts() -> list[int]:
            spans = [span for span in sink.of(order.correlation_id) if span.group == "payment"]
            return [span.attributes["messaging.message.delivery_attempt"] for span in spans]

        assert await until(lambda: attempts() == [1, 2, 3, 4], SECONDS), attempts()
        assert await becomes(lambda: judge.waiting("payment"), lambda count: count == 0) == 0

        await faults.switch(broker, "gift-card", False)
        await asyncio.sleep(HEARD_SECONDS)
        token = str(uuid4())
        kept = {name: value for name, value in headers.items() if not name.startswith("x-")}
        expected = await judge.replay(broker, {**kept, "message-id": token}, body)

        def replayed() -> set[str]:
            return {span.group for span in sink.spans if span.attributes.get("messaging.message.id") == token}

        def confirmed() -> bool:
            return any(span.name == "send orders.confirmed" for span in sink.of(order.correlation_id))

        assert await until(lambda: replayed() == expected, SECONDS), replayed()
        assert await until(confirmed, SECONDS)

    async def test_a_poison_message_is_given_up_at_once_by_one_group(
        self, broker: Broker, judge: Judge, switch_on: SwitchOn
    ) -> None:
        await switch_on("poison")
        order = new_order()
        await place(broker, order, encoding="utf-16")
        [(headers, body)] = await becomes(lambda: judge.letters("fraud-check", order.correlation_id))
        assert (headers["x-attempts"], headers["x-exception-type"]) == ("1", "demo.shop.events.UndecodableError")
        assert body == order.body().decode().encode("utf-16")
        assert await judge.letters("payment", order.correlation_id) == []

    async def test_a_duplicate_is_published_twice_and_skipped(
        self, broker: Broker, sink: Sink, switch_on: SwitchOn
    ) -> None:
        await switch_on("duplicate")
        state = await faults.current(broker)
        shop = Context("checkout", broker, state)
        while not strikes((order := await checkout.place(checkout.new_order(), shop)).correlation_id, 3):
            pass

        def skips() -> list[SeenSpan]:
            skipped = "skipped: this event was handled before"
            spans = sink.of(order.correlation_id)
            return [span for span in spans if span.group == "inventory" and skipped in span.events]

        assert await until(skips, SECONDS)

    async def test_a_missing_step_leaves_an_order_without_its_reservation(
        self, broker: Broker, sink: Sink, switch_on: SwitchOn
    ) -> None:
        await switch_on("missing-step")
        order = new_order(accept=lambda number: honoured(number) and strikes(number, 4))
        await place(broker, order)

        def sent() -> set[str]:
            return {span.name for span in sink.of(order.correlation_id) if span.kind == PRODUCER}

        def reserving() -> bool:
            return any(span.group == "inventory" for span in sink.of(order.correlation_id))

        assert await until(lambda: "send payments.captured" in sent(), SECONDS)
        assert await until(reserving, SECONDS)
        await asyncio.sleep(0.5)
        assert not sent() & {"send inventory.reserved", "send orders.confirmed"}

    async def test_a_stopped_consumer_reads_nothing_until_it_is_started_again(
        self, broker: Broker, judge: Judge, switch_on: SwitchOn
    ) -> None:
        await switch_on("stopped-consumer")
        for _ in range(24):
            await place(broker, new_order(accept=honoured))
        # What was on its way already may still be taken.
        assert await becomes(lambda: judge.waiting("shipping"), lambda count: count >= 5) >= 5
        await asyncio.sleep(1)
        assert await judge.waiting("shipping") >= 5
        await faults.switch(broker, "stopped-consumer", False)
        assert await becomes(lambda: judge.waiting("shipping"), lambda count: count == 0) == 0

    async def test_a_slow_consumer_falls_behind_and_catches_up(
        self, broker: Broker, judge: Judge, switch_on: SwitchOn
    ) -> None:
        await switch_on("slow-consumer")
        for _ in range(30):
            await place(broker, new_order(accept=honoured))
        assert await becomes(lambda: judge.waiting("email"), lambda count: count > 10) > 10
        await faults.switch(broker, "slow-consumer", False)
        assert await becomes(lambda: judge.waiting("email"), lambda count: count == 0) == 0

    async def test_the_story_does_not_touch_what_a_person_has_touched(self, broker: Broker) -> None:
        await faults.switch(broker, "gift-card", False)
        assert not await faults.switch(broker, "gift-card", True, by=faults.STORY)
        assert not (await faults.current(broker)).on("gift-card")

    def test_it_is_known_to_run_by_its_folder(self, shop: Shop) -> None:
        assert running_url(shop.folder) == shop.url


__all__ = ["OF_ORDERS_PLACED", "Judge", "Letter", "ShopOnABroker", "SwitchOn", "becomes", "running"]
