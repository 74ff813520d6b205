"""What lies in Celery's Redis → queues, tasks held by workers. Pure; anything odd is left out, never raised."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collectors.base import CollectorError

SYSTEM = "celery"
SEPARATOR = "\x06\x16"
PRIORITIES = (3, 6, 9)
BINDINGS = "_kombu.binding."
UNACKED = "unacked"
_NOT_OURS = ("celeryev", "reply.celery.pidbox", "celery.pidbox")


class NotAllowedError(CollectorError):
    """The user may not do this."""


@dataclass(frozen=True, slots=True)
class Held:
    """A task that a worker has fetched: waiting for a free process, or for its time."""

    queue: str
    eta: datetime | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. What a broker does not tell is None."""

    ready: Mapping[str, int]
    """How many tasks wait in each queue that is there."""
    held: list[Held] | None = None
    held_count: int | None = None
    members: Mapping[str, int] | None = None


def event_body(data: bytes) -> bytes:
    """What lies in the envelope that an event travels in on Redis; nothing where it can't be read."""
    try:
        envelope = json.loads(data)
        body = envelope["body"]
        if (envelope.get("properties") or {}).get("body_encoding") == "base64":
            return base64.b64decode(body)
        return str(body).encode()
    except (ValueError, TypeError, KeyError, AttributeError):
        return b""


def lists_of(queue: str) -> list[str]:
    """The keys that a queue's tasks lie in, by their priority."""
    return [queue, *(f"{queue}{SEPARATOR}{priority}" for priority in PRIORITIES)]


def bindings(key: bytes, members: Iterable[bytes]) -> dict[tuple[str, str], str]:
    """(exchange, routing key) → queue, of one exchange's set. Celery's own exchanges carry no tasks."""
    exchange = key.decode("utf-8", "replace").removeprefix(BINDINGS)
    if exchange.endswith(_NOT_OURS) or exchange.startswith(("reply.", "celeryev")):
        return {}
    found = {}
    for member in members:
        routing_key, *_, queue = member.decode("utf-8", "replace").split(SEPARATOR)
        if queue:
            found[exchange, routing_key] = queue
    return found


def held(entries: Iterable[bytes], queues: Mapping[tuple[str, str], str]) -> list[Held]:
    """The tasks in `unacked`, each with its queue."""
    found = []
    for entry in entries:
        try:
            message, exchange, routing_key = json.loads(entry)
            headers = message.get("headers") or {}
        except (ValueError, TypeError, AttributeError):
            continue
        queue = queues.get((str(exchange), str(routing_key)), str(routing_key))
        headers = headers if isinstance(headers, dict) else {}
        name = headers.get("task")
        found.append(Held(queue, moment(headers.get("eta")), name if isinstance(name, str) else ""))
    return found


def moment(value: Any) -> datetime | None:
    """ISO text or seconds since the epoch."""
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC)
        found = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
