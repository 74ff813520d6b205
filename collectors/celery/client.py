"""All talk with the Redis that Celery uses as its broker: reading keys, and hearing what workers publish.

Promises: every call ends (answer, refusal, lost connection or timeout), a refusal is told from an empty answer, and no
message or log line holds credentials. Writes no key and publishes nothing: events are heard by a plain subscription,
which leaves no queue behind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import TimeoutError as SilentError

from collectors.base import CollectorError
from collectors.celery import parse
from collectors.celery.address import Address
from collectors.celery.parse import NotAllowedError, Seen
from collectors.closing import cancelled_once, closed

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 4.0
MOST_HELD = 2000
"""Up to so many tasks in workers' hands are read, to tell which queue each is of."""
T = TypeVar("T")


class RedisClient:
    """One Redis. `calls` and `received_bytes` count what we cost it."""

    def __init__(self, url: str) -> None:
        self.address = Address.of(url)
        self.calls = 0
        self.received_bytes = 0
        self._redis: Any = None

    usual: tuple[str, ...] = ()
    """Queues to look at besides those found."""
    events_right = "+psubscribe on the channels /{database}.celeryev*"

    async def connect(self) -> None:
        """Connect once. Raises CollectorError quickly; permanent when the server knows us not."""
        where = self.address
        tls: dict[str, Any] = {"ssl_ca_certs": where.ca_file} if where.tls and where.ca_file else {}
        self._redis = Redis(
            host=where.host,
            port=where.port,
            db=where.database,
            username=where.user,
            password=where.password,
            ssl=where.tls,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # needs no right to HELLO
            **tls,
        )
        await self.ask(self._redis.ping())

    async def close(self) -> None:
        """Give the connections back; never raises, never waits long."""
        redis, self._redis = self._redis, None
        if redis is not None:
            await closed(redis.aclose())

    async def ask(self, call: Awaitable[T]) -> T:
        """An answer. Raises NotAllowedError or CollectorError."""
        where = self.address.shown
        self.calls += 1
        try:
            return await cancelled_once(call)
        except NoPermissionError as refusal:
            raise NotAllowedError(f"Redis at {where} says: {str(refusal)[:200]}") from None
        except AuthenticationError:
            raise CollectorError(
                f"Redis at {where} refuses our credentials: correct user and password in the source's URL",
                permanent=True,
            ) from None
        except SilentError:
            raise CollectorError(f"Redis at {where} gave no answer in {ANSWER_SECONDS:.0f} s") from None
        except (LostError, OSError):
            raise CollectorError(f"can't reach Redis at {where}: connection refused, closed or lost") from None
        except ResponseError as refusal:
            raise CollectorError(f"Redis at {where} refused a command: {str(refusal)[:200]}") from None
        except RedisError as error:
            raise CollectorError(f"Redis at {where} can't be asked: {type(error).__name__}") from None

    async def bindings(self) -> dict[tuple[str, str], str]:
        """(exchange, routing key) → queue, of every queue that a worker or sender has declared."""
        found: dict[tuple[str, str], str] = {}
        for key in await self.keys(f"{parse.BINDINGS}*", "set"):
            found |= parse.bindings(key, await self.members(key))
        return found

    async def look(self, queues: Sequence[str], bindings: Mapping[tuple[str, str], str]) -> Seen:
        """How many tasks wait in each queue, and those that workers hold."""
        lists = [parse.lists_of(queue) for queue in queues]
        lengths = iter(await self.lengths([name for names in lists for name in names]))
        ready = {queue: sum(next(lengths) for _ in names) for queue, names in zip(queues, lists, strict=True)}
        count, entries = await self.held(parse.UNACKED, MOST_HELD)
        return Seen(ready, parse.held(entries, bindings) if count <= MOST_HELD else None, count)

    async def keys(self, pattern: str, kind: str) -> list[bytes]:
        """The keys of this pattern and type, by SCAN."""
        cursor, found = 0, []
        while True:
            cursor, some = await self.ask(self._redis.scan(cursor, match=pattern, count=1000, _type=kind))
            found += some
            if not cursor:
                return found

    async def members(self, key: bytes) -> set[bytes]:
        """A set's members."""
        return set(self._count(await self.ask(self._redis.smembers(key))))

    async def lengths(self, lists: list[str]) -> list[int]:
        """How long these lists are, in one go."""
        pipe = self._redis.pipeline(transaction=False)
        for name in lists:
            pipe.llen(name)
        return [int(answer) for answer in await self.ask(pipe.execute())] if lists else []

    async def held(self, key: str, at_most: int) -> tuple[int, list[bytes]]:
        """How many entries a hash has, and their values while they are not too many."""
        count = int(await self.ask(self._redis.hlen(key)))
        cursor, found = 0, dict[bytes, bytes]()
        while 0 < count <= at_most:
            cursor, some = await self.ask(self._redis.hscan(key, cursor, count=200))
            found |= self._count(some)
            if not cursor:
                break
        return count, list(found.values())

    async def listen(self, heard: Callable[[bytes], None], ready: asyncio.Event) -> None:
        """Hear events until cancelled or lost."""
        pubsub = self._redis.pubsub()
        try:
            await self.ask(pubsub.psubscribe(f"/{self.address.database}.celeryev*", "celeryev*"))
            while True:
                message = await self._next(pubsub)
                if message["type"] == "psubscribe":
                    ready.set()
                elif message["type"] == "pmessage":
                    self.received_bytes += len(message["data"])
                    heard(parse.event_body(message["data"]))
        finally:
            await closed(pubsub.aclose())

    async def _next(self, pubsub: Any) -> Any:
        while True:
            message = await self.ask(pubsub.get_message(timeout=60.0))
            self.calls -= 1  # waiting asks nothing of the server
            if message is not None:
                return message

    def _count(self, answer: Any) -> Any:
        self.received_bytes += sum(len(part) for part in answer)
        return answer
