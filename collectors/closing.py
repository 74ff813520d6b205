"""Giving something back to its end, also when the one who gives it back is cancelled meanwhile.

Promises: never raises what the closing raised, never waits longer than it was told, and a cancellation still passes.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

CLOSE_SECONDS = 2.0


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


def _whether_well(closing: "asyncio.Task[object]") -> bool:
    """Having asked keeps its exception out of the log."""
    return not closing.cancelled() and closing.exception() is None
