"""RabbitMQ's answers → observations. Pure: no I/O, no clock; what can't be read becomes None, never an exception."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

SYSTEM = "rabbitmq"

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


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a dead-letter queue does to letters that nobody fetches. `lost` says why they don't stay."""

    seconds: float | None = None
    messages: int | None = None
    lost: str | None = None


def keeping(queue: Queue, consumers: int | None) -> Keeping:
    """By its arguments and policy. A queue that dead-letters on moves its letters instead of dropping them."""
    life, room, unused = (integer(queue.settings.get(name)) for name in ("message-ttl", "max-length", "expires"))
    lost = None
    if unused is not None and not consumers:
        lost = f"the queue is deleted with all that it holds after {unused / 1000:,.0f} s without a consumer"
    if isinstance(queue.settings.get("dead-letter-exchange"), str):
        life = room = None
    if life == 0:
        lost = "the queue drops at once what no consumer takes (message-ttl 0)"
    return Keeping(life / 1000 if life else None, room or None, lost)


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
