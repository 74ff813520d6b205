"""One subscription to the news per process, and at most one coalesced frame per viewer per tick.

A viewer says which topics its page shows; it gets a frame ``{"news": [topics]}`` only when one of them changed.
One that does not take its frames in time is told ``{"stale": true}`` once it does, and asks for everything again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from channels.layers import BaseChannelLayer

from eventflow.live import news

TICK_SECONDS = 0.15
SEND_TIMEOUT = 5.0
Send = Callable[[str], Awaitable[None]]


class Viewer:
    """One open socket: what it shows, and what changed since its last frame."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.topics: frozenset[str] = frozenset()
        self.changed: set[str] = set()
        self.stale = False
        self.sending: asyncio.Task[None] | None = None


class Fanout:
    """The viewers of this process and loop. Starts listening with the first and stops after the last."""

    def __init__(self, send_timeout: float = SEND_TIMEOUT) -> None:
        self.viewers: set[Viewer] = set()
        self._send_timeout = send_timeout
        self._task: asyncio.Task[None] | None = None

    def add(self, viewer: Viewer) -> None:
        self.viewers.add(viewer)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def remove(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        if viewer.sending:
            viewer.sending.cancel()
        if not self.viewers and self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def tell(self, topics: Iterable[str]) -> None:
        """Mark what changed for everybody who shows it."""
        changed = frozenset(topics)
        for viewer in self.viewers:
            viewer.changed |= changed & viewer.topics

    async def _run(self) -> None:
        layer = news.layer()
        channel = await layer.new_channel()
        await layer.group_add(news.GROUP, channel)
        listening = asyncio.create_task(self._listen(layer, channel))
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                if listening.done():
                    listening.result()
                self._tick()
        finally:
            listening.cancel()
            with suppress(Exception):
                await layer.group_discard(news.GROUP, channel)

    async def _listen(self, layer: BaseChannelLayer, channel: str) -> None:
        while True:
            message = await layer.receive(channel)
            self.tell(message["topics"])

    def _tick(self) -> None:
        for viewer in self.viewers:
            if not viewer.changed and not viewer.stale:
                continue
            if viewer.sending and not viewer.sending.done():
                continue
            frame = {"stale": True} if viewer.stale else {"news": sorted(viewer.changed)}
            viewer.changed, viewer.stale = set(), False
            viewer.sending = asyncio.create_task(self._deliver(viewer, json.dumps(frame)))

    async def _deliver(self, viewer: Viewer, frame: str) -> None:
        try:
            async with asyncio.timeout(self._send_timeout):
                await viewer.send(frame)
        except TimeoutError:
            viewer.stale = True


_fanouts: dict[asyncio.AbstractEventLoop, Fanout] = {}


def fanout() -> Fanout:
    """The fan-out of the running loop."""
    loop = asyncio.get_running_loop()
    for other in [known for known in _fanouts if known.is_closed()]:
        del _fanouts[other]
    return _fanouts.setdefault(loop, Fanout())
