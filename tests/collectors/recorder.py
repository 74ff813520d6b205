"""An `emit` that keeps what it was given, and a way to run a collector until something was seen."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from collectors.base import Collector
from eventflow.domain.observations import DeadLetter, DestinationSample, LagSample, Observation, SourceStatus

Kind = TypeVar("Kind", bound=Observation)


class Recorder:
    """Keeps every observation in order. `refuse` may raise before anything is kept."""

    def __init__(self, refuse: Callable[[Sequence[Observation]], None] | None = None) -> None:
        self.seen: list[Observation] = []
        self._refuse = refuse
        self._news = asyncio.Event()

    async def __call__(self, batch: Sequence[Observation]) -> None:
        await asyncio.sleep(0)
        if self._refuse is not None:
            self._refuse(batch)
        self.seen.extend(batch)
        self._news.set()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [item for item in self.seen if isinstance(item, kind)]

    @property
    def letters(self) -> list[DeadLetter]:
        return self.of(DeadLetter)

    @property
    def status(self) -> SourceStatus:
        return self.of(SourceStatus)[-1]

    def lag(self, group: str) -> LagSample:
        return [sample for sample in self.of(LagSample) if sample.group == group][-1]

    def destination(self, name: str) -> DestinationSample:
        return [sample for sample in self.of(DestinationSample) if sample.destination == name][-1]

    async def until(self, seen: Callable[["Recorder"], object], seconds: float = 15) -> None:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    with suppress(IndexError):
                        if seen(self):
                            return
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise TimeoutError(f"not seen within {seconds} s, but at last: {self._last()}") from error

    def _last(self) -> list[Observation]:
        """The newest status, and the newest numbers of each group."""
        newest: dict[object, Observation] = {}
        for item in self.seen:
            if isinstance(item, LagSample):
                newest[item.group, item.destination, item.partition] = item
            elif isinstance(item, SourceStatus):
                newest[SourceStatus] = item
        return list(newest.values())


async def run_until(
    collector: Collector, seen: Callable[[Recorder], object], *, recorder: Recorder | None = None, seconds: float = 15
) -> Recorder:
    """Run until `seen` is true of what was emitted, then cancel. What the collector raises is raised here."""
    recorder = recorder or Recorder()
    running = asyncio.create_task(collector.run(recorder))
    watching = asyncio.create_task(recorder.until(seen, seconds))
    try:
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        watching.result()
    finally:
        for task in (running, watching):
            task.cancel()
        await asyncio.gather(running, watching, return_exceptions=True)
    return recorder


def one_cycle(recorder: Recorder) -> bool:
    """A whole cycle was told: the status comes last."""
    return bool(recorder.of(SourceStatus))
