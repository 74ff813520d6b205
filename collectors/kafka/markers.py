"""Offsets that hold no message: transaction markers make a caught-up group look one behind for ever, and compaction
leaves gaps.

Where little waits and nothing moves, the offsets are read once and their messages counted: a proof, not a guess. Needs
Read on the topic; where that is missing the broker's number stands.
"""

from collections.abc import Collection, Iterable

from collectors.kafka.client import Client, NotAllowedError
from collectors.kafka.parse import Ends, Group, Partition

FEW = 4
FEW_OF_COMPACTED = 1000
OFFSETS_A_CYCLE = 2000
LOOKS = 3
READS_A_CYCLE = 20
Place = tuple[Partition, int]
"""A partition and a commit there."""


class Markers:
    """Remembers what was proved of (partition, commit) while the end stays where it was."""

    def __init__(self) -> None:
        self._looks: dict[Place, tuple[int, int]] = {}
        self._proved: dict[Place, tuple[int, int]] = {}
        self._refused: set[str] = set()

    async def look(self, client: Client, groups: Iterable[Group], ends: Ends, compacted: Collection[str] = ()) -> None:
        """Read what waits where few offsets have waited unmoved for some cycles."""
        budget = OFFSETS_A_CYCLE
        looks: dict[Place, tuple[int, int]] = {}
        ranges: dict[Partition, tuple[int, int]] = {}
        for group in groups:
            for partition, committed in group.commits.items():
                end, place = ends.end.get(partition, committed), (partition, committed)
                waiting = end - committed
                few = FEW_OF_COMPACTED if partition.topic in compacted else FEW
                if not 0 < waiting <= few or partition.topic in self._refused:
                    continue
                before, count = self._looks.get(place, (end, 0))
                looks[place] = (end, count + 1 if before == end else 1)
                known = self._proved.get(place, (-1, 0))[0] == end
                if looks[place][1] >= LOOKS and not known and len(ranges) < READS_A_CYCLE and waiting <= budget:
                    budget -= waiting
                    ranges.setdefault(partition, (committed, end))
        self._looks = looks
        self._proved = {place: proof for place, proof in self._proved.items() if place in looks}
        if not ranges:
            return
        try:
            records, reached = await client.read(ranges, at_most=OFFSETS_A_CYCLE)
        except NotAllowedError as refusal:
            self._refused |= refusal.topics or {partition.topic for partition in ranges}
            return
        for partition, (committed, end) in ranges.items():
            if reached[partition] >= end:
                found = sum(1 for r in records if r.partition == partition and committed <= r.offset < end)
                self._proved[partition, committed] = (end, found)

    @property
    def any(self) -> bool:
        """Whether anything is proved now."""
        return bool(self._proved)

    def messages(self, partition: Partition, committed: int | None, end: int | None) -> int | None:
        """How many messages wait there, if that was proved; None: not known better than the broker says."""
        proof = self._proved.get((partition, -1 if committed is None else committed))
        return proof[1] if proof and proof[0] == end else None
