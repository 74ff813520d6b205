"""Readable builders for spans, letters and whole flows, for tests only. Times are in milliseconds after `EPOCH`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from eventflow.domain.flow import Flow, FlowLetter, FlowReplay, LetterStatus, ReplayState, assemble
from eventflow.domain.observations import (
    AttributeValue,
    Messaging,
    Operation,
    Span,
    SpanEvent,
    SpanKind,
    SpanLink,
    SpanStatus,
)

EPOCH = datetime(2026, 11, 19, 14, 9, 13, 114_000, tzinfo=UTC)
KEY = "01JD3W8Q5Z7N4K2M9R6T0XVYBC"
MS = 1_000_000
EPOCH_NS = round(EPOCH.timestamp() * 1000) * MS


def at(ms: float) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def ns(ms: float) -> int:
    return EPOCH_NS + round(ms * MS)


def trace(name: str) -> str:
    return blake2b(name.encode(), digest_size=16).hexdigest()


def ident(name: str) -> str:
    return blake2b(name.encode(), digest_size=8).hexdigest()


def link(trace_name: str, span_name: str, **attributes: AttributeValue) -> SpanLink:
    return SpanLink(trace(trace_name), ident(span_name), {k.replace("__", "."): v for k, v in attributes.items()})


def span(
    name: str,
    start: float,
    end: float,
    *,
    service: str,
    parent: str | None = None,
    trace_name: str = "order",
    kind: SpanKind = SpanKind.INTERNAL,
    links: Sequence[SpanLink] = (),
    error: tuple[str, str, str] | None = None,
    status: SpanStatus | None = None,
    messaging: Messaging | None = None,
    correlation: str | None = KEY,
    attributes: dict[str, AttributeValue] | None = None,
    title: str | None = None,
) -> Span:
    """`name` gives the span's id; `title` its span name where several are to have the same."""
    events = ()
    if error:
        kind_, message, stack = error
        events = (
            SpanEvent(
                "exception",
                ns(end),
                {"exception.type": kind_, "exception.message": message, "exception.stacktrace": stack},
            ),
        )
    return Span(
        trace_id=trace(trace_name),
        span_id=ident(name),
        parent_id=ident(parent) if parent else None,
        name=title or name,
        kind=kind,
        start_ns=ns(start),
        end_ns=ns(end),
        service=service,
        status=status or (SpanStatus.ERROR if error else SpanStatus.UNSET),
        attributes=attributes or {},
        events=events,
        links=tuple(links),
        messaging=messaging,
        correlation_id=correlation,
        correlation_rule="app.correlation_id" if correlation else None,
    )


def publish(
    name: str,
    start: float,
    end: float,
    *,
    service: str,
    to: str | None,
    operation: Operation | None = Operation.SEND,
    kind: SpanKind = SpanKind.PRODUCER,
    message_id: str | None = None,
    event_type: str | None = None,
    system: str | None = "nats",
    offset: str | None = None,
    **more: object,
) -> Span:
    messaging = Messaging(
        system=system,
        operation=operation,
        destination=to,
        message_id=message_id,
        event_type=event_type,
        offset=offset,
        rules={"message_id": "messaging.message.id"} if message_id else {},
    )
    return span(name, start, end, service=service, kind=kind, messaging=messaging, **more)


def consume(
    name: str,
    start: float,
    end: float,
    *,
    service: str,
    from_: str | None,
    group: str | None = None,
    operation: Operation | None = Operation.PROCESS,
    kind: SpanKind = SpanKind.CONSUMER,
    message_id: str | None = None,
    attempt: int | None = None,
    batch_size: int | None = None,
    outcome: str | None = None,
    system: str | None = "nats",
    offset: str | None = None,
    **more: object,
) -> Span:
    messaging = Messaging(
        system=system,
        operation=operation,
        destination=from_,
        group=group,
        message_id=message_id,
        attempt=attempt,
        batch_size=batch_size,
        outcome=outcome,
        offset=offset,
        rules={"message_id": "messaging.message.id"} if message_id else {},
    )
    return span(name, start, end, service=service, kind=kind, messaging=messaging, **more)


GIFT_CARD = (
    "payments.giftcards.GiftCardBalanceError",
    "balance lookup for card gc_…4417 returned HTTP 502",
    'Traceback (most recent call last):\n  File "payments/handlers.py", line 37, in on_order_placed\n'
    '    capture(order)\n  File "payments/giftcards.py", line 88, in balance\n    raise GiftCardBalanceError\n',
)


def letter(number: str = "17", **more: object) -> FlowLetter:
    values: dict[str, object] = {
        "id": number,
        "location": "dlq.payment",
        "group": "payment",
        "destination": "orders.placed",
        "message_id": "ce-1",
        "trace_id": trace("order"),
        "span_id": ident("dead publish"),
        "failed_at": at(11_934),
        "error_type": GIFT_CARD[0],
        "error_message": GIFT_CARD[1],
        "attempts": 4,
        "status": LetterStatus.OPEN,
        "correlation_id": KEY,
        "service": "payment-service",
        "system": "nats",
    }
    return FlowLetter(**{**values, **more})


def replay(number: str = "r1", state: ReplayState = ReplayState.SENT, **more: object) -> FlowReplay:
    values: dict[str, object] = {
        "id": number,
        "letter_id": "17",
        "state": state,
        "trace_id": trace("replay"),
        "span_id": ident("replay send"),
        "at": at(60_000),
        "by": "mona",
    }
    return FlowReplay(**{**values, **more})


def failed_order() -> list[Span]:
    """The design's order: placed, read by five groups, payment failing four times with backoff, then dead-lettered."""
    placed = [link("order", "placed")]
    orders = {"from_": "orders.placed", "links": placed}
    attempts = [(2830, 3342), (4342, 4870), (6870, 7390), (11390, 11921)]
    payment = [
        consume(
            f"payment {n}",
            start,
            end,
            service="payment-service",
            group="payment",
            parent="placed",
            error=GIFT_CARD,
            attempt=n,
            message_id="ce-1",
            **orders,
        )
        for n, (start, end) in enumerate(attempts, 1)
    ]
    return [
        span("POST /orders", 0, 38, service="checkout", kind=SpanKind.SERVER),
        publish("placed", 10, 22, service="checkout", to="orders.placed", parent="POST /orders", message_id="ce-1"),
        consume("inventory", 640, 812, service="inventory-service", group="inventory", parent="placed", **orders),
        span("reserve", 650, 700, service="inventory-service", parent="inventory"),
        publish("reserved", 790, 798, service="inventory-service", to="inventory.reserved", parent="reserve"),
        consume(
            "shipping",
            851,
            880,
            service="shipping-service",
            group="shipping",
            from_="inventory.reserved",
            links=[link("order", "reserved")],
            trace_name="shipping",
        ),
        consume("email", 1480, 2210, service="email-service", group="email-confirmations", parent="placed", **orders),
        *payment,
        publish("dead publish", 11_925, 11_934, service="payment-service", to="dlq.payment", parent="payment 4"),
        consume("fraud", 3110, 3420, service="fraud-detector", group="fraud-check", parent="placed", **orders),
        consume("audit", 12_900, 12_960, service="audit-log", group="audit-orders", parent="placed", **orders),
    ]


def replayed_order(*, well: bool = True) -> list[Span]:
    """The failed order after its letter was sent once more."""
    return [
        *failed_order(),
        consume(
            "payment again",
            60_020,
            60_090,
            service="payment-service",
            group="payment",
            from_="orders.placed",
            links=[link("replay", "replay send")],
            trace_name="replay",
            error=None if well else GIFT_CARD,
        ),
        *(
            [
                publish(
                    "captured",
                    60_070,
                    60_075,
                    service="payment-service",
                    to="payments.captured",
                    parent="payment again",
                    trace_name="replay",
                )
            ]
            if well
            else []
        ),
    ]


def flow(
    spans: Sequence[Span] | None = None,
    letters: Sequence[FlowLetter] = (),
    replays: Sequence[FlowReplay] = (),
    *,
    key: str = KEY,
    now: float = 120_000,
    consumers: dict[str, set[str]] | None = None,
) -> Flow:
    return assemble(key, failed_order() if spans is None else spans, letters, replays, now=at(now), consumers=consumers)
