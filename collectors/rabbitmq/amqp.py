"""All AMQP: taking letters out of a queue, acknowledged only when durable, and publishing one on a person's word.

Promises: what is not acknowledged goes back to its queue when the connection closes; no message or log line ever holds
credentials.
"""

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from collectors.base import CollectorError
from collectors.closing import closed
from collectors.rabbitmq.address import Address

try:
    import aio_pika
    from aio_pika.exceptions import AMQPError, DeliveryError
except ImportError:  # the extra `rabbitmq` was not installed: said at first use
    aio_pika = None  # type: ignore[assignment]  # checked before use

ANSWER_SECONDS = 10.0
PROPERTY = "AMQP-"
"""In front of a message's properties where they stand among its headers."""
PROPERTIES = ("content_type", "correlation_id", "message_id", "type", "reply_to", "app_id", "expiration", "priority")

# It warns of lost connections with their URL.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)


class Amqp:
    """One connection, opened at first use."""

    def __init__(self, address: Address, name: str) -> None:
        self._address = address
        self._name = name
        self._connection: Any = None
        self._channel: Any = None

    async def channel(self) -> Any:
        """A channel with publisher confirms. Raises CollectorError."""
        if aio_pika is None:
            raise CollectorError("AMQP needs aio-pika: run pip install 'eventflow[rabbitmq]'", permanent=True)
        if self._channel is not None and not self._channel.is_closed:
            return self._channel
        await self.close()
        where = self._address
        who = f"{quote(where.user, safe='')}:{quote(where.password, safe='')}"
        url = f"{'amqps' if where.tls else 'amqp'}://{who}@{where.amqp}/{quote(where.vhost, safe='')}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                trusted = ssl.create_default_context(cafile=where.ca_file) if where.tls else None
                self._connection = await aio_pika.connect(
                    url, client_properties={"connection_name": f"eventflow {self._name}"}, ssl_context=trusted
                )
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        except (AMQPError, OSError, TimeoutError) as error:
            await self.close()
            why = "refused" if "ACCESS_REFUSED" in str(error) else type(error).__name__
            raise CollectorError(f"no AMQP connection with RabbitMQ at {where.amqp}: {why}") from None
        return self._channel

    async def close(self) -> None:
        """Give the connection back; what is not acknowledged returns to its queue."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            await closed(connection.close())

    async def take(self, queue: str, count: int) -> list[Any]:
        """Up to `count` messages, still the broker's until they are acknowledged."""
        channel = await self.channel()
        found: list[Any] = []
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                place = await channel.get_queue(queue, ensure=False)
                while len(found) < count and (message := await place.get(no_ack=False, fail=False)) is not None:
                    found.append(message)
        except (AMQPError, OSError, TimeoutError) as error:
            await self.close()
            raise CollectorError(f"can't take letters from {queue[:100]}: {type(error).__name__}") from None
        return found

    async def settle(self, messages: Sequence[Any]) -> None:
        """They are durable with us: the broker may forget them."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for message in messages:
                    await message.ack()
        except (AMQPError, OSError, TimeoutError) as error:
            await self.close()
            raise CollectorError(f"letters could not be acknowledged and come again: {type(error).__name__}") from None

    async def publish(self, queue: str, headers: Sequence[tuple[str, str]], payload: bytes) -> None:
        """To this queue alone, and wait until the broker has it. A permanent error: nothing was sent."""
        properties = {name[len(PROPERTY) :]: value for name, value in headers if name.startswith(PROPERTY)}
        table: dict[str, Any] = {name: _from_text(value) for name, value in headers if not name.startswith(PROPERTY)}
        known: dict[str, Any] = {name: properties[name] for name in PROPERTIES if name in properties}
        known.pop("expiration", None)  # its time is over
        if not (known.pop("priority", "0") or "0").isdigit():
            raise CollectorError("the message's priority is no number: nothing was sent", permanent=True)
        if properties.get("priority"):
            known["priority"] = int(properties["priority"])
        try:
            channel = await self.channel()
        except CollectorError as error:
            raise CollectorError(f"{error}; nothing was sent", permanent=error.permanent, reached=False) from None
        message = aio_pika.Message(payload, headers=table, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **known)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await channel.default_exchange.publish(message, routing_key=queue, mandatory=True)
        except DeliveryError:
            raise CollectorError(f"there is no queue {queue[:100]}: nothing was sent", permanent=True) from None
        except (AMQPError, OSError, TimeoutError) as error:
            await self.close()
            raise CollectorError(f"RabbitMQ did not confirm the message: {type(error).__name__}") from None


def headers_of(message: Any) -> tuple[tuple[str, str], ...]:
    """A message's properties and headers as text; tables as JSON, bytes that are no text as base64."""
    properties = [(name, getattr(message, name, None)) for name in PROPERTIES]
    told = [(f"{PROPERTY}{name}", _text(value)) for name, value in properties if value not in (None, "", 0)]
    return (*((str(name), _text(value)) for name, value in (message.headers or {}).items()), *told)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return "base64:" + base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return json.dumps(value, default=_text)


def _from_text(value: str) -> str | bytes:
    if value.startswith("base64:"):
        try:
            return base64.b64decode(value[7:], validate=True)
        except ValueError:
            return value
    return value
