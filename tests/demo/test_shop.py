"""The whole shop on a real NATS server: what an order leaves behind when all goes well, and in each fault."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import nats
import pytest

from demo.processes import Shop
from demo.shop import checkout, events, faults
from demo.shop.contract import GROUPS
from demo.shop.events import Event
from demo.shop.faults import Faults, strikes
from demo.shop.nats_broker import NatsBroker
from demo.shop.service import Context
from demo.shop.story import tell
from tests.demo.conftest import HEARD_SECONDS, SeenSpan, Sink, until

pytestmark = pytest.mark.nats

SwitchOn = Callable[[str], Awaitable[None]]
PRODUCER = 4
OF_ORDERS_PLACED = {"payment", "inventory", "fraud-check", "audit-orders"}


def new_order(method: str = "card", accept: Callable[[str], bool] = lambda _: True) -> Event:
    """An order whose correlation id `accept`s; its bank says yes unless asked otherwise."""
    while True:
        order = {**checkout.new_order(), "payment": {"method": method, "card": "GC-1234-5678"}, "amount": 99.5}
        event = events.first("orders.placed", "checkout", order)
        if accept(event.correlation_id):
            return event


def honoured(correlation_id: str) -> bool:
    return not strikes(correlation_id, 25)


async def place(broker: NatsBroker, event: Event, **options: Any) -> None:
    await Context("checkout", broker, Faults()).publish(event, **options)


async def letters(shop: Shop, group: str, correlation_id: str, wait: float = 15) -> list[Any]:
    """Reads the dead-letter stream without leaving a consumer behind."""
    client = await nats.connect(shop.url)
    js = client.jetstream()
    try:
        for _ in range(int(wait / 0.1)):
            last = (await js.stream_info("DLQ")).state.last_seq
            found = [await js.get_msg("DLQ", number) for number in range(1, last + 1)]
            found = [
                message
                for message in found
                if message.subject == f"dlq.{group}" and (message.headers or {}).get("correlation-id") == correlation_id
            ]
            if found:
                return found
            await asyncio.sleep(0.1)
        return []
    finally:
        await client.close()


async def replay(broker: NatsBroker, letter: Any) -> str:
    """What Eventflow does: the same event, without what failed, under a new message id."""
    token = str(uuid4())
    headers = {name: value for name, value in letter.headers.items() if not name.startswith("x-")}
    headers |= {"Nats-Msg-Id": token, "Eventflow-Replay": token}
    headers["traceparent"] = f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"
    await broker.publish(letter.headers["x-original-subject"], letter.data, headers)
    return token


async def test_an_order_is_paid_reserved_confirmed_shipped_and_written_about(broker: NatsBroker, sink: Sink) -> None:
    order = new_order(accept=honoured)
    await place(broker, order)

    def groups() -> set[str]:
        return {span.group for span in sink.of(order.correlation_id)} - {""}

    expected = set(GROUPS) - {"inventory-release", "order-releases"}
    assert await until(lambda: groups() == expected), expected - groups()

    def sent() -> set[str]:
        return {span.name for span in sink.of(order.correlation_id) if span.kind == PRODUCER}

    events_sent = {
        "send payments.captured",
        "send inventory.reserved",
        "send orders.confirmed",
        "send shipments.created",
        "send emails.requested",
    }
    assert await until(lambda: sent() == events_sent), sent()
    assert not any(span.failed for span in sink.of(order.correlation_id))


async def test_a_process_span_links_to_the_send_span_and_a_flow_spans_several_traces(
    broker: NatsBroker, sink: Sink
) -> None:
    order = new_order(accept=honoured)
    await place(broker, order)

    def processed() -> list[SeenSpan]:
        return [span for span in sink.of(order.correlation_id) if span.group and span.name != "process orders.placed"]

    def sends() -> set[tuple[bytes, bytes]]:
        return {(span.trace_id, span.span_id) for span in sink.of(order.correlation_id) if span.kind == PRODUCER}

    # Each service exports on its own: a process span may come before the send span it links to.
    assert await until(
        lambda: (
            {span.group for span in processed()} >= {"order-payments", "shipping", "email", "audit-shipments"}
            and all(len(span.links) == 1 and span.links[0] in sends() for span in processed())
        )
    )
    seen = sink.of(order.correlation_id)
    by_group = {span.group: span for span in processed()}
    assert by_group["order-payments"].parent_id == by_group["order-payments"].links[0][1]
    assert by_group["shipping"].parent_id == b""
    assert len({span.trace_id for span in seen}) >= 4

    [confirmed] = [span for span in seen if span.name == "send orders.confirmed"]
    assert (
        confirmed.attributes.items()
        >= {
            "messaging.system": "nats",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": "orders.confirmed",
            "cloudevents.event_type": "orders.confirmed",
            "cloudevents.event_source": "order-service",
            "cloudevents.event_spec_version": "1.0",
        }.items()
    )
    assert confirmed.attributes["messaging.message.id"] == confirmed.attributes["cloudevents.event_id"]
    assert confirmed.attributes["messaging.message.body.size"] > 10


async def test_a_refused_payment_releases_the_goods_and_cancels_the_order(broker: NatsBroker, sink: Sink) -> None:
    order = new_order(accept=lambda number: not honoured(number))
    await place(broker, order)

    def sent() -> set[str]:
        return {span.name for span in sink.of(order.correlation_id) if span.kind == PRODUCER}

    expected = {"send payments.refused", "send inventory.reserved", "send inventory.released", "send orders.cancelled"}
    assert await until(lambda: sent() >= expected), sent()
    assert "send orders.confirmed" not in sent()


async def test_a_gift_card_order_dead_letters_after_four_attempts_and_its_replay_succeeds(
    shop: Shop, broker: NatsBroker, sink: Sink, switch_on: SwitchOn
) -> None:
    await switch_on("gift-card")
    order = new_order("gift-card")
    await place(broker, order)
    [letter] = await letters(shop, "payment", order.correlation_id)

    assert letter.data == order.body()
    headers = letter.headers
    assert headers["ce-id"] == order.id
    assert headers["x-original-subject"] == "orders.placed"
    assert headers["x-original-stream"] == "ORDERS"
    assert headers["x-original-consumer"] == "payment"
    assert headers["x-attempts"] == "4"
    assert headers["x-exception-type"] == "demo.shop.giftcards.GiftCardBalanceError"
    assert headers["x-exception-message"] == "HTTP 502 Bad Gateway from the gift card ledger for card GC-1234-5678"
    assert "in check_balance\\n" in headers["x-exception-stacktrace"]
    assert datetime.fromisoformat(headers["x-failed-at"]).tzinfo == UTC

    def attempts() -> list[Any]:
        return [span for span in sink.of(order.correlation_id) if span.group == "payment"]

    assert await until(lambda: len(attempts()) == 4)
    assert all(span.failed and "exception" in span.events for span in attempts())
    assert [span.attributes["messaging.message.delivery_attempt"] for span in attempts()] == [1, 2, 3, 4]
    starts = [span.start / 1e9 for span in attempts()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(pause == pytest.approx(wanted, abs=0.9) for pause, wanted in zip(pauses, (1.4, 2.4, 4.4), strict=True))
    sent = await until(lambda: [span for span in sink.spans if span.name == "send dlq.payment"])
    assert sent[-1].parent_id == attempts()[-1].span_id
    assert headers["traceparent"].split("-")[2] == sent[-1].span_id.hex()

    await faults.switch(broker, "gift-card", False)
    await asyncio.sleep(HEARD_SECONDS)
    token = await replay(broker, letter)

    def replayed() -> list[Any]:
        return [span for span in sink.spans if span.attributes.get("messaging.message.id") == token]

    assert await until(lambda: {span.group for span in replayed()} == OF_ORDERS_PLACED)
    skipped = {span.group for span in replayed() if "skipped: this event was handled before" in span.events}
    assert skipped == OF_ORDERS_PLACED - {"payment"}
    assert not any(span.failed for span in replayed())
    assert await until(lambda: any(span.name == "send orders.confirmed" for span in sink.of(order.correlation_id)))


async def test_a_replay_while_the_fault_is_on_comes_back_as_a_letter_of_its_own(
    shop: Shop, broker: NatsBroker, switch_on: SwitchOn
) -> None:
    await switch_on("gift-card")
    order = new_order("gift-card")
    await place(broker, order)
    [letter] = await letters(shop, "payment", order.correlation_id)
    token = await replay(broker, letter)
    for _ in range(100):
        both = await letters(shop, "payment", order.correlation_id)
        if len(both) == 2:
            break
        await asyncio.sleep(0.1)
    assert both[1].headers["Eventflow-Replay"] == token
    assert both[1].headers["x-original-sequence"] != letter.headers["x-original-sequence"]


async def test_a_poison_message_is_given_up_at_once_by_one_group_and_readable_after_the_fault(
    shop: Shop, broker: NatsBroker, sink: Sink, switch_on: SwitchOn
) -> None:
    await switch_on("poison")
    order = new_order()
    await place(broker, order, encoding="utf-16")
    [letter] = await letters(shop, "fraud-check", order.correlation_id)
    assert letter.headers["x-attempts"] == "1"
    assert letter.headers["x-exception-type"] == "demo.shop.events.UndecodableError"
    assert letter.data == order.body().decode().encode("utf-16")

    await faults.switch(broker, "poison", False)
    await asyncio.sleep(HEARD_SECONDS)
    token = await replay(broker, letter)

    def scored() -> list[Any]:
        spans = [span for span in sink.spans if span.attributes.get("messaging.message.id") == token]
        return [span for span in spans if span.group == "fraud-check"]

    [span] = await until(scored)
    assert not span.failed


async def test_a_duplicate_is_published_under_another_message_id_and_skipped(
    broker: NatsBroker, sink: Sink, switch_on: SwitchOn
) -> None:
    await switch_on("duplicate")
    state = await faults.current(broker)
    before = await broker._js.stream_info("ORDERS")
    placed_events: list[Event] = []
    while not any(strikes(event.correlation_id, 3) for event in placed_events):
        placed_events.append(await checkout.place(checkout.new_order(), Context("checkout", broker, state)))
    after = await broker._js.stream_info("ORDERS", subjects_filter="orders.placed")
    placed = [
        await broker._js.get_msg("ORDERS", seq) for seq in range(before.state.last_seq + 1, after.state.last_seq + 1)
    ]
    ids = [message.headers["ce-id"] for message in placed if message.headers["ce-type"] == "orders.placed"]
    twice = {event_id for event_id in ids if ids.count(event_id) == 2}
    assert set(ids) == {event.id for event in placed_events}
    assert twice

    def skips() -> set[str]:
        return {
            span.attributes["cloudevents.event_id"]
            for span in sink.spans
            if span.group == "inventory" and "skipped: this event was handled before" in span.events
        }

    assert await until(lambda: skips() >= twice), (twice, skips())


async def test_a_missing_step_leaves_an_order_without_its_reservation(
    broker: NatsBroker, sink: Sink, switch_on: SwitchOn
) -> None:
    await switch_on("missing-step")
    order = new_order(accept=lambda number: honoured(number) and strikes(number, 4))
    await place(broker, order)

    def sent() -> set[str]:
        return {span.name for span in sink.of(order.correlation_id) if span.kind == PRODUCER}

    assert await until(lambda: "send payments.captured" in sent())
    assert await until(lambda: any(span.group == "inventory" for span in sink.of(order.correlation_id)))
    await asyncio.sleep(0.5)
    assert not sent() & {"send inventory.reserved", "send orders.confirmed"}


async def waiting(broker: NatsBroker, group: str) -> int:
    info = await broker._js.consumer_info(GROUPS[group].stream, group)
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def waits_for(broker: NatsBroker, group: str, enough: Callable[[int], bool], seconds: float = 10) -> int:
    for _ in range(int(seconds / 0.1)):
        if enough(count := await waiting(broker, group)):
            break
        await asyncio.sleep(0.1)
    return count


async def test_a_stopped_consumer_reads_nothing_until_it_is_started_again(
    broker: NatsBroker, switch_on: SwitchOn
) -> None:
    await switch_on("stopped-consumer")
    for _ in range(6):
        await place(broker, new_order(accept=honoured))
    # A pull that was already under way may still take one message.
    assert await waits_for(broker, "shipping", lambda count: count >= 5) >= 5
    await asyncio.sleep(1)
    assert await waiting(broker, "shipping") >= 5
    await faults.switch(broker, "stopped-consumer", False)
    assert await waits_for(broker, "shipping", lambda count: count == 0) == 0


async def test_a_slow_consumer_falls_behind_and_catches_up_quickly(broker: NatsBroker, switch_on: SwitchOn) -> None:
    await switch_on("slow-consumer")
    for _ in range(30):
        await place(broker, new_order(accept=honoured))
    assert await waits_for(broker, "email", lambda count: count > 30) > 30
    await faults.switch(broker, "slow-consumer", False)
    assert await waits_for(broker, "email", lambda count: count == 0, seconds=10) == 0


async def test_the_story_does_not_touch_what_a_person_has_touched(broker: NatsBroker) -> None:
    await faults.switch(broker, "gift-card", False)
    await tell(broker, ((0.0, "gift-card"), (0.0, "slow-consumer")))
    assert not (await faults.current(broker)).on("gift-card")
    assert not await faults.switch(broker, "gift-card", True, by=faults.STORY)
    assert not (await faults.current(broker)).on("gift-card")
