"""Sends requests to a receiver as fast as it takes them, over some connections; says how long each took."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import httptools

from benchmarks.grpc_send import Connection

CONNECTIONS = 8
RECONNECTS = 10
OK = 200


@dataclass(slots=True)
class Sent:
    """What became of it: seconds to each acknowledgement, and the moment (`time.perf_counter`) when it began."""

    begun: float
    acknowledged: list[float] = field(default_factory=list)


class _Connection(asyncio.Protocol):
    """Sends the next request when it has the answer to the last. `gone` has the one that got no answer."""

    def __init__(self, requests: Iterator[bytes], sent: Sent) -> None:
        self.requests, self.sent = requests, sent
        self.gone: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)
        self.request: bytes | None = None
        self.at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.next()

    def next(self) -> None:
        self.request = next(self.requests, None)
        if self.request is None:
            self.transport.close()
            return
        self.at = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status != OK:
            self.gone.set_exception(RuntimeError(f"a request was answered with {status}"))
            self.transport.abort()
            return
        self.sent.acknowledged.append(time.perf_counter() - self.at)
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(self.request)


def over_http(port: int, media_type: str, bodies: Sequence[bytes]) -> Sent:
    """Each body, packed with gzip, once, over connections that stay."""
    head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Encoding: gzip\r\n"
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]

    async def send() -> Sent:
        waiting = iter(requests)
        sent = Sent(time.perf_counter())
        loop = asyncio.get_running_loop()

        async def connection() -> None:
            again: bytes | None = None
            for _ in range(RECONNECTS):
                todo = waiting if again is None else chain([again], waiting)
                _, protocol = await loop.create_connection(partial(_Connection, todo, sent), "127.0.0.1", port)
                # A server may end a connection that was quiet for seconds: senders then send again.
                again = await protocol.gone
                if again is None:
                    return
            raise RuntimeError("the server ends one connection after the other")

        await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
        return sent

    return asyncio.run(send())


def over_grpc(port: int, encoding: str, bodies: Sequence[bytes]) -> Sent:
    """Each body, packed as `encoding` says, once, over connections that stay."""

    async def send() -> Sent:
        waiting = iter(bodies)
        sent = Sent(time.perf_counter())
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(waiting, encoding, sent.acknowledged)

        made = [await loop.create_connection(connection, "127.0.0.1", port) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(protocol.gone for _, protocol in made))
        if len(sent.acknowledged) != len(bodies):
            raise RuntimeError("the server ended a connection")
        return sent

    return asyncio.run(send())
