"""Runs the collectors: each in a task of its own, restarted with growing pauses, or stopped with the reason said.

Promises: one source's trouble never touches another's; every failure becomes a status that a person can read;
cancelling ends every collector before it returns. Knows no Django: what to do with what is seen is passed in.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import collectors
from collectors.base import Collector, CollectorError, Emit
from collectors.closing import end_if_cancelled
from eventflow.domain.observations import SourceStatus

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
GOOD_RUN = timedelta(minutes=1)

logger = logging.getLogger(__name__)

OnStatus = Callable[[SourceStatus], Awaitable[None]]
Now = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]


class _Unusable:
    """A source whose URL nobody can use: it stops at once and says why, beside the others that run."""

    def __init__(self, name: str, url: str, error: CollectorError) -> None:
        self.name = name
        self.system = url.partition("://")[0][:20]
        self._error = error

    async def run(self, emit: Emit) -> None:
        raise self._error


def collector(
    name: str,
    url: str,
    *,
    seconds: float,
    correlation_keys: Sequence[str] = (),
    resume: Mapping[str, int] | None = None,
) -> Collector:
    """The collector of a configured source; one that only tells the reason when there is none for its URL."""
    try:
        return collectors.from_url(name, url, seconds=seconds, correlation_keys=correlation_keys, resume=resume)
    except CollectorError as error:
        return _Unusable(name, url, error)


async def supervise(
    sources: Iterable[Collector], emit: Emit, *, on_status: OnStatus, now: Now, sleep: Sleep = asyncio.sleep
) -> None:
    """Run all until cancelled, also when every one has stopped for good."""
    tasks = [
        asyncio.create_task(
            _keep_running(one, emit, on_status=on_status, now=now, sleep=sleep), name=f"collect {one.name}"
        )
        for one in sources
    ]
    try:
        await asyncio.gather(*tasks)
        await asyncio.get_running_loop().create_future()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(collector: Collector, emit: Emit, *, on_status: OnStatus, now: Now, sleep: Sleep) -> None:
    pause = FIRST_PAUSE
    await _tell(collector, "connecting", "", on_status, now)
    while True:
        started = now()
        error = await _run(collector, emit)
        end_if_cancelled()
        if error.permanent:
            logger.error("source %s stopped: %s", collector.name, error)
            await _tell(collector, "stopped", str(error), on_status, now)
            return
        if now() - started >= GOOD_RUN:
            pause = FIRST_PAUSE
        logger.warning("source %s is blind, trying again in %g s: %s", collector.name, pause, error)
        await _tell(collector, "blind", f"{error} (trying again in {pause:g} s)", on_status, now)
        await sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _run(collector: Collector, emit: Emit) -> CollectorError:
    """One run, until it fails; what it failed of. Cancelling passes through."""
    try:
        await collector.run(emit)
    except CollectorError as error:
        return error
    except Exception as error:  # a fault in one collector, or in storing, must not end the others
        logger.exception("source %s failed unexpectedly", collector.name)
        return CollectorError(f"unexpected {type(error).__name__}; the log has the details")
    return CollectorError("the collector ended by itself")


async def _tell(collector: Collector, state: str, message: str, on_status: OnStatus, now: Now) -> None:
    try:
        await on_status(SourceStatus(collector.name, collector.system, state, now(), message=message))
    except Exception:  # a status that can't be stored now is told again with the next one
        logger.exception("the state of source %s could not be told", collector.name)
