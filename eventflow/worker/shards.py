"""The other ingest processes of this machine, when EVENTFLOW_INGEST_PROCESSES asks for more than one.

Each receives on the same ports and digests its own shard; this process alone writes the lines of flows and tells the
pages. One that dies is started again; what it left is digested here. None outlives this process.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable

from django.conf import settings

STOP_SECONDS = 10
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
log = logging.getLogger(__name__)


async def supervise(count: int) -> None:
    """Run shards 1 to `count` - 1 until cancelled; then all of them have ended."""
    async with asyncio.TaskGroup() as running:
        for shard in range(1, count):
            running.create_task(_kept_running(shard), name=f"ingest shard {shard}")


async def _kept_running(shard: int) -> None:
    pause = FIRST_PAUSE
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(settings.BASE_DIR / "manage.py"),
            "up",
            "--roles",
            "ingest",
            env=os.environ | {"EVENTFLOW_SHARD": str(shard), "EVENTFLOW_ZIPKIN": "off"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        begun = asyncio.get_running_loop().time()
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        pause = FIRST_PAUSE if asyncio.get_running_loop().time() - begun > LONGEST_PAUSE else pause
        log.error("ingest process %d ended with %d; it is started again in %.0f s", shard + 1, code, pause)
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 2)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def when_orphaned(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """In such a process: call `stop` in the loop when the one that started it is gone or wants it to end."""

    def wait() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop)

    threading.Thread(target=wait, name="eventflow-orphan", daemon=True).start()
