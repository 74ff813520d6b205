"""The Zipkin receiver as a collector: services push spans to it until it is cancelled.

A taken port is a permanent CollectorError: the source stops and says so, and nothing else stops with it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence

from collectors.base import CollectorError, Emit
from collectors.receiving.server import serving
from collectors.receiving.status import tell
from collectors.receiving.tokens import Gate
from collectors.zipkin.http import ReadSpans, ZipkinHttp

MAX_BYTES = 64 * 1024 * 1024
VARIABLE = "EVENTFLOW_ZIPKIN"


class ZipkinReceiver:
    """Receives Zipkin v2 JSON on `address` (``host:port``). `read_spans`: an OTLP body → its spans."""

    system = "zipkin"

    def __init__(
        self,
        address: str,
        read_spans: ReadSpans,
        *,
        max_bytes: int = MAX_BYTES,
        tokens: Sequence[str] = (),
        name: str = "zipkin",
    ) -> None:
        self.name = name
        self.address = address
        self.read_spans = read_spans
        self.max_bytes = max_bytes
        self.gate = Gate(tokens)
        self.ready = asyncio.Event()
        """Set while it accepts requests."""
        self.port = 0
        self._counters: Counter[str] = Counter()

    @property
    def instrumentation(self) -> Mapping[str, int]:
        """What was received, refused, left out or odd since the start: words → how often."""
        return dict(self._counters)

    async def run(self, emit: Emit) -> None:
        """Receive until cancelled. Raises a permanent CollectorError when the address can't be had."""
        app = ZipkinHttp(emit, self.read_spans, max_bytes=self.max_bytes, gate=self.gate, counters=self._counters)
        async with contextlib.AsyncExitStack() as stack:
            self.port, task = await stack.enter_async_context(serving(self.address, app, VARIABLE, "zipkin http"))
            telling = asyncio.create_task(
                tell(emit, self.name, self.system, address=f"HTTP {self.address}", counters=self._counters),
                name="zipkin status",
            )
            stack.callback(telling.cancel)
            self.ready.set()
            stack.callback(self.ready.clear)
            done, _ = await asyncio.wait([task, telling], return_when=asyncio.FIRST_COMPLETED)
            cause = next((one.exception() for one in done if not one.cancelled()), None)
            raise CollectorError("the Zipkin receiver stopped by itself") from cause
