"""Processes that only receive are kept running, each with a channel of its own to hand on what it took in."""

import asyncio
import stat
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from eventflow.store.spans import fresh
from eventflow.worker.receivers import Receivers

TELLS = """
import json, os, stat, sys
found = [os.fstat(int(number)) for number in os.environ["EVENTFLOW_HANDED_ON"].split(",")]
print(json.dumps([[stat.S_IFMT(one.st_mode), one.st_ino] for one in found]), flush=True)
sys.exit(3)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_one_that_dies_has_a_channel_and_its_successor_another_one(caplog: Any, loop: str) -> None:
    told: list[Any] = []
    channels: list[int] = []

    def publish(topics: Iterable[Any]) -> None:
        told.append(list(topics))
        channels.append(len(fresh._takers._takers))

    async def run() -> None:
        running = asyncio.create_task(Receivers(1, publish, (sys.executable, "-c", TELLS), pause=0.01).run())
        while len(told) < 3:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(asyncio.wait_for(run(), 30))
    assert [[kind for kind, _ in one] for one in told] == [[stat.S_IFREG, stat.S_IFSOCK]] * len(told)
    assert len({one[1][1] for one in told}) == len(told), "sockets"
    assert set(channels) == {1}
    assert not fresh._takers._takers
    assert "ended with 3" in caplog.text
