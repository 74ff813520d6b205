"""A running receiver with a list as its sink, and spans to send to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from collectors.base import CollectorError
from collectors.otlp import OtlpReceiver
from collectors.otlp.scan import OtlpFormat
from eventflow.domain.observations import Observation, Span, SpanBatch


class Sink:
    """Takes what a collector emits; `failure` is raised instead of keeping spans, `blind` refuses all else."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.failure: BaseException | None = None
        self.blind = False
        self.gate: asyncio.Event | None = None

    async def __call__(self, batch: Sequence[Observation]) -> None:
        if not all(isinstance(observation, SpanBatch) for observation in batch):
            if self.blind:
                raise CollectorError("no table for this")
            self.seen.extend(batch)
            return
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.seen.extend(batch)

    @property
    def batches(self) -> list[SpanBatch]:
        return [observation for observation in self.seen if isinstance(observation, SpanBatch)]

    @property
    def spans(self) -> list[Span]:
        return [span for batch in self.batches for span in batch.spans or OtlpFormat().read(batch.body)]


@contextlib.asynccontextmanager
async def running(receiver: OtlpReceiver, sink: Sink) -> AsyncIterator[OtlpReceiver]:
    """`receiver` while it runs; whatever ends it is raised here."""
    task = asyncio.create_task(receiver.run(sink))
    ready = asyncio.create_task(receiver.ready.wait())
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED, timeout=10)
    try:
        if task.done():
            task.result()
        assert ready.done()
        yield receiver
    finally:
        ready.cancel()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
async def receiver(sink: Sink) -> AsyncIterator[OtlpReceiver]:
    async with running(OtlpReceiver("127.0.0.1:0", "127.0.0.1:0", max_bytes=1_000_000), sink) as started:
        yield started
