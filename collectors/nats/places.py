"""Where dead letters lie on a JetStream server: by name, or proved by the headers of the newest message.

A finding says how certain it is. Mirrors are left out (their messages are told where they come from), and so are
JetStream's own subjects and key-value buckets.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collectors.conventions import dead_letters
from collectors.nats.client import Client
from collectors.nats.parse import integer, moment, subject_matches

PEEKS_A_CYCLE = 20


@dataclass(frozen=True, slots=True)
class Stream:
    """What a cycle found out about one stream."""

    name: str
    config: Mapping[str, Any]
    state: Mapping[str, Any]
    subjects: Mapping[str, int] | None
    """Messages held per subject; None when there are too many to ask for or we may not."""
    created: str = ""

    @property
    def last_seq(self) -> int:
        return int(self.state.get("last_seq") or 0)

    @property
    def direct(self) -> bool:
        return bool(self.config.get("allow_direct"))

    @property
    def copied(self) -> bool:
        """A mirror or a gathering of other streams: its messages are theirs."""
        return bool(self.config.get("mirror") or self.config.get("sources"))

    @property
    def patterns(self) -> tuple[str, ...]:
        return tuple(str(subject) for subject in self.config.get("subjects") or [])

    @property
    def kept_seconds(self) -> float | None:
        """How long it keeps a message at most."""
        nanoseconds = integer(self.config.get("max_age"))
        return nanoseconds / 1e9 if nanoseconds and nanoseconds > 0 else None

    @property
    def kept_messages(self) -> int | None:
        """How many messages it keeps at most."""
        room = integer(self.config.get("max_msgs"))
        return room if room and room > 0 else None

    @property
    def letters_lost(self) -> str | None:
        """Why letters do not get in or do not stay."""
        room, held = self.kept_messages, integer(self.state.get("messages")) or 0
        if self.config.get("retention") == "interest" and not self.state.get("consumer_count"):
            return "the stream keeps only what a consumer waits for (retention interest), and it has none"
        if self.config.get("discard") == "new" and room is not None and held >= room:
            return f"the stream is full ({held:,} messages) and refuses new ones"
        return None

    @property
    def first_at(self) -> datetime | None:
        """Since when its oldest message lies there."""
        return moment(self.state.get("first_ts")) if self.state.get("messages") else None

    def captures(self, prefix: str) -> bool:
        return any(subject_matches(pattern, f"{prefix}s.c") for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class Place:
    """Where letters lie. `strict`: only what its headers prove is a letter there."""

    stream: Stream
    pattern: str
    certainty: str
    strict: bool

    @property
    def key(self) -> str:
        return f"letters:{self.stream.name}:{self.pattern}"

    def holds(self, stream: Stream, subject: str) -> bool:
        return self.stream is stream and subject_matches(self.pattern, subject)


@dataclass(slots=True)
class Known:
    """Names seen at the broker, to tell what `dlq.payment` speaks of."""

    groups: set[str] = field(default_factory=set)
    destinations: set[str] = field(default_factory=set)


class Finder:
    """Finds the places and remembers what the letters there are of."""

    def __init__(self) -> None:
        self._origins: dict[str, set[str]] = {}
        self._peeked: dict[tuple[str, str], bool] = {}

    def learn(self, subject: str, origins: Iterable[str]) -> None:
        """A letter on `subject` named where it failed."""
        self._origins.setdefault(subject, set()).update(origins)

    async def places(self, client: Client, streams: Iterable[Stream]) -> list[Place]:
        """Dead-letter places: by name, or proved by the newest message's headers."""
        found: list[Place] = []
        peeks = PEEKS_A_CYCLE
        for stream in streams:
            if stream.copied or any(pattern.startswith("$") for pattern in stream.patterns):
                continue
            if dead_letters.named_like_dead_letters(stream.name) == "strong":
                found.append(Place(stream, ">", "by-name", strict=False))
                continue
            named = [p for p in stream.patterns if dead_letters.named_like_dead_letters(p) == "strong"]
            found += [Place(stream, pattern, "by-name", strict=False) for pattern in named]
            for subject in stream.subjects or ():
                if any(subject_matches(pattern, subject) for pattern in named):
                    continue
                if dead_letters.named_like_dead_letters(subject) == "strong":
                    found.append(Place(stream, subject, "by-name", strict=False))
                    continue
                seen = (stream.name, subject)
                if seen not in self._peeked and peeks > 0:
                    peeks -= 1
                    newest = await client.last_message(stream.name, subject, direct=stream.direct)
                    self._peeked[seen] = newest is not None and dead_letters.read(newest.headers).proved
                weak = dead_letters.named_like_dead_letters(f"{stream.name}.{subject}") == "weak"
                if self._peeked.get(seen) or weak:
                    found.append(Place(stream, subject, "header-proved", strict=True))
        return found

    def letters_of(self, place: Place, subject: str) -> tuple[str, ...]:
        """What the letters on `subject` are of, as far as their headers or its name tell; `*` when nothing does."""
        if learned := self._origins.get(subject):
            return tuple(sorted(learned)[:20])
        if place.strict:
            return ()
        return (dead_letters.named_origin(subject) or dead_letters.named_origin(place.stream.name) or "*",)
