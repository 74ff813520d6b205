"""Ending what was begun, whatever interrupts: giving things back to their end, and losing no cancellation.

Promises: never raises what a closing raised, never waits longer than it was told, and a cancellation still passes.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

CLOSE_SECONDS = 2.0
T = TypeVar("T")


async def closed(work: Coroutine[Any, Any, object], seconds: float = CLOSE_SECONDS) -> bool:
    """Await `work`, a closing, for at most `seconds`. False: it had to be broken off or failed."""
    loop = asyncio.get_running_loop()
    closing, until = loop.create_task(work), loop.time() + seconds
    cancelled: asyncio.CancelledError | None = None
    while not closing.done() and (left := until - loop.time()) > 0:
        try:
            await asyncio.wait([closing], timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
    if not closing.done():
        closing.cancel()
        closing.add_done_callback(_whether_well)
    if cancelled is not None:
        raise cancelled
    return closing.done() and _whether_well(closing)


async def cancelled_once(work: Awaitable[T]) -> T:
    """Await `work`. Cancelled, it is cancelled too and comes to its end first, however often we are cancelled again.

    For libraries that clean up after one cancellation, but not when a second one disturbs that.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await closed(ended(task))
        raise
    return task.result()


async def ended(task: "asyncio.Future[Any]") -> None:
    """Wait until a task has ended, however it did."""
    await asyncio.wait([task])
    _whether_well(task)


def end_if_cancelled() -> None:
    """Raise the cancellation that a library swallowed, as asyncio.wait_for of Python 3.11 may."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _whether_well(closing: "asyncio.Future[Any]") -> bool:
    """Having asked keeps its exception out of the log."""
    return not closing.cancelled() and closing.exception() is None
