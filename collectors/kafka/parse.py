"""What the brokers answered → observations. Pure: no I/O, no clock.

Promises: no commit is unknown and not zero, a commit past the end is unknown, lag is never negative.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from collectors.kafka.times import Estimate
from eventflow.domain.observations import GroupMember, LagSample

SYSTEM = "kafka"
SHARE, KINDLESS = "share", "unknown"

NO_COMMIT = "nothing is committed here yet: where the group begins depends on its auto.offset.reset"
PAST_END = "the commit lies past the end: the topic was made anew or cut short"
NOT_ASSIGNED = "its members are connected but none is assigned this topic: the group reads it no more"
NO_END = "the broker told no end offset"
NOT_BEGUN = "the share group has not begun to read here yet"
NO_SHARE_LAG = "Kafka tells a share group's lag from 4.2 on"
MANY = 100
"""A quiet topic keeps few messages; that the newest few of them wait for a moment risks nothing."""

NOT_ALLOWED = "not allowed to describe this topic"


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


Offsets: TypeAlias = Mapping[Partition, int]


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies. Header values that are no plain text stand as base64 with a `base64:` prefix."""

    partition: Partition
    offset: int
    at: datetime | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Group:
    """A consumer group. `members` None: may not be seen; `readers`: how many of them have partitions of a topic."""

    name: str
    kind: str
    state: str
    members: int | None = None
    assigned: set[Partition] = field(default_factory=set)
    readers: dict[str, int] = field(default_factory=dict)
    consumers: tuple[GroupMember, ...] | None = None
    """The members themselves; None while they were not asked for."""
    described_at: float = 0.0
    coordinator: int | None = None
    """The broker that listed it, and has its commits; None: not told."""
    commits: dict[Partition, int] = field(default_factory=dict)
    """A share group's: where the first record lies that it has not done."""
    told: dict[Partition, int] = field(default_factory=dict)
    """A share group's lag in the broker's own words; -1: it tells none."""
    done: dict[Partition, int] = field(default_factory=dict)
    """A share group's: how many records it has done, in any order."""


def member(name: str, client: str, host: str, read: Iterable[Partition]) -> GroupMember:
    """One consumer with what it reads, in order."""
    places = tuple((at.topic, str(at.number)) for at in sorted(read))
    return GroupMember(name, client or "", (host or "").lstrip("/"), places)


@dataclass(frozen=True, slots=True)
class Ends:
    """One look at the partitions: first kept offset, end, and what may not be seen."""

    start: Offsets
    end: Offsets
    refused: frozenset[Partition] = frozenset()


def text(value: bytes) -> str:
    """Header and key bytes as text that every database takes; anything else, and what looks so, as base64."""
    try:
        found = value.decode()
    except UnicodeDecodeError:
        found = "base64:"
    plain = not found.startswith("base64:") and all(char >= " " or char in "\t\r\n" for char in found)
    return found if plain else "base64:" + base64.b64encode(value).decode()


def raw(value: str) -> bytes:
    """The bytes that `text` was made of. Raises ValueError."""
    return base64.b64decode(value[7:], validate=True) if value.startswith("base64:") else value.encode()


def instant(milliseconds: int | None) -> datetime | None:
    """A record's timestamp; None for none and for what is no date."""
    if milliseconds is None or milliseconds < 0:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def watched(group: Group, partitions: Mapping[str, int]) -> list[Partition]:
    """Where a group has committed, and where its members are assigned; topics that are gone are left out."""
    both = {*group.commits, *group.assigned}
    return sorted(p for p in both if p.number < partitions.get(p.topic, 0))


def total(values: Sequence[int | None]) -> int | None:
    """A sum is only known when all its parts are."""
    return None if None in values else sum(value for value in values if value is not None)


def kept(first: Sequence[int | None], last: Sequence[int | None]) -> int | None:
    """How many offsets lie between; at most so many messages, fewer on compacted and transactional topics."""
    pairs = zip(first, last, strict=True)
    return total([None if a is None or b is None else max(0, b - a) for a, b in pairs])


def waiting(committed: int | None, start: int | None, end: int | None) -> tuple[int | None, str | None]:
    """How many records wait, or why that is not known."""
    if end is None:
        return None, NO_END
    if start is not None and start == end:
        return 0, None  # nothing is kept: nothing can wait
    if committed is None:
        return None, NO_COMMIT
    if committed > end:
        return None, PAST_END
    return end - (start if start is not None and start > committed else committed), None


def shared(group: Group, partition: Partition, start: int | None, end: int | None) -> tuple[int | None, str | None]:
    """The same for a share group: its members settle records in any order, so only the broker can count."""
    told = group.told.get(partition)
    if start is not None and start == end:
        return 0, None
    if told is None:
        return None, NOT_BEGUN
    return (told, None) if told >= 0 else (None, NO_SHARE_LAG)


def members_on(group: Group, topic: str) -> int | None:
    """How many members read this topic; None when that may not be seen."""
    if group.members is None or not group.assigned:
        return group.members
    return group.readers.get(topic, 0)


def left(group: Group, topic: str) -> bool:
    """Whether a settled group no longer reads a topic that it has old commits on."""
    return group.state == "stable" and bool(group.assigned) and topic not in group.readers


def lags(
    source: str,
    group: Group,
    partitions: Mapping[str, int],
    ends: Ends,
    *,
    at: datetime,
    dated: Callable[[Partition, int], Estimate | None] = lambda partition, offset: None,
    proved: Callable[[Partition, int | None, int | None], int | None] | None = None,
) -> list[LagSample]:
    """One group's lag on each of its partitions.

    `dated`: when the record at an offset was written; `proved`: how many messages the waiting offsets really hold. Both
    are asked only where something waits: this runs for ten thousand partitions every few seconds.
    """
    samples = []
    topic, members, has_left, subscriptions = "", None, False, ("",)
    share, starts, stops, commits, name = group.kind == SHARE, ends.start, ends.end, group.commits, group.name
    for partition in watched(group, partitions):
        if partition.topic != topic:
            topic = partition.topic
            members, has_left, subscriptions = members_on(group, topic), left(group, topic), (topic,)
        committed, start, end = commits.get(partition), starts.get(partition), stops.get(partition)
        if start is not None and end is not None and start > end:
            start = None  # told before the topic was made anew
        ready, reason = shared(group, partition, start, end) if share else waiting(committed, start, end)
        if ends.refused and partition in ends.refused:
            ready, reason = None, NOT_ALLOWED
        elif has_left and ready != 0:
            ready, reason = None, NOT_ASSIGNED
        if ready and proved is not None and (counted := proved(partition, committed, end)) is not None:
            ready = counted
        oldest, method, error = None, "broker-exact", None
        if ready and committed is not None:
            age = dated(partition, start if start is not None and start > committed else committed)
            if age is not None:
                oldest, error = instant(age.at), age.error / 1000
                method = "probe-exact" if age.exact or error <= 1 else "interpolated"
        lost = None if start is None or committed is None else start - committed if start > committed else 0
        kept = end - start if end is not None and start and (lost or end - start >= MANY) else None
        settled = group.done.get(partition) if share else committed
        # By place, as the fields stand: by name each sample takes twice as long.
        samples.append(
            LagSample(
                source, SYSTEM, topic, name, at, ready, str(partition.number), None, None, reason, oldest, method,
                error, end, None, settled, members, False, None, subscriptions, kept, lost,
            )
        )  # fmt: skip
    return samples
