"""Puts a message back into Kafka, once, on a person's word, and says beforehand which groups would get it.

A topic goes to every group that reads it: Kafka can't address one. The producer is idempotent, so the library's own
retries store nothing twice; the answer is awaited, and only a refusal says for sure that nothing was sent.
"""

import asyncio
from typing import Any

import confluent_kafka as rd

from collectors.base import CollectorError, Outgoing, Receivers
from collectors.kafka.client import Client, NotAllowedError
from collectors.kafka.parse import KINDLESS, raw
from collectors.kafka.share_groups import ShareGroups

SEND_SECONDS = 8.0
_REFUSED = frozenset(
    {
        "TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION", "MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG_SIZE", "INVALID_TIMESTAMP",
        "TOPIC_EXCEPTION", "POLICY_VIOLATION", "RECORD_LIST_TOO_LARGE", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    }
)  # fmt: skip
"""The broker, or the library before it sent anything, said no."""


class KafkaReplayer:
    """Connects at first use and again after a loss."""

    def __init__(self, name: str, url: str) -> None:
        self._client = Client(url, f"{name}-replay")
        self._open = False
        self._producer: Any = None

    async def _connected(self) -> Client:
        if not self._open:
            await self._client.connect()
            self._open = True
        return self._client

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        """Every group that has committed on `destination` or has members on it; share groups too."""
        client, shares = await self._connected(), ShareGroups()
        try:
            listed = await client.groups()
            groups = [found for found in listed if found.kind in ("classic", "consumer", KINDLESS)]
            await client.describe(groups)
            await client.commits(groups)
            groups += await shares.look(client, listed)
        except CollectorError:
            await self.close()
            raise
        reading = {g.name for g in groups if destination in g.readers or any(p.topic == destination for p in g.commits)}
        return Receivers(tuple(sorted(reading)), exact=group is not None and reading == {group})

    async def send(self, message: Outgoing) -> str:
        """Produce and return `topic:partition:offset`."""
        try:
            key = None if message.key is None else raw(message.key)
            headers: list[tuple[str, str | bytes | None]] = [(name, raw(value)) for name, value in message.headers]
        except ValueError:
            raise CollectorError("the key or a header is no base64: nothing was sent", permanent=True) from None
        try:
            topics = await (await self._connected()).topics()
        except NotAllowedError as error:
            raise CollectorError(f"{error}; nothing was sent", permanent=True) from None
        except CollectorError as error:
            await self.close()
            raise CollectorError(f"{error}; nothing was sent", permanent=error.permanent, reached=False) from None
        if message.destination not in topics:
            raise CollectorError(
                f"there is no topic {message.destination} (or it may not be seen): nothing was sent", permanent=True
            )
        wanted = message.partition
        chosen = int(wanted) if wanted and wanted.isdigit() and int(wanted) < topics[message.destination] else -1
        return await self._produce(message.destination, chosen, key, message.payload, headers)

    async def _produce(
        self, topic: str, partition: int, key: bytes | None, value: bytes, headers: list[tuple[str, str | bytes | None]]
    ) -> str:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[str] = loop.create_future()

        def delivered(error: Any, record: Any) -> None:
            loop.call_soon_threadsafe(_settle, told, error, record)

        producer = self._producer = self._producer or rd.Producer(
            self._client.librdkafka()
            | {
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": int(SEND_SECONDS * 1000),
                # Without a partition the key decides, as in Java's and Python's clients.
                "partitioner": "murmur2_random",
                "log_level": 0,
            }
        )
        try:
            producer.produce(topic, value, key, partition, on_delivery=delivered, headers=headers)
        except (BufferError, rd.KafkaException, ValueError, TypeError) as error:
            name = error.args[0].name() if isinstance(error, rd.KafkaException) else type(error).__name__
            raise CollectorError(f"the message can't be sent ({name}): nothing was sent", permanent=True) from None
        await asyncio.to_thread(producer.flush, SEND_SECONDS + 1)
        await asyncio.sleep(0)
        if not told.done():
            raise CollectorError("Kafka did not answer in time: it may hold the message")
        return told.result()

    async def close(self) -> None:
        """Give the connections back."""
        self._open = False
        producer, self._producer = self._producer, None
        try:
            if producer is not None:
                await asyncio.to_thread(producer.flush, 1)
        finally:
            await self._client.close()


def _settle(told: "asyncio.Future[str]", error: Any, record: Any) -> None:
    if told.done():
        return
    if error is None:
        told.set_result(f"{record.topic()}:{record.partition()}:{record.offset()}")
    elif error.name() in _REFUSED:
        told.set_exception(CollectorError(f"Kafka did not take it: {error.str()[:200]}", permanent=True))
    else:
        told.set_exception(CollectorError(f"sending failed: {error.str()[:200]}; Kafka may hold the message"))
