"""Requests over gRPC from a client that packs nothing: HTTP/2 by `h2`, and gRPC's five bytes before each message.

gRPC's own client would pack each message anew, which takes longer than a server needs for all else.
"""

import asyncio
import struct
import time
from collections.abc import Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)

from collectors.otlp.signals import SERVICES

ANSWERS_BYTES = 2**30
"""Room for answers that is given at once."""


class Connection(asyncio.Protocol):
    """Sends the next message when it has the answer to the last; `gone` ends when none is left, or with an error."""

    def __init__(self, messages: Iterator[bytes], encoding: str, acknowledged: list[float]) -> None:
        self.messages, self.acknowledged = messages, acknowledged
        self.packed = encoding != "identity"
        self.head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/{SERVICES['traces']}/Export"),
            (":authority", "x"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-encoding", encoding),
        ]
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.http = H2Connection(H2Configuration(client_side=True))
        self.stream, self.at = 0, 0.0
        self.waiting = memoryview(b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.http.initiate_connection()
        self.http.increment_flow_control_window(ANSWERS_BYTES)
        self.next()

    def next(self) -> None:
        message = next(self.messages, None)
        if message is None:
            self.transport.close()
            return
        self.at, self.stream = time.perf_counter(), self.http.get_next_available_stream_id()
        self.waiting = memoryview(struct.pack(">BI", self.packed, len(message)) + message)
        self.http.send_headers(self.stream, self.head)
        self.send()

    def send(self) -> None:
        """As much as the server has room for."""
        while self.waiting and (
            room := min(self.http.local_flow_control_window(self.stream), self.http.max_outbound_frame_size)
        ):
            part, self.waiting = self.waiting[:room], self.waiting[room:]
            self.http.send_data(self.stream, bytes(part), end_stream=not self.waiting)
        self.transport.write(self.http.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.http.receive_data(data):
            self.happened(event)
        if not self.transport.is_closing():
            self.send()

    def happened(self, event: Event) -> None:
        if self.gone.done():
            return
        if isinstance(event, StreamReset | ConnectionTerminated) or _says_no(event):
            self.gone.set_exception(RuntimeError(f"a request was refused: {event}"))
            self.transport.abort()
        elif isinstance(event, DataReceived):
            self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.acknowledged.append(time.perf_counter() - self.at)
            self.next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


def _says_no(event: Event) -> bool:
    """Whether these are headers of a refusal, which may come without an answer before them."""
    if not isinstance(event, ResponseReceived | TrailersReceived):
        return False
    return dict(event.headers).get(b"grpc-status", b"0") != b"0"
