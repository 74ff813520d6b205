"""Which topics hold dead letters: by name, or proved by the headers of their newest records.

A finding says how certain it is. Looking reads single records by assignment: no group, no commit.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from collectors.conventions import dead_letters
from collectors.kafka.client import Client, NotAllowedError
from collectors.kafka.parse import Ends, Partition

PEEKS_A_CYCLE = 20
_NOISE = re.compile(r"(?i)^(?:dlq|dlt|dlx|dead[-_.]?letters?|poison|errors?|failed)[-_.]|[-_.](?:dlq|dlt|dlx|dead[-_.]?letters?|poison|errors?|failed)$")  # fmt: skip  # noqa: E501 - one pattern


@dataclass(frozen=True, slots=True)
class Place:
    """A topic with letters. `strict`: only what its headers prove is a letter there."""

    topic: str
    certainty: str
    strict: bool


def origin(topic: str) -> str | None:
    """What a dead-letter topic's name leaves of the original: `orders.dlq`, `orders-dlt`, `dlq.payment`."""
    left = _NOISE.sub("", topic)
    return left if left and left != topic else None


class Finder:
    """Finds the places and remembers what the letters there are of."""

    def __init__(self) -> None:
        self._origins: dict[str, set[str]] = {}
        self._peeked: dict[str, bool] = {}

    def learn(self, topic: str, origins: Iterable[str]) -> None:
        """A letter in `topic` named where it failed."""
        self._origins.setdefault(topic, set()).update(origins)

    async def places(self, client: Client, topics: Mapping[str, int], ends: Ends, *, may_peek: bool) -> list[Place]:
        """Dead-letter topics. `may_peek`: look at the newest record of some topics whose names say nothing."""
        named = {topic: dead_letters.named_like_dead_letters(topic) for topic in topics}
        if may_peek:
            await self._peek(client, [topic for topic, name in named.items() if name != "strong"], topics, ends)
        found = []
        for topic, name in named.items():
            if name == "strong":
                found.append(Place(topic, "by-name", strict=False))
            elif self._peeked.get(topic) or name == "weak":
                found.append(Place(topic, "header-proved", strict=True))
        return found

    async def _peek(self, client: Client, candidates: list[str], topics: Mapping[str, int], ends: Ends) -> None:
        ranges: dict[Partition, tuple[int, int]] = {}
        for topic in candidates:
            if topic in self._peeked or len(ranges) >= PEEKS_A_CYCLE:
                continue
            for partition in (Partition(topic, number) for number in range(topics[topic])):
                end = ends.end.get(partition, 0)
                if end > ends.start.get(partition, end):
                    ranges[partition] = (end - 1, end)
                    break
        if not ranges:
            return
        try:
            records, _ = await client.read(ranges, at_most=len(ranges))
        except NotAllowedError as refusal:
            if {partition.topic for partition in ranges} <= refusal.topics:
                raise
            self._peeked.update(dict.fromkeys(refusal.topics, False))  # the others are looked at in the next cycle
            return
        for partition in ranges:
            self._peeked[partition.topic] = False
        for record in records:
            self._peeked[record.partition.topic] = dead_letters.read(record.headers).proved

    def letters_of(self, place: Place, topics: Collection[str], groups: Collection[str]) -> tuple[str, ...]:
        """What the letters in a place are of, as far as their headers or its name tell; `*` when nothing does."""
        if learned := self._origins.get(place.topic):
            return tuple(sorted(learned)[:20])
        if place.strict:
            return ()
        named = origin(place.topic)
        return (named,) if named and (named in topics or named in groups) else (named or "*",)
