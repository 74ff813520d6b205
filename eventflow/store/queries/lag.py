"""Reads of lag: the table of groups, and one group with its history.

`groups` costs 2 queries and `with_sparks` 3 however many groups there are, `group` costs 6.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.conf import settings
from django.db.models import Max, Q

from eventflow.domain import lag
from eventflow.domain.alert import OF_GROUPS, Kind
from eventflow.domain.lag import LagStatus
from eventflow.store.lag_pack import OPEN
from eventflow.store.models import ConsumerGroup, Incident, LagPoint, Source
from eventflow.store.queries import lag_series
from eventflow.store.queries.epoch import Epoch
from eventflow.store.queries.lag_series import Series

SPARK_VALUES = 60
ROW = (
    *("pk", "name", "source", "system", "destination", "container", "service", "subscriptions", "ready", "in_flight"),
    *("redelivered", "members", "oldest_at", "in_rate", "out_rate", "status", "status_reason", "status_since", "trend"),
    *("drain_seconds", "method", "error_seconds", "unknown_reason", "progress_at", "seen_at", "first_seen_at"),
    "pause_seconds",
)
"""What a row is made of: without models, and who reads what, a thousand of them cost half."""
YOUNG_SECONDS = 600.0
REPORTED = "otlp"
"""Sources of this name, and of this word and a cluster's name, are metrics sent to our receiver."""
REPORTED_STALE_SECONDS = 180.0
FIRING = ("firing", "recovering")


@dataclass(frozen=True, slots=True)
class IncidentNote:
    """An incident as far as a page about its subject needs it."""

    pk: int
    rule: str
    title: str
    severity: str
    state: str
    fired_at: datetime | None
    resolved_at: datetime | None
    seconds: float | None
    """The rule's limit in time, for the line in the chart."""
    messages: int | None


@dataclass(frozen=True, slots=True)
class LagRow:
    """A consumer group on one destination as it is now. None is not known."""

    pk: int
    group: str
    source: str
    system: str
    destination: str
    container: str
    service: str
    subscriptions: tuple[str, ...]
    ready: int | None
    in_flight: int | None
    redelivered: int | None
    members: int | None
    age_seconds: float | None
    in_rate: float | None
    out_rate: float | None
    status: LagStatus
    reason: str
    since: datetime | None
    trend: int
    drain_seconds: float | None
    method: str
    error_seconds: float | None
    unknown_reason: str
    progress_at: datetime | None
    seen_at: datetime
    first_seen_at: datetime
    firing: tuple[IncidentNote, ...] = ()
    spark: tuple[int | None, ...] = ()

    @property
    def severity(self) -> str:
        """crit, warn, run, idle or ok: a firing alert outranks the engine's word."""
        if any(note.severity == "critical" for note in self.firing):
            return "crit"
        if self.status in lag.BEHIND:
            return "crit"
        if self.firing or self.status in lag.LATE:
            return "warn"
        return {LagStatus.OK: "ok", LagStatus.DRAINING: "run"}.get(self.status, "idle")

    @property
    def backlog(self) -> int | None:
        return None if self.ready is None else self.ready + (self.in_flight or 0)


@dataclass(frozen=True, slots=True)
class GroupDetail:
    row: LagRow
    series: Series
    siblings: tuple[LagRow, ...]
    """The same group on its other destinations."""
    incidents: tuple[IncidentNote, ...]


@dataclass(frozen=True, slots=True)
class SourceNote:
    name: str
    system: str
    state: str
    message: str
    ok_at: datetime | None


def subject(source: str, destination: str, group: str) -> str:
    """What an incident about a group calls it."""
    return f"{source}/{destination}/{group}"


def stale_seconds(source: str, system: str, pause: float = 0.0) -> float:
    """Without a sample for this long a group is out of sight. What is reported to us, and what Amazon bills each look
    at, comes up to once a minute. `pause`: how much longer than usual its source is left alone."""
    if source.split(" ", 1)[0] == REPORTED or system == "aws_sqs":
        return REPORTED_STALE_SECONDS + 2 * pause
    return max(15.0, 5 * settings.EVENTFLOW_POLL_SECONDS) + 2 * pause


def groups(now: datetime) -> list[LagRow]:
    """Every group as it is now, with the alerts that fire for it. 2 queries."""
    rows = ConsumerGroup.objects.order_by("pk").values_list(*ROW, named=True)
    firing = defaultdict(list)
    for incident in Incident.objects.filter(state__in=FIRING, rule__kind__in=OF_GROUPS).select_related("rule"):
        firing[incident.subject].append(_note(incident))
    return [_row(row, now, tuple(firing.get(subject(row.source, row.destination, row.name), ()))) for row in rows]


def with_sparks(rows: Sequence[LagRow], seconds: float, now: datetime) -> list[LagRow]:
    """These rows with their sparklines over the last `seconds`, all on one scale of time. 2 queries."""
    first = min((row.first_seen_at for row in rows), default=now)
    sparks = _sparks([row.pk for row in rows], max(first, now - timedelta(seconds=seconds)), now)
    return [replace(row, spark=sparks.get(row.pk, ())) for row in rows]


def sources() -> list[SourceNote]:
    """Every source and how its collector fares. 1 query."""
    return [
        SourceNote(row.name, row.system, row.state, row.message, row.ok_at) for row in Source.objects.order_by("name")
    ]


def group(pk: int, start: datetime, end: datetime, now: datetime) -> GroupDetail | None:
    """One group with its series from `start` to `end` and the incidents that overlap them."""
    found = ConsumerGroup.objects.filter(pk=pk).first()
    if found is None:
        return None
    name = subject(found.source, found.destination, found.name)
    overlapping = Incident.objects.filter(subject=name, rule__kind__in=OF_GROUPS, fired_at__lt=end).filter(
        Q(resolved_at__isnull=True) | Q(resolved_at__gte=start)
    )
    incidents = tuple(_note(incident) for incident in overlapping.select_related("rule").order_by("-fired_at")[:50])
    firing = tuple(note for note in incidents if note.state in FIRING)
    siblings = ConsumerGroup.objects.filter(source=found.source, name=found.name).exclude(pk=pk)[:200]
    return GroupDetail(
        row=_row(found, now, firing),
        series=lag_series.series(pk, start, end),
        siblings=tuple(_row(row, now, ()) for row in siblings),
        incidents=incidents,
    )


def _note(incident: Incident) -> IncidentNote:
    return IncidentNote(
        pk=incident.pk,
        rule=incident.rule.name,
        title=incident.title,
        severity=incident.severity,
        state=incident.state,
        fired_at=incident.fired_at,
        resolved_at=incident.resolved_at,
        seconds=incident.rule.seconds if incident.rule.kind == Kind.LAG else None,
        messages=incident.rule.messages if incident.rule.kind == Kind.LAG else None,
    )


def _row(row: Any, now: datetime, firing: tuple[IncidentNote, ...]) -> LagRow:
    age = None
    if row.ready == 0:
        age = 0.0
    elif row.oldest_at is not None:
        age = max(0.0, (row.seen_at - row.oldest_at).total_seconds())
    status, reason, since = LagStatus(row.status), row.status_reason, row.status_since
    silent = (now - row.seen_at).total_seconds()
    if silent > stale_seconds(row.source, row.system, row.pause_seconds) and status != LagStatus.UNKNOWN:
        status, reason, since = LagStatus.UNKNOWN, "no sample came any more", row.seen_at
    seen = status != LagStatus.UNKNOWN
    return LagRow(
        pk=row.pk,
        group=row.name,
        source=row.source,
        system=row.system,
        destination=row.destination,
        container=row.container,
        service=row.service,
        subscriptions=tuple(row.subscriptions),
        ready=row.ready,
        in_flight=row.in_flight,
        redelivered=row.redelivered,
        members=row.members,
        age_seconds=age,
        in_rate=row.in_rate,
        out_rate=row.out_rate,
        status=status,
        reason=reason,
        since=since,
        trend=row.trend if seen else 0,
        drain_seconds=row.drain_seconds if seen else None,
        method=row.method,
        error_seconds=row.error_seconds,
        unknown_reason=row.unknown_reason,
        progress_at=row.progress_at,
        seen_at=row.seen_at,
        first_seen_at=row.first_seen_at,
        firing=firing,
    )


def _sparks(pks: list[int], start: datetime, now: datetime) -> dict[int, tuple[int | None, ...]]:
    """Each group's worst per bucket: minutes where there are any, samples for the last ones and while all is young.

    What is packed is read first, when the range reaches that far.
    """
    seconds = max(SPARK_VALUES, (now - start).total_seconds())
    width = ceil(seconds / SPARK_VALUES)
    tail = start if seconds <= YOUNG_SECONDS else now - timedelta(seconds=150)
    bucket = (Epoch("at") - int(start.timestamp())) / width
    values: dict[int, list[int | None]] = {}
    if now - start > OPEN:
        values = lag_series.worst(pks, start, now, width, SPARK_VALUES)
    for resolution, first in ((60, start), (0, tail)):
        found = LagPoint.objects.filter(group__in=pks, resolution_seconds=resolution, at__gte=first, at__lte=now)
        worst = found.values_list("group_id", bucket).annotate(worst=Max("ready")).order_by()
        for pk, number, ready in worst:
            line = values.setdefault(pk, [None] * SPARK_VALUES)
            at = min(SPARK_VALUES - 1, number)
            if ready is not None:
                line[at] = max(line[at] or 0, ready)
    return {pk: tuple(_without_lead(line)) for pk, line in values.items()}


def _without_lead(line: list[int | None]) -> list[int | None]:
    """From the first value on: before it the group was not seen."""
    first = next((index for index, value in enumerate(line) if value is not None), len(line))
    return line[first:]
