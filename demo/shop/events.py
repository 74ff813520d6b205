"""An event: what it is called, what it says, and the headers that carry it (CloudEvents, correlation id, W3C context).

Promises that the same cause gives the same event id, so that a repeated delivery publishes nothing new. Pure values.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

CORRELATION_ID = "correlation-id"
# NATS stores a second message with the same id only once; elsewhere it is a header like any other.
MESSAGE_ID = "Nats-Msg-Id"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class UndecodableError(Exception):
    """The body cannot be read; no later attempt will read it better."""


@dataclass(frozen=True)
class Event:
    id: str
    type: str
    source: str
    correlation_id: str
    data: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        return json.dumps(self.data).encode()


def new_correlation_id() -> str:
    """A ULID: sorts by time, and is easy to read out on the telephone."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def first(event_type: str, source: str, data: dict[str, Any]) -> Event:
    """An event without a cause: something happened outside, and a new correlation id begins."""
    return Event(str(uuid4()), event_type, source, new_correlation_id(), data)


def caused_by(cause: Event, event_type: str, source: str, data: dict[str, Any]) -> Event:
    event_id = str(uuid5(NAMESPACE_URL, f"{cause.id}/{source}/{event_type}/{data.get('template', '')}"))
    return Event(event_id, event_type, source, cause.correlation_id, data)


def headers_of(event: Event, now: datetime) -> dict[str, str]:
    return {
        MESSAGE_ID: event.id,
        CORRELATION_ID: event.correlation_id,
        "content-type": "application/json",
        "ce-id": event.id,
        "ce-type": event.type,
        "ce-source": event.source,
        "ce-specversion": "1.0",
        "ce-time": now.isoformat(timespec="milliseconds"),
    }


def read_json(body: bytes) -> dict[str, Any]:
    """Any of the encodings JSON may come in."""
    try:
        data = json.loads(body)
    except ValueError as error:
        raise UndecodableError(f"{len(body)} bytes that are not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UndecodableError(f"a JSON object was expected, this is a {type(data).__name__}")
    return data


def read(subject: str, headers: Mapping[str, str], data: dict[str, Any]) -> Event:
    return Event(
        id=headers.get("ce-id", ""),
        type=headers.get("ce-type", subject),
        source=headers.get("ce-source", ""),
        correlation_id=headers.get(CORRELATION_ID, ""),
        data=data,
        headers=headers,
    )
