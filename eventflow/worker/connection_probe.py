"""Tries a broker once: one look of its collector, kept nowhere, with a time limit. What was seen becomes a verdict.

Changes nothing: what an operator allowed a source to change (`take=`) is left out here. Never raises for what a broker
or an address does; its words hold no credentials.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import collectors
from collectors.base import Collector, CollectorError
from collectors.closing import CLOSE_SECONDS
from eventflow.domain.connection import Seen
from eventflow.domain.observations import DeadLetter, DestinationSample, LagSample, Observation, SourceStatus

TIME_LIMIT = 10.0
CANCELS = 3
"""A library may swallow one cancellation (asyncio.wait_for of Python 3.11)."""
log = logging.getLogger(__name__)


async def probe(name: str, url: str, seconds: float = TIME_LIMIT) -> Seen:
    """One look at the broker behind `url`."""
    look = Look()
    try:
        collector = collectors.from_url(name, collectors.harmless(url), seconds=seconds)
    except CollectorError as error:
        return look.seen(error=str(error))
    return await watch(collector, look, seconds)


async def watch(collector: Collector, look: "Look", seconds: float, patience: float = CLOSE_SECONDS) -> Seen:
    """Run a collector until it told its state, and break it off; a stubborn one is asked again, then left behind."""
    started = time.perf_counter()
    running = asyncio.create_task(collector.run(look.emit))
    told = asyncio.create_task(look.told.wait())
    done, _ = await asyncio.wait({running, told}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    failed_of = await _end(running, collector, patience)
    told.cancel()
    await asyncio.gather(told, return_exceptions=True)
    return look.seen(error=failed_of, timed_out=not done, seconds=time.perf_counter() - started)


async def _end(running: "asyncio.Task[None]", collector: Collector, patience: float) -> str:
    """End the collector to the end; what it failed of, if it did."""
    for _ in range(CANCELS):
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=patience)
        if done:
            break
    else:
        log.error("trying %s could not be broken off", collector.system)
        return ""
    (outcome,) = await asyncio.gather(running, return_exceptions=True)
    if isinstance(outcome, CollectorError):
        return str(outcome)
    if isinstance(outcome, Exception):
        log.error("trying %s failed unexpectedly", collector.system, exc_info=outcome)
        return f"unexpected {type(outcome).__name__}; the log has the details"
    return ""


class Look:
    """What one look emits, counted and dropped."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self._status: SourceStatus | None = None
        self._destinations: set[str] = set()
        self._for_letters: set[str] = set()
        self._groups: set[str] = set()
        self._letters = 0

    async def emit(self, batch: Sequence[Observation]) -> None:
        for item in batch:
            if isinstance(item, DestinationSample):
                self._destinations.add(item.destination)
                if item.dead_letters_of:
                    self._for_letters.add(item.destination)
            elif isinstance(item, LagSample):
                self._groups.add(item.group)
            elif isinstance(item, DeadLetter):
                self._letters += 1
            elif isinstance(item, SourceStatus):
                self._status = item
                if item.state == "ok":
                    self.told.set()
        if self.told.is_set():
            await asyncio.Event().wait()  # one look is enough: the next one never begins

    def seen(self, *, error: str = "", timed_out: bool = False, seconds: float = 0.0) -> Seen:
        status = self._status
        seen = Seen(
            destinations=len(self._destinations),
            dead_letter_destinations=len(self._for_letters),
            groups=len(self._groups),
            letters=self._letters,
            error=error,
            timed_out=timed_out,
            seconds=seconds,
        )
        if status is None:
            return seen
        return replace(
            seen,
            told=True,
            rights=tuple(status.rights.items()),
            address=status.address,
            remarks=status.message,
            calls=status.calls,
            received_bytes=status.received_bytes,
        )
