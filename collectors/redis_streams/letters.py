"""Where dead letters lie on a Redis server, and reading them by id.

Promises: XRANGE only; a cursor moves only after `emit` returned. A finding says how certain it is: by name, or proved
by the fields of the newest entry, which every look at a stream brings along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from collectors.base import Emit
from collectors.conventions import dead_letters
from collectors.redis_streams import parse
from collectors.redis_streams.client import Client
from collectors.redis_streams.parse import Entry, Stream
from collectors.redis_streams.ranks import EntryId, packed, text, unpacked
from collectors.redis_streams.resp import Refusal
from eventflow.domain.observations import DeadLetter

MAX_PAYLOAD = 256 * 1024
PAGE = 50
READS_A_CYCLE = 500
PEEKS_A_CYCLE = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A stream where letters lie. `strict`: only what its fields prove is a letter there."""

    stream: Stream
    certainty: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Look:
    """One cycle's look. `groups` and `destinations` are known names, to tell what `dlq.payment` speaks of."""

    client: Client
    places: Sequence[Place]
    groups: set[str]
    destinations: set[str]
    emit: Emit
    now: datetime


class Letters:
    """The reader. Lives as long as its collector: cursors survive a lost connection."""

    def __init__(
        self, source: str, resume: Mapping[str, int] | None = None, *, correlation_keys: Sequence[str] = ()
    ) -> None:
        self.cursors: dict[str, int] = dict(resume or {})
        self._source = source
        self._keys = tuple(correlation_keys)
        self._proved: set[bytes] = set()
        self._peeked: dict[bytes, int] = {}
        self._cycle = 0
        self._origins: dict[bytes, set[str]] = {}

    def places(self, streams: Sequence[Stream]) -> list[Place]:
        """The streams that hold letters."""
        named = {stream.key: dead_letters.named_like_dead_letters(stream.name) for stream in streams}
        strong = [stream for stream in streams if named[stream.key] == "strong"]
        rest = [stream for stream in streams if named[stream.key] != "strong"]
        self._prove([stream for stream in rest if stream.newest and stream.key not in self._proved])
        proved = [stream for stream in rest if stream.key in self._proved or named[stream.key] == "weak"]
        return [
            *(Place(stream, "by-name", strict=False) for stream in strong),
            *(Place(stream, "header-proved", strict=True) for stream in proved),
        ]

    def _prove(self, streams: Sequence[Stream]) -> None:
        """Whether the newest entry is a letter: a few streams in a cycle, the longest unlooked-at first."""
        self._cycle += 1
        for stream in sorted(streams, key=lambda one: self._peeked.get(one.key, 0))[:PEEKS_A_CYCLE]:
            self._peeked[stream.key] = self._cycle
            if stream.newest and dead_letters.read(parse.message(stream.newest)[0]).proved:
                self._proved.add(stream.key)

    def letters_of(self, place: Place) -> tuple[str, ...]:
        """What the letters are of, as far as their fields or the stream's name tell; `*` when nothing does."""
        if learned := self._origins.get(place.stream.key):
            return tuple(sorted(learned)[:20])
        if place.strict:
            return ()
        return (dead_letters.named_origin(place.stream.name) or "*",)

    async def read(self, look: Look) -> bool:
        """Read on from the cursors. True when it is not allowed."""
        budget = READS_A_CYCLE
        for place in look.places:
            stream = place.stream
            cursor = unpacked(self.cursors.get(stream.name, 0))
            if cursor > stream.last_generated:
                cursor = (0, 0)  # made anew
            while cursor < stream.last_generated and budget > 0:
                [answer] = await look.client.ask([("XRANGE", stream.key, f"({text(cursor)}", "+", "COUNT", PAGE)])
                if isinstance(answer, Refusal):
                    return answer.code == "NOPERM"
                cursor, read = await self._take(parse.entries(answer), place, look)
                budget -= read
                if read < PAGE:
                    break
        return False

    async def _take(self, found: Sequence[Entry], place: Place, look: Look) -> tuple[EntryId, int]:
        page = [letter for entry in found if (letter := self._letter(entry, place, look)) is not None]
        if page:
            await look.emit(page)
        cursor = found[-1].id if found else place.stream.last_generated
        self.cursors[place.stream.name] = packed(cursor)
        return cursor, len(found)

    def _letter(self, entry: Entry, place: Place, look: Look) -> DeadLetter | None:
        headers, payload = parse.message(entry)
        failure = dead_letters.read(headers, known=not place.strict, correlation_keys=self._keys)
        if place.strict and not failure.proved:
            return None
        fields, evidence, name = failure.fields, failure.evidence, place.stream.name
        origin = dead_letters.named_origin(name)
        if origin and "group" not in fields and origin in look.groups:
            fields["group"], evidence["group"] = origin, f"name of {name}"
        if origin and "destination" not in fields and origin in look.destinations:
            fields["destination"], evidence["destination"] = origin, f"name of {name}"
        if "failed_at" not in fields and (at := parse.moment(entry.id, look.now)):
            fields["failed_at"], evidence["failed_at"] = at, "time in the entry's id"
        if named := {value for value in (fields.get("group"), fields.get("destination")) if value}:
            self._origins.setdefault(place.stream.key, set()).update(named)
        fields["convention"] = fields["convention"] or "none (by name)"
        kept, cut = dead_letters.capped(headers)
        if cut:
            evidence["headers"] = cut
        note = None
        if len(payload) > MAX_PAYLOAD:
            note = (
                f"truncated: only the first {MAX_PAYLOAD // 1024} KiB of {len(payload)} bytes are kept; "
                "a replay must read the message from the broker again or refuse"
            )
        return DeadLetter(
            self._source, parse.SYSTEM, name, text(entry.id), look.now, **fields, evidence=evidence,
            headers=kept, payload=payload[:MAX_PAYLOAD], payload_size=len(payload), payload_note=note,
        )  # fmt: skip
