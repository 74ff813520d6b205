"""What HTTP and gRPC do alike with a request's bytes: parse, hand on, wait until it is durable, count.

Promises: `traces` returns only after `emit` did. Raises RefusedError for whatever goes wrong, so that no sender ever
sees an internal error. Keeps no queue.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from collectors.base import CollectorError, Emit
from collectors.otlp import parse, signals
from collectors.otlp.budget import Budget, Share
from collectors.otlp.errors import BadRequestError, OverloadedError, RefusedError
from collectors.otlp.signals import Answer
from eventflow.domain.observations import SpanBatch

T = TypeVar("T")
log = logging.getLogger(__name__)

IN_A_THREAD = 256 * 1024
"""From this size on, parsing would hold up the event loop for longer than a few requests take."""
PARSED_WEIGHT = 4
"""How many times a body's size its spans are counted for in memory, besides the body."""


def utcnow() -> datetime:
    """The wall clock; tests give their own."""
    return datetime.now(UTC)


class Intake:
    """Takes export requests in for `emit`. One for all transports, so that the budget and the counters are shared."""

    def __init__(
        self,
        emit: Emit,
        *,
        max_bytes: int,
        in_flight_bytes: int | None = None,
        correlation_keys: Sequence[str] = (),
        emit_seconds: float = 8.0,
        now: Callable[[], datetime] = utcnow,
        counters: Counter[str] | None = None,
    ) -> None:
        self.emit = emit
        self.max_bytes = max_bytes
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
        answer = await _run(len(body), lambda: signals.not_used(signal, body, as_json=as_json))
        self.counters[f"{signal} not used"] += answer.rejected
        return answer

    async def _traces(self, body: bytes, *, as_json: bool) -> Answer:
        read = parse.from_json if as_json else parse.from_protobuf
        parsed = await _run(len(body), lambda: read(body, self.correlation_keys))
        self.counters.update(parsed.warnings)
        if parsed.rejected:
            self.counters["spans rejected"] += parsed.rejected
        if parsed.spans:
            await self._emit(SpanBatch(parsed.body, parsed.spans, self.now()))
            self.counters["spans"] += len(parsed.spans)
        return Answer(parsed.rejected, parsed.message)

    async def _emit(self, batch: SpanBatch) -> None:
        try:
            async with asyncio.timeout(self.emit_seconds):
                await self.emit([batch])
        except TimeoutError as error:
            raise OverloadedError("storing took too long; send this again", retry_seconds=2) from error
        except CollectorError as error:
            raise OverloadedError("it cannot be stored now; send this again", retry_seconds=5) from error
        except Exception as error:
            # A sender must never see 500: it would drop what it could have sent again.
            log.exception("storing spans failed")
            raise OverloadedError("it cannot be stored now; send this again", retry_seconds=5) from error


async def _run(size: int, work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work) if size >= IN_A_THREAD else work()
    except RefusedError:
        raise
    except Exception as error:
        # A mistake of ours in reading this body: sending it again would meet it again.
        log.exception("reading a request failed")
        raise BadRequestError("the request cannot be read") from error
