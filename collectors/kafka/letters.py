"""Reads dead letters from their topics: by assignment, from a cursor, without a group and without a commit.

Promises: reading changes nothing; a cursor moves only after `emit` returned; a topic that may not be read is left alone
and said so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from collectors.base import Emit
from collectors.conventions import dead_letters
from collectors.kafka.client import Client, NotAllowedError
from collectors.kafka.parse import SYSTEM, Ends, Partition, Record, text
from collectors.kafka.places import Finder, Place, origin
from eventflow.domain.observations import DeadLetter

MAX_PAYLOAD = 256 * 1024
READS_A_CYCLE = 500
TRY_AGAIN_CYCLES = 60


@dataclass(frozen=True, slots=True)
class Look:
    """One cycle's look at the cluster."""

    client: Client
    ends: Ends
    places: Sequence[Place]
    groups: frozenset[str]
    topics: frozenset[str]
    emit: Emit
    now: datetime


class Letters:
    """The reader. Lives as long as its collector: cursors survive a lost connection."""

    def __init__(
        self,
        source: str,
        finder: Finder,
        resume: Mapping[str, int] | None = None,
        *,
        correlation_keys: Sequence[str] = (),
    ) -> None:
        self.cursors: dict[str, int] = dict(resume or {})
        self._source = source
        self._finder = finder
        self._keys = tuple(correlation_keys)
        self._refused: dict[str, int] = {}

    async def read(self, look: Look) -> bool | None:
        """Read on from the cursors. True when some topic may not be read, False when all could, None: none to read."""
        asked = False
        budget = READS_A_CYCLE
        for place in look.places:
            if self._refused.get(place.topic, 0) > 0:
                self._refused[place.topic] -= 1
                continue
            ranges = self._unread(place.topic, look.ends)
            if not ranges or budget <= 0:
                continue
            try:
                budget -= await self._read_place(look, place, ranges, budget)
                asked = True
                self._refused.pop(place.topic, None)
            except NotAllowedError:
                self._refused[place.topic] = TRY_AGAIN_CYCLES
        return True if self._refused else (False if asked else None)

    def _unread(self, topic: str, ends: Ends) -> dict[Partition, tuple[int, int]]:
        ranges = {}
        for partition, end in ends.end.items():
            if partition.topic != topic:
                continue
            start, cursor = ends.start.get(partition, 0), self.cursors.get(_key(partition), 0)
            if cursor > end:
                cursor = 0  # made anew: offsets began again
            if max(start, cursor) < end:
                ranges[partition] = (max(start, cursor), end)
        return ranges

    async def _read_place(
        self, look: Look, place: Place, ranges: Mapping[Partition, tuple[int, int]], budget: int
    ) -> int:
        records, reached = await look.client.read(ranges, at_most=budget)
        letters = [letter for record in records if (letter := self._letter(record, place, look)) is not None]
        if letters:
            await look.emit(letters)
        for partition, offset in reached.items():
            self.cursors[_key(partition)] = offset
        return max(1, len(records))

    def _letter(self, record: Record, place: Place, look: Look) -> DeadLetter | None:
        failure = dead_letters.read(record.headers, known=not place.strict, correlation_keys=self._keys)
        if place.strict and not failure.proved:
            return None
        fields, evidence = failure.fields, failure.evidence
        named = origin(place.topic)
        for role, known in (("destination", look.topics), ("group", look.groups)):
            if named in known and role not in fields:
                fields[role], evidence[role] = named, f"name of {place.topic}"
        if "failed_at" not in fields and record.at:
            fields["failed_at"], evidence["failed_at"] = record.at, "time of the record"
        if record.key is not None:
            fields["key"], evidence["key"] = text(record.key)[: dead_letters.MAX_FIELD_CHARS], "key of the record"
        if origins := {value for value in (fields.get("group"), fields.get("destination")) if value}:
            self._finder.learn(place.topic, origins)
        fields["convention"] = fields["convention"] or "none (by name)"
        kept, cut = dead_letters.capped(record.headers)
        if cut:
            evidence["headers"] = cut
        return DeadLetter(
            self._source, SYSTEM, place.topic, f"{record.partition.number}:{record.offset}", look.now, **fields,
            evidence=evidence, headers=kept, payload=None if record.value is None else record.value[:MAX_PAYLOAD],
            payload_size=len(record.value or b""), payload_note=_note(record.value),
        )  # fmt: skip


def _note(value: bytes | None) -> str | None:
    if value is None:
        return "the record has no value (null): a deletion mark on compacted topics"
    if len(value) > MAX_PAYLOAD:
        return (
            f"truncated: only the first {MAX_PAYLOAD // 1024} KiB of {len(value)} bytes are kept; "
            "a replay must read the message from the broker again or refuse"
        )
    return None


def _key(partition: Partition) -> str:
    return f"letters:{partition.topic}:{partition.number}"
