"""The shop's broker on NATS JetStream: durable pull consumers with explicit acknowledgement, switches in a KV bucket.

Promises what `broker.py` says and translates every NATS error into BrokerError; decides nothing about events.
"""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import AckPolicy, ConsumerConfig, KeyValueConfig, StreamConfig
from nats.js.client import JetStreamContext
from nats.js.errors import BucketNotFoundError, KeyWrongLastSequenceError, NoKeysError, NotFoundError
from nats.js.kv import KeyValue

from demo.shop.broker import BrokerError, Delivery
from demo.shop.contract import GROUPS, STREAMS, Group, dead_letter_subject

SWITCHES = "shop_faults"
# NATS tells on these subjects that a message was given up; kept in a stream, none is missed.
ADVISORIES = [
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>",
    "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>",
]
# The services count attempts themselves; this catches a message whose service dies on it again and again.
MAX_DELIVERIES = 20
# A demo that is left alone for days must not fill the disk.
KEPT_MESSAGES = 500_000


async def connect(url: str, name: str, *, patient: bool = True) -> "NatsBroker":
    """Wait for the server for ever if `patient`, else say within a second that it is not there."""
    try:
        client = await nats.connect(
            url,
            name=name,
            allow_reconnect=patient,
            max_reconnect_attempts=-1 if patient else 1,
            reconnect_time_wait=0.5,
            connect_timeout=2,
            error_cb=_quiet,
        )
    except (Error, OSError) as error:
        raise BrokerError(f"NATS does not answer at {url.rpartition('@')[2]}: {error}") from error
    return NatsBroker(client)


async def _quiet(error: Exception) -> None:
    """nats-py prints every reconnect attempt otherwise; callers see the error where it matters to them."""


class NatsBroker:
    system = "nats"

    def __init__(self, client: Client) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=5)
        self._pulls: dict[str, JetStreamContext.PullSubscription] = {}

    def dead_letters_of(self, delivery: Delivery, group: str) -> str:
        return dead_letter_subject(group)

    async def declare(self) -> None:
        for name, subjects in {**STREAMS, "ADVISORIES": ADVISORIES}.items():
            await _asked(
                self._js.add_stream(
                    StreamConfig(name=name, subjects=subjects, allow_direct=True, max_msgs=KEPT_MESSAGES)
                )
            )
        for group in GROUPS.values():
            config = ConsumerConfig(
                durable_name=group.name,
                filter_subject=group.subject,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=30,
                max_deliver=MAX_DELIVERIES,
                max_ack_pending=1000,
            )
            await _asked(self._js.add_consumer(group.stream, config))
        await _asked(self._bucket())

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        await _asked(self._js.publish(subject, body, headers=headers))

    async def next(self, group: Group, wait_seconds: float) -> Delivery | None:
        try:
            pull = self._pulls.get(group.name)
            if pull is None:
                pull = await self._js.pull_subscribe_bind(durable=group.name, stream=group.stream)
                self._pulls[group.name] = pull
            [message] = await pull.fetch(1, timeout=wait_seconds)
        except nats.errors.TimeoutError:
            return None
        except Error as error:
            raise BrokerError(str(error)) from error
        meta = message.metadata
        return Delivery(
            subject=message.subject,
            stream=meta.stream,
            sequence=meta.sequence.stream,
            attempt=meta.num_delivered or 1,
            headers=dict(message.headers or {}),
            body=message.data,
            receipt=message,
        )

    async def ack(self, delivery: Delivery) -> None:
        await _asked(delivery.receipt.ack())

    async def nak(self, delivery: Delivery, delay_seconds: float) -> None:
        await _asked(delivery.receipt.nak(delay=delay_seconds))

    async def term(self, delivery: Delivery) -> None:
        await _asked(delivery.receipt.term())

    async def switch(self, name: str, value: str, *, first: bool = False) -> bool:
        bucket = await _asked(self._bucket())
        try:
            await (bucket.create if first else bucket.put)(name, value.encode())
        except KeyWrongLastSequenceError:
            return False
        except Error as error:
            raise BrokerError(str(error)) from error
        return True

    async def switches(self) -> AsyncIterator[tuple[str, str]]:
        watcher = await _asked((await _asked(self._bucket())).watchall())
        async for entry in watcher:
            if entry is not None:
                yield entry.key, (entry.value or b"").decode()

    async def switch_values(self) -> dict[str, str]:
        bucket = await _asked(self._bucket())
        try:
            keys = await bucket.keys()
        except NoKeysError:
            return {}
        return {key: ((await _asked(bucket.get(key))).value or b"").decode() for key in keys}

    async def close(self) -> None:
        await self._client.close()

    async def _bucket(self) -> KeyValue:
        try:
            return await self._js.key_value(SWITCHES)
        except (BucketNotFoundError, NotFoundError):
            return await self._js.create_key_value(KeyValueConfig(bucket=SWITCHES))


async def _asked(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (Error, OSError) as error:
        raise BrokerError(str(error)) from error
