"""The OTLP receiver as a collector: services push spans to it over HTTP and gRPC until it is cancelled.

Binds exactly the addresses it is given and says which variable to change when one is taken. Captures no signals.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime

import uvicorn

from collectors.base import CollectorError, Emit, poll
from collectors.otlp import grpc as otlp_grpc
from collectors.otlp.http import OtlpHttp
from collectors.otlp.intake import Intake, utcnow
from eventflow.domain.observations import SourceStatus

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024
"""OTLP's own advice for the largest request, before and after decompression."""
HTTP_VARIABLE = "EVENTFLOW_OTLP_HTTP"
GRPC_VARIABLE = "EVENTFLOW_OTLP_GRPC"
GRACE_SECONDS = 2
STATUS_SECONDS = 10.0


class OtlpReceiver:
    """Receives OTLP on `http` and `grpc` (``host:port``; None turns one off)."""

    system = "otlp"

    def __init__(
        self,
        http: str | None = "127.0.0.1:4318",
        grpc: str | None = "127.0.0.1:4317",
        max_bytes: int = MAX_BYTES,
        cors: Sequence[str] = (),
        correlation_keys: Sequence[str] = (),
        *,
        name: str = "otlp",
        in_flight_bytes: int | None = None,
    ) -> None:
        self.name = name
        self.http = http
        self.grpc = grpc
        self.max_bytes = max_bytes
        self.cors = tuple(cors)
        self.correlation_keys = tuple(correlation_keys)
        self.in_flight_bytes = in_flight_bytes
        self.ready = asyncio.Event()
        """Set while both addresses accept requests."""
        self.http_port = 0
        self.grpc_port = 0
        self._counters: Counter[str] = Counter()

    @property
    def instrumentation(self) -> Mapping[str, int]:
        """What was received, refused, left out or odd since the start: words → how often."""
        return dict(self._counters)

    async def run(self, emit: Emit) -> None:
        """Receive until cancelled. Raises a permanent CollectorError when an address can't be had."""
        intake = Intake(
            emit,
            max_bytes=self.max_bytes,
            in_flight_bytes=self.in_flight_bytes,
            correlation_keys=self.correlation_keys,
            counters=self._counters,
        )
        async with contextlib.AsyncExitStack() as stack:
            working: list[asyncio.Task[None]] = []
            if self.http:
                app = OtlpHttp(intake, cors=self.cors)
                self.http_port, serving = await stack.enter_async_context(_http(self.http, app))
                working.append(serving)
            if self.grpc:
                self.grpc_port = await stack.enter_async_context(_grpc(self.grpc, intake))
            working.append(asyncio.create_task(self._tell(emit), name="otlp status"))
            stack.callback(working[-1].cancel)
            self.ready.set()
            stack.callback(self.ready.clear)
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            cause = next((task.exception() for task in done if not task.cancelled()), None)
            raise CollectorError("the OTLP receiver stopped by itself") from cause

    async def _tell(self, emit: Emit) -> None:
        """Say how it goes, again and again: silence means that it died, not that nothing came in."""

        async def tell() -> None:
            try:
                await emit([self._status(utcnow())])
            except CollectorError as error:
                log.warning("the receiver's status could not be stored: %s", error)

        await poll(tell, STATUS_SECONDS)

    def _status(self, at: datetime) -> SourceStatus:
        address = ", ".join(f"{kind} {host}" for kind, host in (("HTTP", self.http), ("gRPC", self.grpc)) if host)
        return SourceStatus(
            source=self.name,
            system=self.system,
            state="ok",
            at=at,
            address=address,
            calls=self._counters["requests"],
            received_bytes=self._counters["bytes"],
        )


class _Server(uvicorn.Server):
    """Uvicorn that leaves the process's signals alone and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def _http(address: str, app: OtlpHttp) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    listener = _listen(address, HTTP_VARIABLE)
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="otlp http")
    try:
        up = asyncio.create_task(server.up.wait())
        await asyncio.wait([up, task], return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        yield listener.getsockname()[1], task
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()


@contextlib.asynccontextmanager
async def _grpc(address: str, intake: Intake) -> AsyncIterator[int]:
    host, port = _split(address, GRPC_VARIABLE)
    server = otlp_grpc.server(intake)
    shown = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{shown}:{port}")
    except RuntimeError as error:
        raise _taken(address, GRPC_VARIABLE) from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(GRACE_SECONDS)


def _listen(address: str, variable: str) -> socket.socket:
    host, port = _split(address, variable)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise _taken(address, variable) from error
        raise CollectorError(f"cannot listen on {address}: {error.strerror}; set {variable}", permanent=True) from error
    return listener


def _split(address: str, variable: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise CollectorError(f"{variable} must be host:port, such as 127.0.0.1:4318", permanent=True)
    return host.strip("[]") or "127.0.0.1", int(port)


def _taken(address: str, variable: str) -> CollectorError:
    port = address.rpartition(":")[2]
    return CollectorError(
        f"port {port} ({address}) is taken or not allowed; set {variable} to another host:port", permanent=True
    )
