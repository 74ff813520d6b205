"""Redis's answers → observations. Pure: no I/O, no clock; what can't be read becomes None, never an exception."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from collectors.redis_streams.ranks import EntryId, entry_id
from eventflow.domain.observations import GroupMember

SYSTEM = "redis"

PAYLOAD_FIELDS = ("payload", "body", "data", "value", "message")
"""The field that holds the body, the first that is there; every other field is a header."""
PAYLOAD_FIELD_HEADER = "Redis-Payload-Field"
"""Told beside the other headers when the body's field has another name than `payload`: a replay needs it."""

_EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)
"""Older than Redis: an id that was made up by the application, no time."""
_AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: fields in order, as bytes."""

    id: EntryId
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def size(self) -> int:
        return sum(len(name) + len(value) for name, value in self.fields)


@dataclass(frozen=True, slots=True)
class Group:
    """What XINFO GROUPS tells. `lag` is the server's own and may be wrong."""

    name: bytes
    consumers: int
    pending: int
    last_delivered: EntryId
    entries_read: int | None
    lag: int | None


@dataclass(frozen=True, slots=True)
class Stream:
    """What XINFO STREAM tells; `added` and `max_deleted` since Redis 7.0."""

    key: bytes
    length: int
    last_generated: EntryId
    added: int | None
    max_deleted: EntryId | None
    groups_count: int
    first: Entry | None
    newest: Entry | None

    @property
    def name(self) -> str:
        return shown(self.key)

    def holes_after(self, entry: EntryId) -> bool:
        """Whether entries were deleted (not trimmed) somewhere after `entry`, so that numbers can't tell how many."""
        if self.max_deleted is None:
            return True
        trimmed = self.first is not None and self.max_deleted < self.first.id
        return self.max_deleted > entry and not trimmed


def shown(raw: object) -> str:
    """Bytes as a name to show; those that are no UTF-8 are written as escapes."""
    return raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else ""


def raw(name: str) -> bytes:
    """The key behind a shown name. Names that were no UTF-8 can't be told back."""
    return name.encode()


def integer(value: object) -> int | None:
    """A whole number, or None."""
    return value if isinstance(value, int) else None


def pairs(answer: object) -> dict[bytes, Any]:
    """`name, value, name, value …` as a dict."""
    if not isinstance(answer, list):
        return {}
    return {name: value for name, value in zip(answer[::2], answer[1::2], strict=False) if isinstance(name, bytes)}


def entry(answer: object) -> Entry | None:
    """`[id, [field, value, …]]`. Of a deleted entry only the id is told: then it is none."""
    if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], list):
        return None
    found, values = entry_id(answer[0]), answer[1]
    if found is None:
        return None
    return Entry(found, tuple((bytes(n), bytes(v)) for n, v in zip(values[::2], values[1::2], strict=False)))


def entries(answer: object) -> list[Entry]:
    """The answer of XRANGE."""
    return [found for one in answer if (found := entry(one))] if isinstance(answer, list) else []


def stream(key: bytes, answer: object) -> Stream | None:
    """The answer of XINFO STREAM."""
    told = pairs(answer)
    length, last = integer(told.get(b"length")), entry_id(told.get(b"last-generated-id"))
    if length is None or last is None:
        return None
    return Stream(
        key,
        length,
        last,
        integer(told.get(b"entries-added")),
        entry_id(told.get(b"max-deleted-entry-id")),
        integer(told.get(b"groups")) or 0,
        entry(told.get(b"first-entry")),
        entry(told.get(b"last-entry")),
    )


def groups(answer: object) -> Iterator[Group]:
    """The answer of XINFO GROUPS."""
    for one in answer if isinstance(answer, list) else ():
        told = pairs(one)
        name, delivered = told.get(b"name"), entry_id(told.get(b"last-delivered-id"))
        if isinstance(name, bytes) and delivered is not None:
            yield Group(
                name,
                integer(told.get(b"consumers")) or 0,
                integer(told.get(b"pending")) or 0,
                delivered,
                integer(told.get(b"entries-read")),
                integer(told.get(b"lag")),
            )


def moment(found: EntryId | None, now: datetime) -> datetime | None:
    """The time that a server-made id holds; None for an id that an application made up."""
    if found is None:
        return None
    try:
        at = datetime.fromtimestamp(found[0] / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None
    return at if _EARLIEST <= at <= now + _AHEAD else None


def consumers(answer: object, now: datetime) -> tuple[GroupMember, ...] | None:
    """The answer of XINFO CONSUMERS. When one got something at last, Redis tells from 7.2 on."""
    if not isinstance(answer, list):
        return None
    found = []
    for one in answer:
        told = pairs(one)
        found.append(
            GroupMember(
                shown(told.get(b"name")),
                in_flight=integer(told.get(b"pending")),
                active_at=_ago(integer(told.get(b"idle")), now),
                got_at=_ago(integer(told.get(b"inactive")), now),
            )
        )
    return tuple(sorted(found, key=lambda member: member.id))


def _ago(milliseconds: int | None, now: datetime) -> datetime | None:
    try:
        return None if milliseconds is None or milliseconds < 0 else now - timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def active(found: Sequence[GroupMember] | None, since: datetime) -> int | None:
    """How many were heard of since then."""
    return None if found is None else sum(1 for one in found if one.active_at is not None and one.active_at >= since)


def message(found: Entry) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """An entry as headers and a body. Without a field for the body all fields are headers and the body is empty."""
    names = {name.lower() for name, _ in found.fields}
    body = next((name for name in PAYLOAD_FIELDS if name.encode() in names), None)
    headers: list[tuple[str, str]] = []
    payload, taken = b"", None
    for name, value in found.fields:
        if taken is None and body is not None and name.lower() == body.encode():
            payload, taken = value, shown(name)
        else:
            headers.append((shown(name), _text(value)))
    if taken not in (None, "payload"):
        headers.append((PAYLOAD_FIELD_HEADER, str(taken)))
    return tuple(headers), payload


def fields(headers: Sequence[tuple[str, str]], payload: bytes) -> list[tuple[bytes, bytes]]:
    """`message` undone: what to give to XADD."""
    name = next((value for header, value in headers if header == PAYLOAD_FIELD_HEADER), "payload")
    told = [(header.encode(), _bytes(value)) for header, value in headers if header != PAYLOAD_FIELD_HEADER]
    return [*told, (name.encode(), payload)] if payload or name != "payload" else told


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()


def _bytes(value: str) -> bytes:
    if value.startswith("base64:"):
        try:
            return base64.b64decode(value[7:], validate=True)
        except ValueError:
            pass
    return value.encode()


def counts_right(version: str) -> bool:
    """Whether this release's `lag` is right after XTRIM (redis/redis 13338, 13473)."""
    try:
        major, minor, patch = (int(part) for part in version.split(".")[:3])
    except ValueError:
        return False
    if (major, minor) == (7, 2):
        return patch >= 7
    return (major, minor, patch) >= (7, 4, 2)


def first_of(answer: object) -> EntryId | None:
    """The id of the first row of XPENDING with a range."""
    return entry_id(answer[0][0]) if isinstance(answer, list) and answer and isinstance(answer[0], list) else None
