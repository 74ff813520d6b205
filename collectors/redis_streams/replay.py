"""Appends a message to a stream, once, on a person's word, and says beforehand which groups would get it.

An entry goes to every group of the stream: Redis can't address one. Redis knows no message ids of ours, so sending the
same attempt twice stores two entries; the token travels as the field `Eventflow-Replay`, by which a consumer can tell.
"""

from collectors.base import REPLAY_HEADER, CollectorError, Outgoing, Receivers
from collectors.redis_streams import parse
from collectors.redis_streams.client import Client
from collectors.redis_streams.resp import Refusal


class RedisStreamsReplayer:
    """Connects for each errand: replays are rare, and a connection kept over an hour may be gone unnoticed."""

    def __init__(self, name: str, url: str) -> None:
        self._client = Client(url, f"{name} replay")

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        """Every group of the stream."""
        await self._client.connect()
        try:
            [answer] = await self._client.ask([("XINFO", "GROUPS", parse.raw(destination))])
        finally:
            await self._client.close()
        if isinstance(answer, Refusal):
            if "no such key" in answer.text:
                return Receivers((), exact=False)
            raise self._client.refused("XINFO GROUPS", answer)
        groups = tuple(sorted(parse.shown(found.name) for found in parse.groups(answer)))
        return Receivers(groups, exact=group is not None and groups == (group,))

    async def send(self, message: Outgoing) -> str:
        """XADD, and return the id the server gave it."""
        headers = [pair for pair in message.headers if pair[0].lower() != REPLAY_HEADER.lower()]
        fields = parse.fields([*headers, (REPLAY_HEADER, message.token)], message.payload)
        words = [word for pair in fields for word in pair]
        try:
            await self._client.connect()
        except CollectorError as error:
            raise CollectorError(f"{error}; nothing was sent", permanent=error.permanent, reached=False) from None
        try:
            [answer] = await self._client.ask([("XADD", parse.raw(message.destination), "NOMKSTREAM", "*", *words)])
        finally:
            await self._client.close()
        if answer is None:
            raise CollectorError(f"there is no stream {message.destination}: nothing was sent", permanent=True)
        if isinstance(answer, Refusal):
            told = self._client.refused(f"XADD to {message.destination}", answer)
            # Out of memory, loading, read-only for now: the same attempt may succeed later.
            later = answer.code in {"OOM", "LOADING", "READONLY", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN"}
            raise CollectorError(f"{told}; nothing was sent", permanent=not later, reached=False)
        return parse.shown(answer)

    async def close(self) -> None:
        """Nothing is kept open."""
        await self._client.close()
