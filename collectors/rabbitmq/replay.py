"""Puts a message back into the one queue where it failed, by the default exchange, confirmed by the broker.

RabbitMQ knows no message ids of ours: sending the same attempt twice stores it twice, and the header `Eventflow-Replay`
lets a consumer tell. A header's type is lost: numbers and tables come back as text.
"""

from collectors.base import REPLAY_HEADER, Outgoing, Receivers
from collectors.rabbitmq.address import Address
from collectors.rabbitmq.amqp import Amqp

_BROKERS_OWN = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


class RabbitMqReplayer:
    """Connects at first use and again after a loss."""

    def __init__(self, name: str, url: str) -> None:
        self._amqp = Amqp(Address.of(url), f"{name} replay")

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        """The queue itself: other queues of the same exchange don't get it again."""
        return Receivers((destination,), exact=group in (None, destination))

    async def send(self, message: Outgoing) -> str:
        """Publish, and return queue and token: the broker gives no position."""
        own = REPLAY_HEADER.lower()
        kept = [
            (name, value)
            for name, value in message.headers
            if name.lower() != own and not name.lower().startswith(_BROKERS_OWN)
        ]
        await self._amqp.publish(message.destination, [*kept, (REPLAY_HEADER, message.token)], message.payload)
        return f"{message.destination}:{message.token}"

    async def close(self) -> None:
        """Give the connection back."""
        await self._amqp.close()
