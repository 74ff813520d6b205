"""What the crash tests run inside their own processes: a replay of a few letters, and a death at a chosen step."""

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from collectors.base import Outgoing, Receivers, Replayer
from eventflow.worker import replay_send
from eventflow.worker.tasks import replay as tasks
from tests import factories as make


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def prepare(count: int) -> None:
    """Queue a replay of `count` letters."""
    make.replay_of(*[make.letter() for _ in range(count)])


class Dying:
    """The real replayer of NATS, in a process that dies right before or right after the message is out."""

    def __init__(self, inner: Replayer, step: str) -> None:
        self.inner, self.step = inner, step

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        return await self.inner.receivers(destination, group)

    async def send(self, message: Outgoing) -> str:
        if self.step == "before-send":
            die()
        position = await self.inner.send(message)
        if self.step == "after-send":
            die()
        return position

    async def close(self) -> None:
        if self.step == "after-note":
            die()
        await self.inner.close()


def send(step: str) -> None:
    """One round of sending, which ends with this process."""

    def connect(source: str) -> Replayer | None:
        if step == "before-claim":
            die()
        inner = replay_send.configured(source)
        assert inner is not None
        return Dying(inner, step)

    replay_send.send_queued(connect)


class Later:
    """A clock that goes on fast enough for the ramp to be over soon."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> Any:
        self.now += timedelta(seconds=31)
        return self.now


def restart() -> None:
    """What a fresh Eventflow does: the first round through the task itself, then a few more."""
    tasks.send_queued()
    clock = Later()
    for _ in range(3):
        replay_send.send_queued(clock=clock)
