"""Evaluates the alert rules and keeps their incidents. All state is in the database: a restart goes on from it.

Reads first and opens a transaction only when something is to be written; then everything is read again behind a lock on
the rules, so that two evaluators at once write what one would.
"""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from eventflow.domain import alert, alert_words
from eventflow.domain.alert import Event, Kind, Measurement, Reading, State
from eventflow.store.models import AlertRule, Incident
from eventflow.store.queries.alert_measurements import Known
from eventflow.store.queries.alerts import as_rule

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
    """What would be written; 4 queries, one for floods, and one more for each rule on dead letters.

    Rules for stopped groups go first: what follows from a stop is held back while one fires.
    """
    found = sorted(rules, key=lambda rule: rule.kind != Kind.STOPPED)
    by_rule: dict[int, dict[str, Incident]] = {rule.pk: {} for rule in found}
    for row in Incident.objects.filter(state__in=OPEN):
        by_rule.setdefault(row.rule_id, {})[row.subject] = row
    known = Known(now)
    stopped: set[str] = set()
    changes = []
    for model in found:
        rule, rows = as_rule(model), by_rule[model.pk]
        seen: set[str] = set()
        for measurement in known.of(model, rows) if model.enabled else ():
            if not alert.matches(rule.pattern, measurement.names):
                continue
            seen.add(measurement.subject)
            change = _judge(rule, alert.held_back(rule, measurement, stopped), rows.get(measurement.subject), now)
            changes.append(change)
            if rule.kind == Kind.STOPPED and _fires(change, rows.get(measurement.subject)):
                stopped.add(measurement.subject)
        for name in rows.keys() - seen:
            after, event = alert.end(_state(rows[name]), now)
            changes.append(_Change(rule, rows[name], after, event, None, name))
    return [change for change in changes if change is not None]


def _fires(change: _Change | None, row: Incident | None) -> bool:
    if change is not None:
        return change.after is not None and change.after.state in (State.FIRING, State.RECOVERING)
    return row is not None and row.state in ("firing", "recovering")


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
            row.title = alert_words.title(change.rule, change.measurement)[:300]
            row.detail = alert_words.detail(change.rule, change.measurement)
    # Never `notified` or the acknowledgement: others write those at the same time.
    row.save(update_fields=WRITTEN if row.pk else None)
    if change.event:
        outcome.told.append((row.pk, change.event))
        outcome.news.add("lag")
