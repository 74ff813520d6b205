"""The OTLP receiver as a collector: services push spans to it over HTTP and gRPC until it is cancelled.

Binds exactly the addresses it is given and says which variable to change when one is taken. Captures no signals.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence

from collectors.base import CollectorError, Emit
from collectors.otlp import grpc as otlp_grpc
from collectors.otlp.http import OtlpHttp
from collectors.otlp.intake import Intake
from collectors.otlp.scan import OtlpFormat
from collectors.receiving.server import GRACE_SECONDS, serving, split, taken
from collectors.receiving.status import tell
from collectors.receiving.tokens import Gate

MAX_BYTES = 64 * 1024 * 1024
"""OTLP's own advice for the largest request, before and after decompression."""
HTTP_VARIABLE = "EVENTFLOW_OTLP_HTTP"
GRPC_VARIABLE = "EVENTFLOW_OTLP_GRPC"


class OtlpReceiver:
    """Receives OTLP on `http` and `grpc` (``host:port``; None turns one off).

    span_format  the store's, whose names the columns of what is emitted refer to
    shared       other processes of ours may receive on the same addresses
    told_as      the name of its status, where that is another than that of what it receives
    """

    system = "otlp"

    def __init__(
        self,
        http: str | None = "127.0.0.1:4318",
        grpc: str | None = "127.0.0.1:4317",
        max_bytes: int = MAX_BYTES,
        cors: Sequence[str] = (),
        span_format: OtlpFormat | None = None,
        *,
        tokens: Sequence[str] = (),
        name: str = "otlp",
        in_flight_bytes: int | None = None,
        shared: bool = False,
        told_as: str = "",
    ) -> None:
        self.name = name
        self.shared = shared
        self.told_as = told_as or name
        self.http = http
        self.grpc = grpc
        self.max_bytes = max_bytes
        self.cors = tuple(cors)
        self.format = span_format or OtlpFormat()
        self.in_flight_bytes = in_flight_bytes
        self.gate = Gate(tokens)
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
            source=self.name,
            in_flight_bytes=self.in_flight_bytes,
            span_format=self.format,
            counters=self._counters,
        )
        async with contextlib.AsyncExitStack() as stack:
            working: list[asyncio.Task[None]] = []
            if self.http:
                app = OtlpHttp(intake, cors=self.cors, gate=self.gate)
                self.http_port, task = await stack.enter_async_context(
                    serving(self.http, app, HTTP_VARIABLE, "otlp http", shared=self.shared)
                )
                working.append(task)
            if self.grpc:
                self.grpc_port = await stack.enter_async_context(
                    _grpc(self.grpc, intake, self.gate, shared=self.shared)
                )
            told = tell(emit, self.told_as, self.system, address=self._address(), counters=self._counters)
            working.append(asyncio.create_task(told, name="otlp status"))
            stack.callback(working[-1].cancel)
            self.ready.set()
            stack.callback(self.ready.clear)
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            cause = next((task.exception() for task in done if not task.cancelled()), None)
            raise CollectorError("the OTLP receiver stopped by itself") from cause

    def _address(self) -> str:
        return ", ".join(f"{kind} {host}" for kind, host in (("HTTP", self.http), ("gRPC", self.grpc)) if host)


@contextlib.asynccontextmanager
async def _grpc(address: str, intake: Intake, gate: Gate, *, shared: bool) -> AsyncIterator[int]:
    host, port = split(address, GRPC_VARIABLE)
    server = otlp_grpc.server(intake, gate, shared=shared)
    shown = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{shown}:{port}")
    except RuntimeError as error:
        raise taken(address, GRPC_VARIABLE) from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(GRACE_SECONDS)
