"""Records who is in a consumer group and who reads what there; a change of it is kept as a rebalance.

What was seen first is no change. Recording the same twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from eventflow.domain.observations import GroupMembers
from eventflow.store.models import ConsumerGroup, Rebalance

MOST_MEMBERS = 500
SHOWN = 100


@transaction.atomic
def record(found: Sequence[GroupMembers], now: datetime) -> set[str]:
    """Take in who is there; returns the news topics of groups where that changed."""
    newest = {(one.source, one.group[:300]): one for one in sorted(found, key=lambda one: one.at)}
    rows = ConsumerGroup.objects.filter(
        source__in={source for source, _ in newest}, name__in={name for _, name in newest}
    ).only("pk", "source", "name", "destination", "assignment", "assigned_at")
    changed, events = [], []
    for row in rows:
        told = newest.get((row.source, row.name))
        if told is None:
            continue
        after = _assignment(told, row.destination)
        if after == row.assignment:
            continue
        if row.assignment is not None and (row.assigned_at is None or told.at > row.assigned_at):
            events.append(_rebalance(row, told.at, row.assignment, after))
        row.assignment, row.assigned_at = after, told.at
        changed.append(row)
    ConsumerGroup.objects.bulk_update(changed, ["assignment", "assigned_at"], batch_size=200)
    Rebalance.objects.bulk_create(events, ignore_conflicts=True)
    return {f"lag:{row.pk}" for row in changed}


def _assignment(told: GroupMembers, destination: str) -> list[dict[str, Any]]:
    """As one destination sees it."""
    return [
        {
            "id": one.id[: SHOWN * 2],
            "client": one.client[:SHOWN],
            "host": one.host[:SHOWN],
            "partitions": [partition for topic, partition in one.partitions if topic == destination],
        }
        for one in told.members[:MOST_MEMBERS]
    ]


def _rebalance(
    row: ConsumerGroup, at: datetime, before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> Rebalance:
    old, new = ({one["id"]: one for one in members} for members in (before, after))
    reader_before, reader_after = (
        {partition: one["id"] for one in members for partition in one["partitions"]} for members in (before, after)
    )
    moved = sum(reader_before.get(partition) != name for partition, name in reader_after.items())
    return Rebalance(
        group=row,
        at=at,
        joined=[_name(new[name]) for name in sorted(new.keys() - old.keys())][:SHOWN],
        left=[_name(old[name]) for name in sorted(old.keys() - new.keys())][:SHOWN],
        members=len(new),
        moved=moved + len(reader_before.keys() - reader_after.keys()),
    )


def _name(member: Mapping[str, Any]) -> str:
    return str(member["client"] or member["id"])
