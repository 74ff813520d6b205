"""Records who is in a consumer group and who reads what there; a change of it is kept as a rebalance.

What was seen first is no change, and neither is what a member holds or when it was heard of. Recording the same twice
changes nothing.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from eventflow.domain.observations import GroupMember, GroupMembers
from eventflow.store.models import ConsumerGroup, Rebalance
from eventflow.store.spans import rows as bulk

MOST_MEMBERS = 500
SHOWN = 100
WORDS = 300
Assignment = Mapping[str, Any]


@transaction.atomic
def record(found: Sequence[GroupMembers], now: datetime) -> set[str]:
    """Take in who is there; returns the news topics of groups where that changed."""
    newest = {_key(one): one for one in sorted(found, key=lambda one: one.at)}
    rows = ConsumerGroup.objects.filter(
        source__in={source for source, _, _ in newest}, name__in={name for _, name, _ in newest}
    ).only("pk", "source", "name", "destination", "assignment", "assigned_at")
    changed, events = [], []
    for row in rows:
        told = newest.get((row.source, row.name, row.destination)) or newest.get((row.source, row.name, None))
        before = row.assignment
        if told is None or (before is not None and told.at <= datetime.fromisoformat(before["at"])):
            continue
        after = _assignment(told, row.destination)
        if before is not None and after == {**before, "at": after["at"]}:
            continue
        event = None if before is None else _rebalance(row, told.at, before, after)
        if before is None or event is not None:
            row.assigned_at = told.at
        if event is not None:
            events.append(event)
        row.assignment = after
        changed.append(row)
    values = ((json.dumps(row.assignment), bulk.instant(row.assigned_at), row.pk) for row in changed)
    bulk.update(ConsumerGroup, ("assignment", "assigned_at"), values)
    Rebalance.objects.bulk_create(events, ignore_conflicts=True)
    return {f"lag:{row.pk}" for row in changed}


def _key(told: GroupMembers) -> tuple[str, str, str | None]:
    return told.source, told.group[:300], None if told.destination is None else told.destination[:300]


def _assignment(told: GroupMembers, destination: str) -> dict[str, Any]:
    """As one destination sees it."""
    return {
        "members": None if told.members is None else [_member(one, destination) for one in told.members[:MOST_MEMBERS]],
        "told": _pairs(told.told),
        "note": told.note[:WORDS],
        "at": told.at.isoformat(),
    }


def _member(one: GroupMember, destination: str) -> dict[str, Any]:
    more = {
        "in_flight": one.in_flight,
        "active_at": one.active_at and one.active_at.isoformat(),
        "got_at": one.got_at and one.got_at.isoformat(),
        "told": _pairs(one.told) or None,
    }
    return {
        "id": _words(one.id, SHOWN * 2),
        "client": _words(one.client, SHOWN),
        "host": _words(one.host, SHOWN),
        "partitions": [partition for topic, partition in one.partitions if topic == destination],
        **{name: value for name, value in more.items() if value is not None},
    }


def _pairs(told: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[_words(name, SHOWN), _words(value, WORDS)] for name, value in told]


def _words(text: str, most: int) -> str:
    """As every database takes it."""
    return text[:most].replace("\0", "�")


def _rebalance(row: ConsumerGroup, at: datetime, before: Assignment, after: Assignment) -> Rebalance | None:
    if before["members"] is None or after["members"] is None:
        return None
    old, new = ({one["id"]: one for one in members} for members in (before["members"], after["members"]))
    reader_before, reader_after = (
        {partition: one["id"] for one in members.values() for partition in one["partitions"]} for members in (old, new)
    )
    moved = sum(reader_before.get(partition) != name for partition, name in reader_after.items())
    moved += len(reader_before.keys() - reader_after.keys())
    if not moved and old.keys() == new.keys():
        return None
    return Rebalance(
        group=row,
        at=at,
        joined=[_name(new[name]) for name in sorted(new.keys() - old.keys())][:SHOWN],
        left=[_name(old[name]) for name in sorted(old.keys() - new.keys())][:SHOWN],
        members=len(new),
        moved=moved,
    )


def _name(member: Mapping[str, Any]) -> str:
    return str(member["client"] or member["id"])
