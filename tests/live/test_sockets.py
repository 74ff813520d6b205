"""The live socket: news for who shows it, nothing for strangers, one frame per tick."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser, User

from eventflow.live import news
from eventflow.live.fanout import Fanout, Viewer, fanout
from eventflow.live.sockets import POLICY_VIOLATION, UNAUTHENTICATED, LiveSocket


class Page(ApplicationCommunicator):
    """A browser tab's end of the socket."""

    def __init__(self, user: Any) -> None:
        super().__init__(LiveSocket.as_asgi(), {"type": "websocket", "path": "/live", "user": user})

    async def open(self) -> None:
        await self.send_input({"type": "websocket.connect"})
        assert (await self.receive_output())["type"] == "websocket.accept"

    async def say(self, text: str) -> None:
        await self.send_input({"type": "websocket.receive", "text": text})

    async def hear(self) -> Any:
        return json.loads((await self.receive_output())["text"])

    async def close(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait()


@asynccontextmanager
async def page(*topics: str) -> AsyncIterator[Page]:
    socket = Page(User(username="vera"))
    await socket.open()
    await socket.say(json.dumps({"show": list(topics), "ping": 1}))
    assert await socket.hear() == {"pong": 1}
    try:
        yield socket
    finally:
        await socket.close()


async def tell(*topics: str) -> None:
    news.publish(topics)
    await asyncio.sleep(0)


async def test_a_page_hears_of_what_it_shows_and_of_nothing_else() -> None:
    async with page("lag", "flow:a") as socket:
        await tell("lag", "flow:b")
        assert await socket.hear() == {"news": ["lag"]}
        assert await socket.receive_nothing(timeout=0.3)


async def test_much_news_in_one_tick_is_one_frame() -> None:
    async with page("lag", "flows") as socket:
        for _ in range(50):
            await tell("lag", "flows")
        assert await socket.hear() == {"news": ["flows", "lag"]}
        assert await socket.receive_nothing(timeout=0.3)


async def test_what_a_page_shows_can_change() -> None:
    async with page("lag") as socket:
        await socket.say('{"show": ["alerts"], "ping": 2}')
        await socket.hear()
        await tell("lag", "alerts")
        assert await socket.hear() == {"news": ["alerts"]}


async def test_a_stranger_is_turned_away() -> None:
    socket = Page(AnonymousUser())
    await socket.open()
    closed = await socket.receive_output()
    assert (closed["type"], closed["code"]) == ("websocket.close", UNAUTHENTICATED)


@pytest.mark.parametrize(
    "frame",
    ["no json", "[]", '{"show": "lag"}', '{"show": [1]}', '{"ping": "x"}', '{"show": ["' + "x" * 500 + '"]}'],
)
async def test_a_frame_that_makes_no_sense_closes_the_socket(frame: str) -> None:
    async with page("lag") as socket:
        await socket.say(frame)
        closed: dict[str, Any] = await socket.receive_output()
        assert (closed["type"], closed["code"]) == ("websocket.close", POLICY_VIOLATION)


async def test_a_viewer_that_does_not_take_its_frames_is_told_that_it_is_stale() -> None:
    frames: list[str] = []
    taken = asyncio.Event()

    async def slow(frame: str) -> None:
        await taken.wait()
        frames.append(frame)

    viewer = Viewer(slow)
    viewer.topics = frozenset({"lag"})
    crowd = Fanout(send_timeout=0.05)
    crowd.add(viewer)
    crowd.tell(["lag"])
    await asyncio.sleep(0.3)
    taken.set()
    await asyncio.sleep(0.3)
    await crowd.remove(viewer)
    assert frames == ['{"stale": true}']


async def test_the_fan_out_stops_with_its_last_viewer() -> None:
    async with page("lag"):
        assert len(fanout().viewers) == 1
    assert not fanout().viewers
