"""What HTTP and gRPC do alike with a request's bytes: parse, hand on, wait until it is durable, count.

Promises: `traces` returns only after `emit` did. Raises RefusedError for whatever goes wrong, so that no sender ever
sees an internal error. Keeps no queue.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from collectors.base import Emit
from collectors.otlp import metrics, parse, signals
from collectors.otlp.signals import Answer
from collectors.receiving.budget import Budget, Share
from collectors.receiving.durable import EMIT_SECONDS, PARSED_WEIGHT, offer, parsed, utcnow
from eventflow.domain.observations import SpanBatch


class Intake:
    """Takes export requests in for `emit`. One for all transports, so that the budget and the counters are shared."""

    def __init__(
        self,
        emit: Emit,
        *,
        max_bytes: int,
        source: str = "otlp",
        in_flight_bytes: int | None = None,
        correlation_keys: Sequence[str] = (),
        emit_seconds: float = EMIT_SECONDS,
        now: Callable[[], datetime] = utcnow,
        counters: Counter[str] | None = None,
    ) -> None:
        self.emit = emit
        self.max_bytes = max_bytes
        self.source = source
        self.budget = Budget(in_flight_bytes or 8 * max_bytes)
        self.correlation_keys = tuple(correlation_keys)
        self.emit_seconds = emit_seconds
        self.now = now
        self.counters: Counter[str] = Counter() if counters is None else counters

    async def take(self, signal: str, body: bytes, share: Share, *, as_json: bool) -> Answer:
        """Take an uncompressed export of `signal` in. On return, all that the answer doesn't name is durable."""
        share.take(PARSED_WEIGHT * len(body))
        self.counters["requests"] += 1
        self.counters["bytes"] += len(body)
        if signal == "traces":
            return await self._traces(body, as_json=as_json)
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

    async def _traces(self, body: bytes, *, as_json: bool) -> Answer:
        read = parse.from_json if as_json else parse.from_protobuf
        found = await parsed(len(body), lambda: read(body, self.correlation_keys))
        self.counters.update(found.warnings)
        if found.rejected:
            self.counters["spans rejected"] += found.rejected
        if found.spans:
            await offer(self.emit, [SpanBatch(found.body, found.spans, self.now())], self.emit_seconds)
            self.counters["spans"] += len(found.spans)
        return Answer(found.rejected, found.message)
