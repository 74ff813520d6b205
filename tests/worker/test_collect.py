"""The supervisor, over scripted collectors: what fails is said and tried again, what can't work stops."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from collectors.base import Collector, CollectorError, Emit
from eventflow.domain.observations import Observation, SourceStatus
from eventflow.worker.collect import Wish, collector, supervise

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
Step = Callable[["World", Emit], Awaitable[None]]


class World:
    """A clock that moves only when told, sleeps that take no time, and everything that was told."""

    def __init__(self) -> None:
        self.time = START
        self.pauses: list[float] = []
        self.told: list[SourceStatus] = []
        self.batches: list[Sequence[Observation]] = []

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async def tell(self, status: SourceStatus) -> None:
        self.told.append(status)

    async def emit(self, batch: Sequence[Observation]) -> None:
        self.batches.append(batch)

    def states(self, source: str) -> list[str]:
        return [status.state for status in self.told if status.source == source]

    async def supervise(self, *collectors: Collector) -> None:
        """Until every script is over."""
        running = asyncio.create_task(
            supervise(collectors, self.emit, on_status=self.tell, now=self.now, sleep=self.sleep)
        )
        async with asyncio.timeout(5):
            while not all(self.states(one.name)[-1:] == ["stopped"] for one in collectors):
                await asyncio.sleep(0)
        assert not running.done()
        await cancelled(running)


class Scripted:
    """Does one step per run; after the last one it is permanently out of things to do."""

    system = "scripted"

    def __init__(self, name: str, world: World, *steps: Step) -> None:
        self.name = name
        self.ended = 0
        self._world = world
        self._steps = list(steps)

    async def run(self, emit: Emit) -> None:
        if not self._steps:
            raise CollectorError("the script is over", permanent=True)
        try:
            await self._steps.pop(0)(self._world, emit)
        finally:
            self.ended += 1


async def cancelled(running: "asyncio.Task[None]") -> None:
    """Cancel and see that it ends promptly."""
    running.cancel()
    async with asyncio.timeout(1):
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def down(world: World, emit: Emit) -> None:
    raise CollectorError("can't reach the broker")


async def good_hour_then_down(world: World, emit: Emit) -> None:
    await emit([SourceStatus("one", "scripted", "ok", world.time)])
    world.time += timedelta(hours=1)
    raise CollectorError("the broker went away")


async def broken(world: World, emit: Emit) -> None:
    raise ZeroDivisionError("password=hunter2")


async def forever(world: World, emit: Emit) -> None:
    await asyncio.Event().wait()


async def ends(world: World, emit: Emit) -> None:
    return None


async def test_a_source_that_is_down_is_blind_and_tried_again_with_growing_pauses() -> None:
    world = World()
    await world.supervise(Scripted("one", world, *[down] * 8))
    assert world.pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert world.states("one") == ["connecting", *["blind"] * 8, "stopped"]
    assert world.told[1].message == "can't reach the broker (trying again in 1 s)"


async def test_a_good_minute_makes_the_pauses_short_again() -> None:
    world = World()
    await world.supervise(Scripted("one", world, down, down, good_hour_then_down, down))
    assert world.pauses == [1, 2, 1, 2]
    assert len(world.batches) == 1


async def test_what_cannot_work_stops_with_its_reason_and_is_not_tried_again() -> None:
    world = World()
    await world.supervise(Scripted("one", world))
    assert (world.states("one"), world.pauses) == (["connecting", "stopped"], [])
    assert world.told[-1].message == "the script is over"


async def test_an_unexpected_fault_is_logged_with_its_traceback_told_without_details_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    with caplog.at_level(logging.ERROR):
        await world.supervise(Scripted("one", world, broken))
    assert world.states("one") == ["connecting", "blind", "stopped"]
    assert "hunter2" not in world.told[1].message
    assert "ZeroDivisionError" in world.told[1].message
    assert any(record.exc_info for record in caplog.records)


async def test_a_collector_that_ends_by_itself_is_started_again() -> None:
    world = World()
    await world.supervise(Scripted("one", world, ends))
    assert world.states("one") == ["connecting", "blind", "stopped"]


async def test_one_source_that_stops_leaves_the_others_running_and_cancelling_ends_them() -> None:
    world = World()
    running = Scripted("running", world, forever)
    supervising = asyncio.create_task(
        supervise(
            [running, Scripted("stopped", world)], world.emit, on_status=world.tell, now=world.now, sleep=world.sleep
        )
    )
    await asyncio.sleep(0.05)
    assert world.states("stopped")[-1] == "stopped"
    assert not supervising.done()
    assert running.ended == 0
    await cancelled(supervising)
    assert running.ended == 1


async def test_a_status_that_cannot_be_stored_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class FullDisk(World):
        async def tell(self, status: SourceStatus) -> None:
            await super().tell(status)
            raise OSError("no space left")

    world = FullDisk()
    await world.supervise(Scripted("one", world, down))
    assert world.states("one") == ["connecting", "blind", "stopped"]


async def test_a_url_nobody_can_use_is_a_stopped_source_and_not_the_end_of_the_others() -> None:
    world = World()
    unknown = collector("ibm", "mq://user:hunter2@host", seconds=1)
    unreadable = collector("shop", "nats://user:hunter2@:x", seconds=1)
    await world.supervise(unknown, unreadable, Scripted("one", world, down))
    assert "no collector for mq://" in str(world.told)
    assert world.states("shop") == ["connecting", "stopped"]
    assert "hunter2" not in str(world.told)


class Wanted:
    """What is wanted, changed by the test; one look after the other when it says so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wishes: dict[str, Wish] = {}
        self.made: list[Scripted] = []
        self.looks = 0

    def wish(self, name: str, version: object) -> None:
        async def make() -> Collector:
            self.made.append(Scripted(name, self.world, forever))
            return self.made[-1]

        self.wishes[name] = Wish(version, make)

    async def look(self) -> dict[str, Wish]:
        self.looks += 1
        if self.wishes.get("broken"):
            raise OSError("the database is away")
        return dict(self.wishes)

    async def seen(self) -> None:
        """Until the present wishes were looked at and followed."""
        looks = self.looks
        async with asyncio.timeout(5):
            while self.looks < looks + 2:
                await asyncio.sleep(0)


async def test_sources_are_added_changed_and_removed_while_the_others_run() -> None:
    world = World()
    wanted, fixed = Wanted(world), Scripted("fixed", world, forever)
    running = asyncio.create_task(
        supervise([fixed], world.emit, on_status=world.tell, now=world.now, sleep=world.sleep, wanted=wanted.look)
    )
    wanted.wish("shop", 1)
    await wanted.seen()
    await wanted.seen()
    assert [one.name for one in wanted.made] == ["shop"]
    wanted.wish("shop", 2)
    await wanted.seen()
    assert [one.ended for one in wanted.made] == [1, 0]
    del wanted.wishes["shop"]
    await wanted.seen()
    assert [one.ended for one in wanted.made] == [1, 1]
    assert (fixed.ended, world.states("fixed")) == (0, ["connecting"])
    wanted.wish("shop", 2)
    await wanted.seen()
    await cancelled(running)
    assert [one.ended for one in (fixed, *wanted.made)] == [1, 1, 1, 1]


async def test_what_is_wanted_cannot_be_read_for_a_while_and_what_runs_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    wanted = Wanted(world)
    running = asyncio.create_task(
        supervise([], world.emit, on_status=world.tell, now=world.now, sleep=world.sleep, wanted=wanted.look)
    )
    wanted.wish("shop", 1)
    await wanted.seen()
    wanted.wish("broken", 1)
    await wanted.seen()
    assert (len(wanted.made), wanted.made[0].ended) == (1, 0)
    await cancelled(running)
