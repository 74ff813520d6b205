"""The shop's broker on Redis Streams: a stream per event, consumer groups, dead letters in `dlq.<group>`.

A message to be tried again stays pending and is claimed anew when its pause is over; what a dead process held is
claimed by the group's next one. An entry's fields are the headers, its body the field `payload`.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from demo.shop.broker import BrokerError, Delivery
from demo.shop.contract import GROUPS, Group, dead_letter_subject, events_of
from demo.shop.events import MESSAGE_ID

SWITCHES = "shop_faults"
PAYLOAD = b"payload"
# A demo that is left alone for days must not fill the memory.
KEPT_MESSAGES = 100_000
LOOK_SECONDS = 0.25
# Longer than any pause or handler of the shop's: what is idle so long belongs to a process that died.
ABANDONED_MS = 30_000
_REDIS_MESSAGE_ID = "message-id"


async def connect(url: str, name: str, *, patient: bool = True) -> "RedisBroker":
    """Wait for Redis for ever if `patient`, else say within a few seconds that it is not there."""
    where = urlsplit(url)
    client = Redis(host=where.hostname or "127.0.0.1", port=where.port or 6379, socket_connect_timeout=2)
    while True:
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            if not patient:
                await client.aclose()
                raise BrokerError(f"Redis does not answer at {where.hostname}:{where.port}") from error
            await asyncio.sleep(0.5)
        else:
            return RedisBroker(client, name)


class RedisBroker:
    system = "redis"

    def __init__(self, client: Redis, name: str) -> None:
        self._client: Any = client
        self._name = name
        self._taken: dict[str, list[Delivery]] = {}
        self._later: dict[str, list[tuple[float, str, bytes]]] = {}
        self._looked: dict[str, float] = {}

    def dead_letters_of(self, delivery: Delivery, group: str) -> str:
        return dead_letter_subject(group)

    async def declare(self) -> None:
        for group in GROUPS.values():
            for stream in events_of(group):
                try:
                    await _asked(self._client.xgroup_create(stream, group.name, id="0", mkstream=True))
                except BrokerError as error:
                    if "BUSYGROUP" not in str(error):
                        raise

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        fields: dict[str | bytes, str | bytes] = {
            _REDIS_MESSAGE_ID if name == MESSAGE_ID else name: value for name, value in headers.items()
        }
        fields[PAYLOAD] = body
        await _asked(self._client.xadd(subject, fields, maxlen=KEPT_MESSAGES, approximate=True))

    async def next(self, group: Group, wait_seconds: float) -> Delivery | None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_seconds
        streams = events_of(group)
        unread: dict[Any, Any] = dict.fromkeys(streams, ">")
        while True:
            if taken := self._taken.get(group.name):
                return taken.pop(0)
            if (found := await self._due(group, clock())) or (found := await self._abandoned(group, streams, clock())):
                return found
            if (left := deadline - clock()) <= 0:
                return None
            wait = max(1, int(min(left, LOOK_SECONDS) * 1000))
            fresh = await _asked(self._client.xreadgroup(group.name, self._name, unread, count=1, block=wait))
            # Several streams may answer at once, each with its one entry: the others wait here.
            self._taken.setdefault(group.name, []).extend(
                _delivery(group, stream.decode(), entry_id, fields, 1)
                for stream, entries in fresh or ()
                for entry_id, fields in entries
            )

    async def _due(self, group: Group, now: float) -> Delivery | None:
        """What was put off and is due."""
        later = self._later.get(group.name)
        while later and later[0][0] <= now:
            _, stream, entry_id = heapq.heappop(later)
            if found := await self._claimed(group, stream, entry_id):
                return found
        return None

    async def _abandoned(self, group: Group, streams: list[str], now: float) -> Delivery | None:
        """What a process that died held; looked for now and then."""
        if now - self._looked.get(group.name, -1e9) < ABANDONED_MS / 3000:
            return None
        self._looked[group.name] = now
        for stream in streams:
            rows = await _asked(self._client.xpending_range(stream, group.name, "-", "+", 1, idle=ABANDONED_MS))
            for row in rows:
                if found := await self._claimed(group, stream, row["message_id"], idle=ABANDONED_MS):
                    self._looked.pop(group.name, None)
                    return found
        return None

    async def _claimed(self, group: Group, stream: str, entry_id: bytes, idle: int = 0) -> Delivery | None:
        [row] = await _asked(self._client.xpending_range(stream, group.name, entry_id, entry_id, 1)) or [None]
        claimed = await _asked(self._client.xclaim(stream, group.name, self._name, idle, [entry_id])) if row else []
        if not claimed or not claimed[0][1]:
            return None  # settled, taken by another process, or trimmed away
        return _delivery(group, stream, entry_id, claimed[0][1], row["times_delivered"] + 1)

    async def ack(self, delivery: Delivery) -> None:
        group, entry_id = delivery.receipt
        await _asked(self._client.xack(delivery.stream, group, entry_id))

    async def nak(self, delivery: Delivery, delay_seconds: float) -> None:
        group, entry_id = delivery.receipt
        due = asyncio.get_running_loop().time() + delay_seconds
        heapq.heappush(self._later.setdefault(group, []), (due, delivery.stream, entry_id))

    async def term(self, delivery: Delivery) -> None:
        await self.ack(delivery)

    async def switch(self, name: str, value: str, *, first: bool = False) -> bool:
        if first:
            return bool(await _asked(self._client.hsetnx(SWITCHES, name, value)))
        await _asked(self._client.hset(SWITCHES, name, value))
        return True

    async def switches(self) -> AsyncIterator[tuple[str, str]]:
        known: dict[str, str] = {}
        while True:
            for name, value in (await self.switch_values()).items():
                if known.get(name) != value:
                    known[name] = value
                    yield name, value
            await asyncio.sleep(LOOK_SECONDS)

    async def switch_values(self) -> dict[str, str]:
        found = await _asked(self._client.hgetall(SWITCHES))
        return {name.decode(): value.decode() for name, value in found.items()}

    async def close(self) -> None:
        await self._client.aclose()


def _delivery(group: Group, stream: str, entry_id: bytes, fields: dict[bytes, bytes], attempt: int) -> Delivery:
    milliseconds, _, number = entry_id.partition(b"-")
    headers = {name.decode(): value.decode() for name, value in fields.items() if name != PAYLOAD}
    if _REDIS_MESSAGE_ID in headers:
        headers[MESSAGE_ID] = headers.pop(_REDIS_MESSAGE_ID)
    return Delivery(
        subject=stream,
        stream=stream,
        sequence=int(milliseconds) * 1000 + int(number),
        attempt=attempt,
        headers=headers,
        body=fields.get(PAYLOAD, b""),
        receipt=(group.name, entry_id),
    )


async def _asked(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except ResponseError as error:
        raise BrokerError(str(error)) from error
    except (RedisError, OSError) as error:
        raise BrokerError(f"Redis does not answer: {type(error).__name__}") from error
