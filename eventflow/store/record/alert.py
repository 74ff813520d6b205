"""Evaluates the alert rules and keeps their incidents. All state is in the database: a restart goes on from it.

Reads first and opens a transaction only when something is to be written; then everything is read again behind a lock on
the rules, so that two evaluators at once write what one would.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, DateTimeField, F, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from eventflow.domain import alert
from eventflow.domain.alert import Event, Kind, Measurement, Reading, State
from eventflow.domain.lag import LagStatus
from eventflow.store.models import AlertRule, ConsumerGroup, DeadLetterGroup, Incident, Source
from eventflow.store.queries.alerts import as_rule
from eventflow.store.queries.lag import stale_seconds, subject

OPEN = ("pending", "firing", "recovering")
REFRESH_SECONDS = 2.0
WRITTEN = (
    "title",
    "detail",
    "severity",
    "state",
    "pending_since",
    "fired_at",
    "recovering_since",
    "resolved_at",
    "value",
    "unit",
    "peak",
    "updated_at",
)
ARRIVAL_HOURS = 1
"""A pile of dead letters that has been quiet for so long is no arrival."""


@dataclass(slots=True)
class Outcome:
    """What one evaluation changed: news topics, and the incidents people are to be told of."""

    news: set[str] = field(default_factory=set)
    told: list[tuple[int, Event]] = field(default_factory=list)


@dataclass(slots=True)
class _Change:
    """An incident to be written: `after` None takes back a pending one."""

    rule: alert.Rule
    row: Incident | None
    after: alert.Incident | None
    event: Event | None
    measurement: Measurement | None
    subject: str


def evaluate(now: datetime) -> Outcome:
    """Read every rule against what is known now."""
    if not _changes(now, AlertRule.objects.all()):
        return Outcome()
    with transaction.atomic():
        outcome = Outcome()
        for change in _changes(now, AlertRule.objects.select_for_update().order_by("pk")):
            _apply(change, outcome, now)
    return outcome


def _changes(now: datetime, rules: QuerySet[AlertRule]) -> list[_Change]:
    """What would be written; 3 queries, and one more for each rule on dead letters."""
    found = list(rules)
    by_rule: dict[int, dict[str, Incident]] = {rule.pk: {} for rule in found}
    for row in Incident.objects.filter(state__in=OPEN):
        by_rule.setdefault(row.rule_id, {})[row.subject] = row
    measured: dict[Kind, list[Measurement]] = {}
    changes = []
    for model in found:
        rule, rows = as_rule(model), by_rule[model.pk]
        seen: set[str] = set()
        if model.enabled:
            if rule.kind == Kind.DEAD_LETTERS:
                measurements = _dead_letters(model, rows, now)
            else:
                if rule.kind not in measured:
                    measured[rule.kind] = _lag(now) if rule.kind == Kind.LAG else _blind(now)
                measurements = measured[rule.kind]
            for measurement in measurements:
                if alert.matches(rule.pattern, measurement.names):
                    seen.add(measurement.subject)
                    changes.append(_judge(rule, measurement, rows.get(measurement.subject), now))
        for name in rows.keys() - seen:
            after, event = alert.end(_state(rows[name]), now)
            changes.append(_Change(rule, rows[name], after, event, None, name))
    return [change for change in changes if change is not None]


def _judge(rule: alert.Rule, measurement: Measurement, row: Incident | None, now: datetime) -> _Change | None:
    reading = alert.read(rule, measurement)
    value, _ = alert.value_of(rule, measurement)
    before = _state(row) if row else None
    after, event = alert.step(rule, reading, value if reading != Reading.UNKNOWN else None, before, now)
    if after is None and row is None:
        return None
    change = _Change(rule, row, after, event, measurement if reading != Reading.UNKNOWN else None, measurement.subject)
    if row is None or after is None or before is None or after.state != before.state:
        return change
    if (after.recovering_since, after.pending_since) != (before.recovering_since, before.pending_since):
        return change
    old = (now - row.updated_at).total_seconds() >= REFRESH_SECONDS
    return change if old and after.value != before.value else None


def _state(row: Incident) -> alert.Incident:
    return alert.Incident(
        state=State(row.state),
        pending_since=row.pending_since,
        fired_at=row.fired_at,
        recovering_since=row.recovering_since,
        resolved_at=row.resolved_at,
        value=row.value,
        peak=row.peak,
    )


def _apply(change: _Change, outcome: Outcome, now: datetime) -> None:
    outcome.news.add("alerts")
    if change.after is None:
        if change.row:
            change.row.delete()
        return
    row = change.row or Incident(rule_id=change.rule.pk, subject=change.subject)
    after = change.after
    row.state, row.severity, row.updated_at = after.state, change.rule.severity, now
    row.pending_since, row.fired_at = after.pending_since, after.fired_at
    row.recovering_since, row.resolved_at = after.recovering_since, after.resolved_at
    row.value, row.peak = after.value, after.peak
    if change.measurement is not None:
        row.unit = alert.value_of(change.rule, change.measurement)[1]
        # Once it recovers the words stay what they were while it was bad: that is what history and all-clear tell.
        if after.state in (State.PENDING, State.FIRING):
            row.title = alert.title(change.rule, change.measurement)[:300]
            row.detail = alert.detail(change.rule, change.measurement)
    # Never `notified` or the acknowledgement: others write those at the same time.
    row.save(update_fields=WRITTEN if row.pk else None)
    if change.event:
        outcome.told.append((row.pk, change.event))
        outcome.news.add("lag")


# ---------- what is known now ----------


def _lag(now: datetime) -> list[Measurement]:
    measurements = []
    for row in ConsumerGroup.objects.all():
        fresh = (now - row.seen_at).total_seconds() <= stale_seconds(row.source, row.system) and row.ready is not None
        seconds = 0.0 if row.ready == 0 else (row.seen_at - row.oldest_at).total_seconds() if row.oldest_at else None
        name = subject(row.source, row.destination, row.name)
        measurements.append(
            Measurement(
                subject=name,
                label=row.name,
                names=(row.name, name, row.destination, row.service),
                known=fresh and row.status not in (LagStatus.UNKNOWN, LagStatus.ABANDONED),
                seconds=None if seconds is None else max(0.0, seconds),
                messages=row.ready,
                place=row.destination,
                in_rate=row.in_rate,
                out_rate=row.out_rate,
                drain_seconds=row.drain_seconds,
                growing=row.trend > 0,
            )
        )
    return measurements


def _blind(now: datetime) -> list[Measurement]:
    return [
        Measurement(
            subject=row.name,
            label=row.name,
            names=(row.name, row.system),
            breached=row.state != "ok",
            seconds=(now - row.ok_at).total_seconds() if row.ok_at and row.state != "ok" else None,
            note=row.message or row.state,
        )
        for row in Source.objects.all()
    ]


def _dead_letters(rule: AlertRule, open_rows: Iterable[str], now: datetime) -> list[Measurement]:
    """Letters that came since the rule was made or, where it fired before, since that ended: arrivals, not a pile."""
    ended = (
        Incident.objects.filter(rule=rule, state="resolved", subject=OuterRef("fingerprint"))
        .order_by()
        .values("subject")
        .annotate(at=Max("resolved_at"))
        .values("at")
    )
    since = Coalesce(Subquery(ended), rule.created_at, output_field=DateTimeField())
    groups = (
        DeadLetterGroup.objects.filter(
            Q(last_at__gte=now - timedelta(hours=ARRIVAL_HOURS)) | Q(fingerprint__in=list(open_rows))
        )
        .annotate(since=since)
        .annotate(arrived=Count("letters", filter=Q(letters__status="open", letters__captured_at__gt=F("since"))))
    )
    taken = Incident.objects.filter(rule=rule, state__in=OPEN, acknowledged_at__isnull=False)
    acknowledged = set(taken.values_list("subject", flat=True))
    return [
        Measurement(
            subject=group.fingerprint,
            label=f"{group.error_type or group.title} at {group.consumer_group or group.service or group.destination}",
            names=(group.consumer_group, group.destination, group.location, group.service, group.fingerprint),
            messages=group.arrived,
            note=f"{group.title} on {group.destination or group.location}",
            acknowledged=group.fingerprint in acknowledged,
        )
        for group in groups
    ]
