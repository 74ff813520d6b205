"""Runs the collectors: each in a task of its own, restarted with growing pauses, or stopped with the reason said.

Promises: one source's trouble never touches another's; every failure becomes a status that a person can read; what is
wanted may change while it runs; cancelling ends every collector before it returns. Knows no Django: what to do with
what is seen, and where to look for what is wanted, is passed in.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import collectors
from collectors.base import Collector, CollectorError, Emit
from collectors.closing import end_if_cancelled
from eventflow.domain.observations import SourceStatus

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
GOOD_RUN = timedelta(minutes=1)
LOOK_SECONDS = 2.0
"""How often it is asked what is wanted."""

logger = logging.getLogger(__name__)

OnStatus = Callable[[SourceStatus], Awaitable[None]]
Now = Callable[[], datetime]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Wish:
    """A source that is to be looked at. Another `version` under the same name means: end it and make it anew."""

    version: Hashable
    make: Callable[[], Awaitable[Collector]]


Wishes = Mapping[str, Wish]


class _Unusable:
    """A source whose URL nobody can use: it stops at once and says why, beside the others that run."""

    def __init__(self, name: str, system: str, error: CollectorError) -> None:
        self.name = name
        self.system = system[:20]
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
        return _Unusable(name, url.partition("://")[0], error)


def unusable(name: str, system: str, reason: str) -> Collector:
    """A source that only tells why it cannot be looked at."""
    return _Unusable(name, system, CollectorError(reason, permanent=True))


async def supervise(
    sources: Iterable[Collector],
    emit: Emit,
    *,
    on_status: OnStatus,
    now: Now,
    sleep: Sleep = asyncio.sleep,
    wanted: Callable[[], Awaitable[Wishes]] | None = None,
    meter: Callable[[Emit], Emit] | None = None,
) -> None:
    """Run all until cancelled, also when every one has stopped for good; and whatever else is `wanted` meanwhile.

    `meter` makes the `emit` of each source, so that what it costs is kept within a budget.
    """
    metered = meter(emit) if meter else emit

    async def keep(one: Collector) -> None:
        await _keep_running(one, metered, on_status=on_status, now=now, sleep=sleep)

    running = _Running(keep)
    fixed = [asyncio.create_task(keep(one), name=f"collect {one.name}") for one in sources]
    try:
        while wanted is not None:
            try:
                await running.follow(await wanted())
            except Exception:  # the store may be away for a while: what runs goes on
                logger.exception("it could not be read which sources are wanted")
            await sleep(LOOK_SECONDS)
        await asyncio.get_running_loop().create_future()
    finally:
        await _end([*fixed, *running.tasks()])


class _Running:
    """The sources that come and go, each with the version that runs."""

    def __init__(self, keep: Callable[[Collector], Awaitable[None]]) -> None:
        self._keep = keep
        self._by_name: dict[str, tuple[Hashable, asyncio.Task[None]]] = {}

    def tasks(self) -> "list[asyncio.Task[None]]":
        return [task for _, task in self._by_name.values()]

    async def follow(self, wishes: Wishes) -> None:
        """End what is not wanted any more, to the end, then start what is new."""
        over = [
            name
            for name, (version, _) in self._by_name.items()
            if name not in wishes or wishes[name].version != version
        ]
        await _end([self._by_name.pop(name)[1] for name in over])
        for name, wish in wishes.items():
            if name not in self._by_name:
                task = asyncio.create_task(self._start(wish), name=f"collect {name}")
                self._by_name[name] = (wish.version, task)

    async def _start(self, wish: Wish) -> None:
        await self._keep(await wish.make())


async def _end(tasks: "Sequence[asyncio.Task[None]]") -> None:
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
