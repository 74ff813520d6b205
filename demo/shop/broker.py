"""What the shop asks of a message broker; one module per broker implements it (`nats_broker.py`).

Promises at-least-once delivery with a counted attempt. Everything above this line is the same on every broker.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from demo.shop.contract import Group


class BrokerError(Exception):
    """The broker is away or refuses; trying again later may help."""


@dataclass(frozen=True)
class Delivery:
    """One message handed to one group, for the `attempt`-th time (from 1)."""

    subject: str
    stream: str
    sequence: int
    attempt: int
    headers: dict[str, str]
    body: bytes
    receipt: Any  # the broker's own handle, for ack, nak and term
    partition: int | None = None


class Broker(Protocol):
    system: str  # OpenTelemetry's `messaging.system`

    def dead_letters_of(self, delivery: Delivery, group: str) -> str:
        """Where the letters of this group go that were made of such a message."""

    async def declare(self) -> None:
        """Create what `contract.py` lists; what is there already stays as it is."""

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Returns when the broker has stored the message."""

    async def next(self, group: Group, wait_seconds: float) -> Delivery | None:
        """The group's next message, or None when none came in time."""

    async def ack(self, delivery: Delivery) -> None: ...

    async def nak(self, delivery: Delivery, delay_seconds: float) -> None:
        """Deliver it again, after a pause."""

    async def term(self, delivery: Delivery) -> None:
        """Never deliver it again: it lies in the dead-letter queue now."""

    async def switch(self, name: str, value: str, *, first: bool = False) -> bool:
        """Set a switch for all services; with `first`, only if nobody has ever set it. True if it was set."""

    def switches(self) -> AsyncIterator[tuple[str, str]]:
        """Every switch as it is, then every change, for ever."""

    async def switch_values(self) -> dict[str, str]:
        """Every switch as it is now."""

    async def close(self) -> None: ...
