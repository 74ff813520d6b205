"""The collector contract: who looks, what they may do, how they say that they can't.

`run(emit)` goes on until cancelled. When `emit(batch)` returns, the batch is durable; when it raises, acknowledge and
advance nothing, and offer the batch again or refuse in the sender's own protocol. Waiting on `emit` is the
back-pressure: a collector keeps no queue of its own. Offering twice is harmless (observations have natural keys).
Collectors never retry: they raise CollectorError and the worker restarts them with growing pauses, or stops and says
why. Bad input is counted and shown, never fatal. Look, don't touch: nothing changes on a broker by being observed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from collectors.closing import end_if_cancelled
from eventflow.domain.observations import Observation

Emit: TypeAlias = Callable[[Sequence[Observation]], Awaitable[None]]

REPLAY_HEADER = "Eventflow-Replay"
"""Header that every replayed message carries: the replay item's token."""


class CollectorError(Exception):
    """What went wrong in words a person can act on. `permanent`: trying again cannot help.

    `reached`: when sending, whether the broker may hold the message all the same.
    """

    def __init__(self, message: str, *, permanent: bool = False, reached: bool = True) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.reached = reached and not permanent


@runtime_checkable
class Collector(Protocol):
    """Looks at one source and emits what it sees."""

    name: str
    system: str

    async def run(self, emit: Emit) -> None:
        """Observe until cancelled. Raises CollectorError when it can't go on."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to put back.

    `headers` in order; `token` identifies the attempt and makes a second sending harmless where the broker can tell.
    """

    destination: str
    group: str | None
    headers: tuple[tuple[str, str], ...]
    payload: bytes
    token: str
    key: str | None = None
    partition: str | None = None
    """Where the original lay, when its dead letter says so; used only while there is such a partition."""


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who would get a replayed message: `target` alone (`exact`), or everybody in `groups`."""

    groups: tuple[str, ...]
    exact: bool


@runtime_checkable
class Replayer(Protocol):
    """Puts a message back, once, on a person's word. The only thing here that writes to a broker."""

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        """Which consumer groups would receive a message sent to `destination`."""
        ...

    async def send(self, message: Outgoing) -> str:
        """Send, and return the position the broker gave it.

        Raises CollectorError. Only a permanent one, or one with `reached` False, says for sure that nothing was sent.
        """
        ...

    async def close(self) -> None:
        """Give the connection back."""
        ...


async def poll(cycle: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Call `cycle` every `seconds` until cancelled; a slow cycle delays the next one, it never piles up."""
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        end_if_cancelled()
        await cycle()
        end_if_cancelled()
        await asyncio.sleep(max(0.0, seconds - (loop.time() - started)))
