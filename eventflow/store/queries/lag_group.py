"""Reads of one group's inside: its partitions over time, its members with what they read, its rebalances. 2 queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast

from eventflow.domain import partitions
from eventflow.store.models import ConsumerGroup, PartitionMinute, Rebalance
from eventflow.store.queries.epoch import Epoch

COLUMNS = 60
REBALANCES = 50


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """One partition: the worst of each column of time, and what waits now. None is not known."""

    partition: str
    cells: tuple[int | None, ...]
    now: int | None

    @property
    def worst(self) -> int | None:
        return max((value for value in self.cells if value is not None), default=None)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A consumer with what it reads; `ready` is None as soon as one of its partitions' lag is."""

    id: str
    client: str
    host: str
    partitions: tuple[str, ...]
    ready: int | None
    in_flight: int | None
    active_at: datetime | None
    got_at: datetime | None
    told: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Readers:
    """Who reads. `members` None: the broker does not tell, as `note` says; `told`: what it tells of all together."""

    members: tuple[MemberRow, ...] | None
    told: tuple[tuple[str, str], ...]
    note: str
    since: datetime | None
    """They have been there so long."""
    counted_at: datetime

    @property
    def by_partition(self) -> bool:
        return any(member.partitions for member in self.members or ())

    @property
    def counted(self) -> bool:
        return any(member.in_flight is not None for member in self.members or ())

    @property
    def heard(self) -> bool:
        return any(member.active_at is not None for member in self.members or ())


@dataclass(frozen=True, slots=True)
class RebalanceNote:
    at: datetime
    members: int
    moved: int
    joined: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inside:
    """`readers` None: the broker tells nothing of them."""

    rows: tuple[PartitionRow, ...]
    column_seconds: float
    readers: Readers | None
    rebalances: tuple[RebalanceNote, ...]
    hot: tuple[str, ...]
    hot_share: float
    """What the hot partitions hold of all that waits."""


def inside(pk: int, start: datetime, end: datetime) -> Inside:
    """Everything about one group's partitions and members from `start` to `end`."""
    group = ConsumerGroup.objects.filter(pk=pk).only("assignment", "assigned_at").first()
    minutes = PartitionMinute.objects.filter(group=pk, at__gte=start.replace(second=0, microsecond=0), at__lte=end)
    # A day holds 1,440 of them: as text and seconds they cost a third of what models cost.
    told = minutes.order_by("at").values_list(Epoch("at"), Cast("partitions", TextField()))
    rows = _rows([(at, orjson.loads(parts)) for at, parts in told], start, end)
    now = {row.partition: row.now for row in rows}
    hot = partitions.hot(now)
    total = sum(value or 0 for value in now.values())
    return Inside(
        rows=rows,
        column_seconds=(end - start).total_seconds() / COLUMNS,
        readers=_readers(group.assignment, group.assigned_at, now) if group and group.assignment else None,
        rebalances=rebalances(pk, start, end),
        hot=hot,
        hot_share=sum(now[name] or 0 for name in hot) / total if total else 0.0,
    )


def rebalances(pk: int, start: datetime, end: datetime) -> tuple[RebalanceNote, ...]:
    """The newest first. 1 query."""
    found = Rebalance.objects.filter(group=pk, at__gte=start, at__lte=end).order_by("-at")[:REBALANCES]
    return tuple(RebalanceNote(row.at, row.members, row.moved, tuple(row.joined), tuple(row.left)) for row in found)


def _rows(
    looks: Sequence[tuple[int, Mapping[str, Sequence[int | None]]]], start: datetime, end: datetime
) -> tuple[PartitionRow, ...]:
    """The worst of each column; "now" is the last look's, and only if that is in the newest columns."""
    width, first = (end - start).total_seconds() / COLUMNS, start.timestamp()
    cells: dict[str, list[int | None]] = {}
    for at, parts in looks:
        column = min(COLUMNS - 1, max(0, int((at - first) // width)))
        for partition, (worst, _) in parts.items():
            line = cells.get(partition)
            if line is None:
                line = cells[partition] = [None] * COLUMNS
            before = line[column]
            if worst is not None and (before is None or worst > before):
                line[column] = worst
    last = looks[-1][1] if looks else {}
    return tuple(
        PartitionRow(name, tuple(cells[name]), last[name][1] if name in last else None)
        for name in sorted(cells, key=partitions.order)
    )


def _readers(told: Mapping[str, Any], since: datetime | None, now: Mapping[str, int | None]) -> Readers:
    return Readers(
        members=None if told["members"] is None else _members(told["members"], now),
        told=_pairs(told["told"]),
        note=told["note"],
        since=since,
        counted_at=datetime.fromisoformat(told["at"]),
    )


def _members(members: Sequence[Mapping[str, Any]], now: Mapping[str, int | None]) -> tuple[MemberRow, ...]:
    rows = []
    for one in members:
        waiting = [now.get(partition) for partition in one["partitions"]]
        known = [value for value in waiting if value is not None]
        rows.append(
            MemberRow(
                id=one["id"],
                client=one["client"],
                host=one["host"],
                partitions=tuple(sorted(one["partitions"], key=partitions.order)),
                ready=sum(known) if len(known) == len(waiting) else None,
                in_flight=one.get("in_flight"),
                active_at=_moment(one.get("active_at")),
                got_at=_moment(one.get("got_at")),
                told=_pairs(one.get("told", ())),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.client, row.id)))


def _pairs(told: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in told)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
