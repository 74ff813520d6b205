"""Who reads the queues: consumers with tag, peer, prefetch and how they acknowledge.

Promises two requests, seldom: each hundred consumers there are may cost one second until the next ask, whoever comes or
goes; what nobody reads costs none. Where they may not be seen, nothing is told.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from collectors.base import CollectorError
from collectors.members import MemberNews
from collectors.rabbitmq import parse
from collectors.rabbitmq.client import Client
from collectors.rabbitmq.parse import Numbers
from collectors.rabbitmq.routes import dicts
from eventflow.domain.observations import GroupMember, GroupMembers

NO_ACK = "nothing: delivered is done"
SECONDS, SOON_SECONDS = 60.0, 5.0
CONSUMERS_A_SECOND = 100
"""The server's statistics move every five seconds, and telling one consumer takes it a tenth of a millisecond."""
_CONSUMERS = (
    "queue.name,consumer_tag,prefetch_count,ack_required,exclusive,activity_status,channel_details.name,"
    "channel_details.connection_name,channel_details.peer_host,channel_details.peer_port,channel_details.user"
)


class Readers:
    """Remembers how many there were, and what was told of them."""

    def __init__(self) -> None:
        self._news = MemberNews()
        self._counts: dict[str, int] = {}
        self._asked_at = float("-inf")

    def forget(self) -> None:
        """Ask and tell anew."""
        self._news.forget()
        self._counts, self._asked_at = {}, float("-inf")

    async def look(
        self, client: Client, source: str, told: Mapping[str, Numbers], clock: float, now: datetime
    ) -> list[GroupMembers]:
        """What is news. Asked when a queue has more or fewer than before, else once a minute."""
        counts = {name: numbers.consumers for name, numbers in told.items() if numbers.consumers}
        due = SOON_SECONDS if counts != self._counts else SECONDS
        if clock - self._asked_at < max(due, sum(counts.values()) / CONSUMERS_A_SECOND):
            return []
        found: dict[str, tuple[GroupMember, ...]] = {}
        if counts:
            try:
                rows, connections = await asyncio.gather(
                    client.get(f"consumers/VHOST?columns={_CONSUMERS}"),
                    client.get("vhosts/VHOST/connections?columns=name,user_provided_name"),
                )
            except CollectorError:
                self._asked_at = clock  # not told: the queues' own numbers say how many there are
                return []
            found = consumers(rows, connections)
        self._asked_at, self._counts = clock, dict(counts)
        self._news.forget(keep={(name, name) for name in told})
        return list(self._tell(source, told, found, now))

    def _tell(
        self, source: str, told: Iterable[str], found: Mapping[str, tuple[GroupMember, ...]], now: datetime
    ) -> Iterable[GroupMembers]:
        for name in told:
            there = GroupMembers(source, parse.SYSTEM, name, now, found.get(name, ()), destination=name)
            if self._news.is_news(there):
                yield there


def consumers(rows: object, connections: object) -> dict[str, tuple[GroupMember, ...]]:
    """Of /api/consumers, by queue; a connection's own name, where its client gave it one, of /api/connections."""
    names = {str(one.get("name")): str(one.get("user_provided_name") or "") for one in dicts(connections)}
    found: dict[str, list[GroupMember]] = {}
    for one in dicts(rows):
        queue, channel = _inner(one, "queue"), _inner(one, "channel_details")
        tag, prefetch = str(one.get("consumer_tag") or ""), parse.integer(one.get("prefetch_count"))
        told = {
            "tag": tag,
            "user": str(channel.get("user") or ""),
            "prefetch": "no limit" if prefetch == 0 else "" if prefetch is None else str(prefetch),
            "acknowledges": {"True": "each message", "False": NO_ACK}.get(str(one.get("ack_required")), ""),
            "state": {"single_active": "the active one", "waiting": "waits for its turn"}.get(
                str(one.get("activity_status")), ""
            ),
            "exclusive": "yes" if one.get("exclusive") is True else "",
        }
        peer, port = channel.get("peer_host"), channel.get("peer_port")
        found.setdefault(str(queue.get("name") or ""), []).append(
            GroupMember(
                f"{channel.get('name') or '?'} {tag}",
                names.get(str(channel.get("connection_name")), ""),
                f"{peer}:{port}" if isinstance(peer, str) else "",
                told=tuple((name, value[:200]) for name, value in told.items() if value),
            )
        )
    return {queue: tuple(sorted(there, key=lambda member: member.id)) for queue, there in found.items()}


def _inner(row: dict[str, Any], name: str) -> dict[str, Any]:
    found = row.get(name)
    return found if isinstance(found, dict) else {}
