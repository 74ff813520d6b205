"""Reads for the overview that belong to no other page: counts over time and what happened lately. One query each."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q
from django.db.models.expressions import Combinable

from eventflow.store.models import (
    ConsumerGroup,
    DeadLetter,
    DeadLetterGroup,
    Destination,
    FlowRow,
    Incident,
    LagPoint,
    Replay,
    Source,
)
from eventflow.store.queries.epoch import Epoch
from eventflow.store.queries.lag import FIRING

MINUTES = 60


@dataclass(frozen=True, slots=True)
class Letters:
    waiting: int
    recent: int
    """Captured in the last ten minutes."""
    new_groups: int
    spark: tuple[float, ...]
    """How many of those that wait now were there, minute by minute."""


@dataclass(frozen=True, slots=True)
class Alerts:
    critical: int
    warning: int
    worst: str
    worst_pk: int | None
    since: datetime | None
    spark: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ReplayNote:
    pk: str
    at: datetime
    by: str
    state: str
    total: int
    confirmed: int
    failed: int


@dataclass(frozen=True, slots=True)
class SourceNote:
    name: str
    system: str
    address: str
    state: str
    message: str


def oldest_ages(now: datetime) -> list[float | None]:
    """The oldest waiting message over all groups, minute by minute."""
    start = now - timedelta(minutes=MINUTES)
    wanted = Q(resolution_seconds=60, at__gte=start) | Q(resolution_seconds=0, at__gte=now - timedelta(seconds=150))
    values: list[float | None] = [None] * MINUTES
    found = LagPoint.objects.filter(wanted).values_list(_minute_since(start, "at")).annotate(Max("age_seconds"))
    for minute, age in found.order_by():
        values[min(MINUTES - 1, minute)] = age
    return values


def _minute_since(start: datetime, column: str) -> Combinable:
    """Its number, as the database counts: a moment that is cut to its minute row by row would be cut by Python."""
    return (Epoch(column) - int(start.timestamp())) / 60


def letters(now: datetime) -> Letters:
    """The letters that wait, and how they came."""
    start = now - timedelta(minutes=MINUTES)
    waiting = DeadLetter.objects.filter(status="open")
    summed = waiting.aggregate(
        all=Count("pk"), recent=Count("pk", filter=Q(captured_at__gte=now - timedelta(minutes=10)))
    )
    steps = [0] * MINUTES
    came = waiting.filter(captured_at__gte=start).values_list(_minute_since(start, "captured_at")).annotate(Count("pk"))
    for minute, number in came.order_by():
        steps[min(MINUTES - 1, minute)] += number
    level, spark = summed["all"] - sum(steps), []
    for step in steps:
        level += step
        spark.append(float(level))
    new = DeadLetterGroup.objects.filter(first_at__gte=start).count()
    return Letters(summed["all"], summed["recent"], new, tuple(spark))


def alerts(now: datetime) -> Alerts:
    """What fires now, and how many fired at each minute of the last hour."""
    start = now - timedelta(minutes=MINUTES)
    rows = list(
        Incident.objects.filter(fired_at__isnull=False)
        .filter(Q(resolved_at__isnull=True) | Q(resolved_at__gte=start))
        .order_by("fired_at")[:1000]
    )
    firing = [row for row in rows if row.state in FIRING]
    firing.sort(key=lambda row: (row.severity != "critical", row.fired_at))
    moments = [start + timedelta(minutes=index + 1) for index in range(MINUTES)]
    spark = tuple(
        float(
            sum(
                1
                for row in rows
                if row.fired_at and row.fired_at <= at and (not row.resolved_at or row.resolved_at > at)
            )
        )
        for at in moments
    )
    critical = sum(row.severity == "critical" for row in firing)
    worst = firing[0] if firing else None
    return Alerts(
        critical,
        len(firing) - critical,
        worst.title if worst else "",
        worst.pk if worst else None,
        worst.fired_at if worst else None,
        spark,
    )


def incidents(since: datetime, limit: int) -> list[Incident]:
    """Incidents that fired or were resolved lately."""
    return list(
        Incident.objects.filter(Q(fired_at__gte=since) | Q(resolved_at__gte=since, fired_at__isnull=False))
        .select_related("rule")
        .order_by("-updated_at")[:limit]
    )


def replays(since: datetime, limit: int) -> list[ReplayNote]:
    """The newest replays with what became of their messages."""
    found = (
        Replay.objects.filter(created_at__gte=since)
        .annotate(
            total=Count("items"),
            confirmed=Count("items", filter=Q(items__state="confirmed")),
            failed=Count("items", filter=Q(items__state="failed_again")),
        )
        .order_by("-created_at")[:limit]
    )
    return [
        ReplayNote(
            str(row.pk),
            row.finished_at or row.created_at,
            row.created_by_name,
            row.state,
            row.total,
            row.confirmed,
            row.failed,
        )
        for row in found
    ]


def new_letter_groups(since: datetime, limit: int) -> list[DeadLetterGroup]:
    """Causes seen for the first time lately."""
    return list(DeadLetterGroup.objects.filter(first_at__gte=since).order_by("-first_at")[:limit])


def sources() -> list[SourceNote]:
    """The configured sources and how each fares."""
    return [
        SourceNote(row.name, row.system, row.address, row.state, row.message) for row in Source.objects.order_by("name")
    ]


def anything_seen() -> bool:
    """Whether a broker or a span has told anything yet."""
    return ConsumerGroup.objects.exists() or Destination.objects.exists() or FlowRow.objects.exists()
