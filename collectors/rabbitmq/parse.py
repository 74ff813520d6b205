"""RabbitMQ's answers → observations. Pure: no I/O, no clock; what can't be read becomes None, never an exception."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eventflow.domain.observations import GroupMember

SYSTEM = "rabbitmq"
NO_ACK = "nothing: delivered is done"

FAMILIES = ("queue_coarse_metrics", "queue_consumer_count")

_LINE = re.compile(
    r"^rabbitmq_detailed_queue_(messages_ready|messages_unacked|consumers)"
    r'\{vhost="((?:[^"\\]|\\.)*)",queue="((?:[^"\\]|\\.)*)"\} (\d+)$',
    re.MULTILINE,
)
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True, slots=True)
class Numbers:
    """What waits in a queue, what is out, who reads. None: not told."""

    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """What the management API alone knows. Counters count clients' deeds: letters that the broker moved are in none."""

    head_at: datetime | None = None
    size_bytes: int | None = None
    published: int | None = None
    delivered: int | None = None
    settled: int | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue's lasting facts."""

    name: str
    kind: str
    """``classic``, ``quorum`` or ``stream``."""
    settings: dict[str, Any]


def integer(value: object) -> int | None:
    """A whole number, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def numbers(row: dict[str, Any]) -> Numbers:
    """Of one row of /api/queues."""
    return Numbers(
        integer(row.get("messages_ready")), integer(row.get("messages_unacknowledged")), integer(row.get("consumers"))
    )


def details(row: dict[str, Any]) -> Details:
    """Of one row of /api/queues."""
    stats = row.get("message_stats")
    stats = stats if isinstance(stats, dict) else {}
    head = integer(row.get("head_message_timestamp"))
    delivered = integer(stats.get("deliver_get"))
    settled = [integer(stats.get(name)) for name in ("ack", "deliver_no_ack", "get_no_ack")]
    return Details(
        moment(head),
        integer(row.get("message_bytes")),
        integer(stats.get("publish")),
        None if delivered is None else max(0, delivered - (integer(stats.get("redeliver")) or 0)),
        sum(value or 0 for value in settled) if any(value is not None for value in settled) else None,
    )


def consumers(rows: object, connections: object) -> dict[str, tuple[GroupMember, ...]]:
    """Of /api/consumers, by queue; a connection's own name, where its client gave it one, of /api/connections."""
    names = {str(one.get("name")): str(one.get("user_provided_name") or "") for one in dicts(connections)}
    found: dict[str, list[GroupMember]] = {}
    for one in dicts(rows):
        queue, channel = _inner(one, "queue"), _inner(one, "channel_details")
        tag, prefetch = str(one.get("consumer_tag") or ""), integer(one.get("prefetch_count"))
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


def dicts(answer: object) -> list[dict[str, Any]]:
    """The rows of an answer."""
    return [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []


def _inner(row: dict[str, Any], name: str) -> dict[str, Any]:
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def moment(seconds: int | None) -> datetime | None:
    """The publisher's `timestamp` property; None when there is none or it is no time."""
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (OverflowError, OSError, ValueError):
        return None


def metrics(text: str, vhost: str) -> dict[str, Numbers]:
    """Each queue's numbers from one node's /metrics/detailed."""
    found: dict[str, dict[str, int]] = {}
    for what, where, queue, value in _LINE.findall(text):
        if _label(where) == vhost:
            found.setdefault(_label(queue), {})[what] = int(value)
    return {
        queue: Numbers(one.get("messages_ready"), one.get("messages_unacked"), one.get("consumers"))
        for queue, one in found.items()
    }


def _label(raw: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES.get(match[0], match[0]), raw) if "\\" in raw else raw
