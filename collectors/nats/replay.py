"""Puts a message back into JetStream, once, on a person's word, and says beforehand which consumers would get it.

A subject goes to everybody who filters it: NATS can't address one consumer. The token is the Nats-Msg-Id, so that
sending the same attempt again inside the stream's duplicate window stores nothing new.
"""

from collections.abc import Sequence

from collectors.base import CollectorError, Outgoing, Receivers
from collectors.nats.client import Client, GoneError, NotAllowedError
from collectors.nats.parse import filters, subject_matches

MESSAGE_ID = "Nats-Msg-Id"
_BROKERS_OWN = {
    name.lower()
    for name in (
        MESSAGE_ID, "Nats-Expected-Stream", "Nats-Expected-Last-Sequence", "Nats-Expected-Last-Msg-Id",
        "Nats-Expected-Last-Subject-Sequence", "Nats-Rollup", "Nats-TTL", "Nats-Schedule", "Nats-Schedule-Target",
    )
}  # fmt: skip
"""Headers that order the server to do something: the first publisher's orders are not ours."""


class NatsReplayer:
    """Connects at first use and again after a loss."""

    def __init__(self, name: str, url: str) -> None:
        self._client = Client(url, f"{name} replay")
        self._open = False

    async def _connected(self) -> Client:
        if self._open:
            try:
                self._client.check()
            except CollectorError:
                await self.close()
        if not self._open:
            await self._client.connect()
            self._open = True
        return self._client

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        """Every consumer that reads `destination`. Core NATS subscribers are not known to JetStream and not listed."""
        client = await self._connected()
        groups: set[str] = set()
        for stream in await client.streams_taking(destination):
            try:
                found = await client.consumers(stream)
            except GoneError:
                continue
            for consumer in found:
                wanted = filters(consumer)
                if not wanted or any(subject_matches(pattern, destination) for pattern in wanted):
                    groups.add(str(consumer.get("name", "")))
        return Receivers(tuple(sorted(groups)), exact=group is not None and groups == {group})

    async def send(self, message: Outgoing) -> str:
        """Publish and return `STREAM:sequence`, also when the server says that it has this token already."""
        headers = _headers(message.headers, message.token)
        try:
            client = await self._connected()
            taken = await client.streams_taking(message.destination)
        except NotAllowedError:
            taken = ["unknown"]  # the publish itself will tell, by having no responder
        except CollectorError as error:
            raise CollectorError(f"{error}; nothing was sent", permanent=error.permanent, reached=False) from None
        if not taken:
            # Without a stream a plain subscriber could take it and nobody could prove it.
            raise CollectorError(f"no stream takes {message.destination}: nothing was sent", permanent=True)
        answer = await client.publish(message.destination, message.payload, headers)
        return f"{answer['stream']}:{answer['seq']}"

    async def close(self) -> None:
        """Give the connection back."""
        self._open = False
        await self._client.close()


def _headers(headers: Sequence[tuple[str, str]], token: str) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in headers if name.lower() not in _BROKERS_OWN]
    for name, value in kept:
        if value.startswith("base64:"):
            raise CollectorError(
                f"header {name[:100]} holds bytes that can't be sent as text: nothing was sent", permanent=True
            )
    return [*kept, (MESSAGE_ID, token)]
