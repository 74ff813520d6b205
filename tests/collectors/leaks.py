"""Cancels a piece of work at a chosen one of its awaits, and tells what it left open."""

import asyncio
import gc
import types
import warnings
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

ENDS_SECONDS = 10


@types.coroutine
def _cancelled_at(work: Coroutine[Any, Any, None], steps: tuple[int, ...]) -> Generator[Any, Any, bool]:
    """Await `work`, cancelled at each of its awaits that `steps` numbers. True: it got to the first of them."""
    step = 0
    task = asyncio.current_task()
    assert task is not None
    send, value = work.send, None
    try:
        while True:
            waiting = send(value)
            step += 1
            if step in steps:
                task.cancel()
            try:
                value, send = (yield waiting), work.send
            except BaseException as error:  # noqa: BLE001  # whatever it is goes on into `work`
                value, send = error, work.throw
    except StopIteration:
        return step >= steps[0]
    except asyncio.CancelledError:
        return step >= steps[0]


async def cancelled_at(work: Coroutine[Any, Any, None], *steps: int) -> bool:
    """Run `work` in a task of its own, cancelled at its awaits number `steps`. False: it ended before the first."""
    task = asyncio.ensure_future(_cancelled_at(work, steps))
    ended, _ = await asyncio.wait([task], timeout=ENDS_SECONDS)
    assert ended, f"cancelled at await {steps}, it goes on"
    return task.result()


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """No task, transport or object that warns of not having been closed is left by what runs inside."""
    gc.collect()
    gc.freeze()  # what was there before is left out of the search
    tasks = asyncio.all_tasks()
    loop = asyncio.get_running_loop()
    told: list[str] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(str(context)))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
            left = [repr(task) for task in asyncio.all_tasks() - tasks if not task.cancelling()]
            gc.collect()
            left += map(repr, _open_transports())
    finally:
        gc.unfreeze()
        loop.set_exception_handler(before)
    left += told + [str(warning.message) for warning in caught]
    assert not left, left


def _open_transports() -> list[asyncio.BaseTransport]:
    return [found for found in gc.get_objects() if isinstance(found, asyncio.BaseTransport) and not found.is_closing()]
