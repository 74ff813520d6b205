"""What HTTP and gRPC do alike with a request's bytes: parse, hand on, wait until it is durable, count.

Promises: `traces` returns only after `emit` did. Raises RefusedError for whatever goes wrong, so that no sender ever
sees an internal error. Keeps no queue.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.base import Emit
from collectors.otlp import json_request, metrics, parse, signals
from collectors.otlp.scan import OtlpFormat, UnscannableError
from collectors.otlp.signals import Answer
from collectors.receiving.budget import Budget, Share
from collectors.receiving.durable import EMIT_SECONDS, PARSED_WEIGHT, offer, parsed, utcnow
from eventflow.domain.columns import SpanColumns
from eventflow.domain.observations import Span, SpanBatch

NATIVE_SPEEDUP, PLAIN_SPEEDUP = 4, 2
"""How many times as many bytes as otherwise a scan may read in the event loop: the usual requests of 512 spans in any
case. Threads that scan get in each other's way and mix up the order of arrival, which splits flows."""
PACKED = ("gzip", "zstd")
"""Encodings in which a store may keep a request."""
ODD_COST = 1024
"""Bytes that take as long to read as one span whole."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A traces request, understood; `body` holds what is kept of it."""

    body: bytes
    columns: SpanColumns | None
    count: int
    warnings: Counter[str]
    spans: tuple[Span, ...] = ()
    rejected: int = 0
    message: str = ""


class Intake:
    """Takes export requests in for `emit`. One for all transports, so that the budget and the counters are shared."""

    def __init__(
        self,
        emit: Emit,
        *,
        max_bytes: int,
        source: str = "otlp",
        in_flight_bytes: int | None = None,
        span_format: OtlpFormat | None = None,
        emit_seconds: float = EMIT_SECONDS,
        now: Callable[[], datetime] = utcnow,
        counters: Counter[str] | None = None,
    ) -> None:
        self.emit = emit
        self.max_bytes = max_bytes
        self.source = source
        self.budget = Budget(in_flight_bytes or 8 * max_bytes)
        self.format = span_format or OtlpFormat()
        self.emit_seconds = emit_seconds
        self.now = now
        self.counters: Counter[str] = Counter() if counters is None else counters

    async def take(
        self, signal: str, body: bytes, share: Share, *, as_json: bool, packed: tuple[str, bytes] = ("", b"")
    ) -> Answer:
        """Take an uncompressed export of `signal` in. On return, all that the answer doesn't name is durable.

        packed  the content encoding and the body as it was sent: kept as it is where nothing had to be changed
        """
        share.take(PARSED_WEIGHT * len(body))
        self.counters["requests"] += 1
        self.counters["bytes"] += len(body)
        if signal == "traces":
            return await self._traces(body, packed, as_json=as_json)
        if signal == "metrics":
            return await self._metrics(body, as_json=as_json)
        count = await parsed(len(body), lambda: signals.count_logs(body, as_json=as_json))
        self.counters["logs not used"] += count
        return signals.not_used("logs", count)

    async def _metrics(self, body: bytes, *, as_json: bool) -> Answer:
        read = metrics.from_json if as_json else metrics.from_protobuf
        found = await parsed(len(body), lambda: read(body, self.source, self.now()))
        if found.samples:
            await offer(self.emit, found.samples, self.emit_seconds)
            self.counters["lag readings"] += len(found.samples)
        self.counters["metrics not used"] += found.not_used
        self.counters["messaging metrics not used"] += found.counted_only
        return signals.not_used("metrics", found.not_used)

    async def _traces(self, body: bytes, packed: tuple[str, bytes], *, as_json: bool) -> Answer:
        found = await self._read(body, as_json=as_json)
        if found.warnings:
            self.counters.update(found.warnings)
        if found.rejected:
            self.counters["spans rejected"] += found.rejected
        if found.count:
            as_sent = packed if found.body is body and packed[0] in PACKED else None
            batch = SpanBatch(found.body, self.now(), found.spans, found.columns, as_sent)
            await offer(self.emit, [batch], self.emit_seconds)
            self.counters["spans"] += found.count
        return Answer(found.rejected, found.message)

    async def _read(self, body: bytes, *, as_json: bool) -> _Taken:
        """Scanned where that tells all; each part of the work in the event loop only if it is little."""
        warnings: Counter[str] = Counter()
        speedup = NATIVE_SPEEDUP if self.format.native else PLAIN_SPEEDUP
        if as_json:
            body = await self._from_json(body, warnings)
        columns = await parsed(len(body) // speedup, lambda: self._columns(body))
        if columns is None:
            return await parsed(len(body), lambda: self._read_whole(body, warnings))
        if 1 in columns.odd:
            odd = [index for index, is_odd in enumerate(columns.odd) if is_odd]
            await parsed(ODD_COST * len(odd), lambda: self.format.read_counting(body, warnings, columns, odd))
        return _Taken(body, columns, columns.count, warnings)

    async def _from_json(self, sent: bytes, warnings: Counter[str]) -> bytes:
        speedup = NATIVE_SPEEDUP if self.format.native else 1
        quick = await parsed(len(sent) // speedup, lambda: self.format.from_json(sent))
        if quick is not None:
            return quick
        return await parsed(len(sent), lambda: bytes(json_request.read(sent, warnings).SerializeToString()))

    def _read_whole(self, body: bytes, warnings: Counter[str]) -> _Taken:
        """A request that breaks a rule somewhere, or is put together as nobody does: each span for itself."""
        found = parse.from_protobuf(body, self.format.correlation_keys)
        warnings.update(found.warnings)
        kept, columns = found.body, self._columns(found.body)
        if columns is None:
            # What came in pieces is put together by protobuf's own reader and writer.
            kept = ExportTraceServiceRequest.FromString(kept).SerializeToString()
            columns = self._columns(kept)
        return _Taken(kept, columns, len(found.spans), warnings, found.spans, found.rejected, found.message)

    def _columns(self, body: bytes) -> SpanColumns | None:
        try:
            return self.format.scan(body)
        except UnscannableError:
            return None
