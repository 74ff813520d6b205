"""Processes of this machine that only receive spans, when EVENTFLOW_INGEST_PROCESSES asks for more than one.

Each takes requests on the same ports into the inbox and hands them on, scanned; this process digests them all. One that
dies is started again, and what it had acknowledged is in the inbox. None outlives this process.
"""

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from django.conf import settings

from eventflow.store import spans

START_SECONDS, STOP_SECONDS = 30, 10
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
NICE = 5
COMMAND = sys.executable, str(settings.BASE_DIR / "manage.py"), "up", "--roles", "ingest"
log = logging.getLogger(__name__)


class Receivers:
    """Receivers 1 to `count`, kept running by `command`. `publish` is told the topics that they tell.

    pause  seconds after which one that ended is started again for the first time
    """

    def __init__(
        self,
        count: int,
        publish: Callable[[Iterable[str]], None],
        command: Sequence[str] = COMMAND,
        pause: float = FIRST_PAUSE,
    ) -> None:
        self._count, self._publish, self._command, self._pause = count, publish, command, pause
        self._listening: set[int] = set()
        self._all_listen = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; then all of them have ended."""
        async with asyncio.TaskGroup() as running:
            for number in range(1, self._count + 1):
                running.create_task(self._keep_running(number), name=f"receiver {number}")

    async def all_listen(self) -> None:
        """Wait until each can be sent to, or for START_SECONDS: one that can't says why and is tried again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._all_listen.wait()

    async def _keep_running(self, number: int) -> None:
        pause = self._pause
        while True:
            begun = asyncio.get_running_loop().time()
            with spans.channel() as descriptors:
                code = await self._run_once(number, descriptors)
            pause = self._pause if asyncio.get_running_loop().time() - begun > LONGEST_PAUSE else pause
            log.error("receiving process %d ended with %d; it is started again in %.0f s", number, code, pause)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _run_once(self, number: int, descriptors: Sequence[int]) -> int:
        own = {
            "EVENTFLOW_RECEIVER": str(number),
            "EVENTFLOW_HANDED_ON": ",".join(map(str, descriptors)),
            "EVENTFLOW_ZIPKIN": "off",
        }
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=os.environ | own,
            pass_fds=descriptors,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            await self._listen_to(number, process)
            return await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise

    async def _listen_to(self, number: int, process: asyncio.subprocess.Process) -> None:
        """Each line is a list of topics; the first comes when it told that it listens."""
        assert process.stdout is not None  # noqa: S101  # asked for above
        async for line in process.stdout:
            with suppress(ValueError):
                self._publish(json.loads(line))
            self._listening.add(number)
            if len(self._listening) == self._count:
                self._all_listen.set()


def give_way() -> None:
    """In such a process: where every core is busy who digests goes first, which is what receivers wait for."""
    os.nice(NICE)


def tell(topics: Iterable[str]) -> None:
    """In such a process: what changed, for the one that has the pages."""
    sys.stdout.write(f"{json.dumps(sorted(topics))}\n")
    sys.stdout.flush()


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
