"""Closing to the end although cancelled, never for long, and obeying a stop that a library swallowed."""

import asyncio
from datetime import UTC, datetime

import pytest

from collectors.base import CollectorError, Emit, poll
from collectors.closing import cancelled_once, closed
from eventflow.worker.collect import supervise


async def test_a_closing_comes_to_its_end_although_its_caller_is_cancelled_again_and_again() -> None:
    steps: list[int] = []

    async def closing() -> None:
        for step in range(5):
            await asyncio.sleep(0.02)
            steps.append(step)

    task = asyncio.create_task(closed(closing()))
    for _ in range(3):
        await asyncio.sleep(0.01)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == [0, 1, 2, 3, 4]


async def test_a_closing_that_hangs_is_broken_off() -> None:
    async with asyncio.timeout(5):
        assert not await closed(asyncio.Event().wait(), 0.05)


async def test_what_a_closing_raises_is_not_raised() -> None:
    async def failing() -> None:
        raise OSError("reset by peer")

    async def fine() -> None:
        return None

    assert not await closed(failing())
    assert await closed(fine())


async def test_work_is_cancelled_once_and_cleans_up_undisturbed() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            seen.append("cleaned up")
            raise

    task = asyncio.create_task(cancelled_once(work()))
    for _ in range(3):
        await asyncio.sleep(0.01)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cleaned up"]


async def test_work_that_is_not_cancelled_gives_its_result_or_its_error() -> None:
    async def failing() -> int:
        raise OSError("reset by peer")

    assert await cancelled_once(asyncio.sleep(0, 7)) == 7
    with pytest.raises(OSError, match="reset"):
        await cancelled_once(failing())


async def swallowing() -> None:
    """What asyncio.wait_for of Python 3.11 may do with a cancellation."""
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        return


async def ends_cancelled(task: "asyncio.Task[None]") -> None:
    ended, _ = await asyncio.wait([task], timeout=0.5)
    task.cancel()
    assert ended
    assert task.cancelled()


async def test_polling_ends_when_the_cycle_swallowed_the_stop() -> None:
    task = asyncio.create_task(poll(swallowing, 5))
    await asyncio.sleep(0.01)
    task.cancel()
    await ends_cancelled(task)


async def test_a_source_that_makes_an_error_of_the_stop_is_not_started_again() -> None:
    runs: list[int] = []

    class Source:
        name, system = "shop", "any"

        async def run(self, emit: Emit) -> None:
            runs.append(1)
            await swallowing()
            raise CollectorError("connection lost")

    async def nothing(_: object) -> None:
        return None

    task = asyncio.create_task(supervise([Source()], nothing, on_status=nothing, now=lambda: datetime.now(UTC)))
    await asyncio.sleep(0.05)
    task.cancel()
    await ends_cancelled(task)
    assert runs == [1]
