"""Transactions that stay open: readers of committed records cannot get past them, whatever waits behind.

Promises one request a broker every half minute, for partitions where something waits. Changes nothing.
"""

from collections.abc import Collection

from collectors.kafka.client import COMMITTED, Client
from collectors.kafka.parse import Ends, Partition

HANGING_MS = 60_000


class Transactions:
    """Remembers since when records are held back, by partition."""

    def __init__(self) -> None:
        self._since: dict[Partition, tuple[int, int]] = {}
        self._held: dict[Partition, int] = {}

    async def look(self, client: Client, waiting: Collection[Partition], ends: Ends, clock: int) -> None:
        """Where the last stable offset lies before the end, and has not moved."""
        before, self._since, self._held = self._since, {}, {}
        if not waiting:
            return
        stable = await client.offsets(dict.fromkeys(waiting, -1), COMMITTED)
        for partition, (offset, _) in stable.items():
            end = ends.end.get(partition, offset)
            if offset >= end:
                continue
            known = before.get(partition)
            since = known[1] if known and known[0] == offset else clock
            self._since[partition] = offset, since
            if clock - since >= HANGING_MS:
                self._held[partition] = end - offset

    def remarks(self) -> list[str]:
        """In words, the largest first."""
        worst = sorted(self._held.items(), key=lambda item: -item[1])
        return [
            f"An open transaction holds back {held:,} records of {partition.topic}, partition {partition.number}: "
            "who reads only what is committed waits for its writer to commit or abort."
            for partition, held in worst[:3]
        ]
