"""A few moves of an application on JetStream, as tests need them. Uses its own connection, never the collector's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

BY_SEQUENCE = DeliverPolicy.BY_START_SEQUENCE
ADVISORIES = ["$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>"]

LETTER_HEADERS = {
    "correlation-id": "order-1",
    "ce-id": "event-1",
    "ce-type": "orders.placed",
    "ce-time": "2026-11-25T15:00:00Z",
    "content-type": "application/json",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "x-original-subject": "orders.placed",
    "x-original-stream": "ORDERS",
    "x-original-sequence": "1",
    "x-original-consumer": "payment",
    "x-exception-type": "shop.payment.GiftCardError",
    "x-exception-message": "gift card 7 has no balance",
    "x-exception-stacktrace": "Traceback (most recent call last):\n  File x",
    "x-attempts": "4",
    "x-failed-at": "2026-11-25T15:00:07.5Z",
}


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[Client, JetStreamContext]]:
    client = await nats.connect(url)
    try:
        yield client, client.jetstream()
    finally:
        await client.close()


async def consumer(js: JetStreamContext, stream: str, name: str, subject: str | None, **config: Any) -> None:
    await js.add_consumer(
        stream,
        ConsumerConfig(durable_name=name, filter_subject=subject, ack_policy=AckPolicy.EXPLICIT, **config),
    )
