"""Tells every web process what changed: topics, never content. Callable from any thread, loop or process; never blocks.

Topics are words like ``lag``, ``flows``, ``flow:<key>``, ``dead-letters``, ``replays``, ``replay:<id>``, ``alerts``,
``topology``, ``sources``. News is best effort: a page that missed some asks again when its socket comes back.
"""

import asyncio
import logging
from collections.abc import Iterable

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer, get_channel_layer

GROUP = "eventflow.news"
log = logging.getLogger(__name__)
_home: asyncio.AbstractEventLoop | None = None


def home(loop: asyncio.AbstractEventLoop | None) -> None:
    """Name the event loop the web server of this process runs in: the in-memory layer's queues belong to it."""
    global _home  # noqa: PLW0603  # one web server per process
    _home = loop


def layer() -> BaseChannelLayer:
    """The configured channel layer; settings always name one."""
    found = get_channel_layer()
    if found is None:
        raise RuntimeError("CHANNEL_LAYERS names no default layer")
    return found


async def _send(topics: list[str]) -> None:
    try:
        await layer().group_send(GROUP, {"type": "news", "topics": topics})
    except Exception:  # news must never break what it tells of
        log.exception("news could not be sent")


def publish(topics: Iterable[str]) -> None:
    """Tell what changed."""
    wanted = sorted(set(topics))
    if not wanted:
        return
    try:
        here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if _home is not None and _home.is_running() and here is not _home:
        asyncio.run_coroutine_threadsafe(_send(wanted), _home)
    elif here is not None:
        task = here.create_task(_send(wanted))
        task.add_done_callback(lambda done: done.exception())
    else:
        async_to_sync(_send)(wanted)
