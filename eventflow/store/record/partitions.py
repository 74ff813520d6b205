"""Keeps each group's lag by partition: one row a minute, written every quarter of it.

In memory between: what the minute's worst is. A restart within a minute forgets what was worse before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from eventflow.domain.observations import LagSample
from eventflow.store.models import PartitionMinute

WRITE_SECONDS = 15.0
MOST_PARTITIONS = 1000
Pair = list[int | None]


@dataclass(slots=True)
class _Minute:
    at: datetime
    partitions: dict[str, Pair] = field(default_factory=dict)
    written_at: datetime | None = None


_minutes: dict[int, _Minute] = {}


def note(group: int, parts: Sequence[LagSample], at: datetime) -> PartitionMinute | None:
    """Take in one look at a group's partitions; a row to write now and then. One partition alone is no news."""
    if len(parts) < 2:
        return None
    start = at.replace(second=0, microsecond=0)
    minute = _minutes.get(group)
    if minute is None or minute.at != start:
        minute = _minutes[group] = _Minute(start)
    partitions = minute.partitions
    for part in parts[:MOST_PARTITIONS]:
        name, ready = part.partition or "", part.ready
        known = partitions.get(name)
        if known is None:
            partitions[name] = [ready, ready]
            continue
        known[1] = ready
        if ready is not None and (known[0] is None or ready > known[0]):
            known[0] = ready
    if minute.written_at is not None and (at - minute.written_at).total_seconds() < WRITE_SECONDS:
        return None
    minute.written_at = at
    return PartitionMinute(group_id=group, at=start, partitions=minute.partitions)


def write(rows: Sequence[PartitionMinute]) -> None:
    """The same minute again replaces what was written of it. 1 query."""
    if rows:
        PartitionMinute.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["group", "at"], update_fields=["partitions"], batch_size=200
        )
