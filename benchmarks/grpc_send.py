"""Requests over gRPC from a client that costs next to nothing: just as much of HTTP/2 as one request at a time needs.

gRPC's own client would pack each message anew, which takes longer than a server needs for all else.
"""

import asyncio
import struct
import time
from collections.abc import Iterator

from collectors.otlp.signals import SERVICES

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW = 4
"""The setting of that name."""
WINDOW_BYTES, FRAME_BYTES, ANSWERS_BYTES = 65_535, 16_384, 2**30


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def _head(encoding: str) -> bytes:
    """The headers of a request; names and values as they are, nothing to be remembered."""
    found = b"\x83\x86"  # POST over plain http
    told = {":path": f"/{SERVICES['traces']}/Export", ":authority": "x", "te": "trailers"}
    for name, value in {**told, "content-type": "application/grpc", "grpc-encoding": encoding}.items():
        found += b"\0" + b"".join(bytes((len(one),)) + one.encode() for one in (name, value))
    return found


class Connection(asyncio.Protocol):
    """Sends the next message when it has the answer to the last; `gone` ends when none is left, or with an error."""

    def __init__(self, messages: Iterator[bytes], encoding: str, acknowledged: list[float]) -> None:
        self.messages, self.acknowledged = messages, acknowledged
        self.head, self.packed = _head(encoding), encoding != "identity"
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.stream, self.initial, self.window, self.stream_window = -1, WINDOW_BYTES, WINDOW_BYTES, 0
        self.received = b""
        self.waiting = memoryview(b"")
        self.answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0))
        transport.write(_frame(WINDOW, 0, 0, struct.pack(">I", ANSWERS_BYTES)))
        self.next()

    def next(self) -> None:
        message = next(self.messages, None)
        if message is None:
            self.transport.close()
            return
        self.stream += 2
        self.stream_window, self.answered, self.at = self.initial, False, time.perf_counter()
        self.waiting = memoryview(struct.pack(">BI", self.packed, len(message)) + message)
        self.transport.write(_frame(HEADERS, END_HEADERS, self.stream, self.head))
        self.send()

    def send(self) -> None:
        """As much as the server has room for."""
        while self.waiting and (size := min(self.window, self.stream_window, FRAME_BYTES, len(self.waiting))) > 0:
            part, self.waiting = self.waiting[:size], self.waiting[size:]
            self.window, self.stream_window = self.window - size, self.stream_window - size
            self.transport.write(_frame(DATA, 0 if self.waiting else END_STREAM, self.stream, bytes(part)))

    def data_received(self, data: bytes) -> None:
        self.received += data
        while len(self.received) >= 9:
            size = int.from_bytes(self.received[:3])
            if len(self.received) < 9 + size:
                return
            kind, flags, stream = struct.unpack(">BBI", self.received[3:9])
            payload, self.received = self.received[9 : 9 + size], self.received[9 + size :]
            self.frame(kind, flags, stream, payload)

    def frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW:
            more = int.from_bytes(payload)
            self.window += 0 if stream else more
            self.stream_window += more if stream == self.stream else 0
            self.send()
        elif kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW:
                    self.stream_window += value - self.initial
                    self.initial = value
            self.transport.write(_frame(SETTINGS, ACK, 0))
            self.send()
        elif kind == PING and not flags & ACK:
            self.transport.write(_frame(PING, ACK, 0, payload))
        elif kind == DATA:
            self.answered = True  # an error has no message
        elif kind in (RESET, GOAWAY) or (kind == HEADERS and flags & END_STREAM and not self.answered):
            self.gone.set_exception(RuntimeError("a request was refused"))
            self.transport.abort()
        elif kind == HEADERS and flags & END_STREAM:
            self.acknowledged.append(time.perf_counter() - self.at)
            self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
