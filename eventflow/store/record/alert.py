"""Evaluates the alert rules and keeps their incidents. All state is in the database: a restart goes on from it.

Reads first and opens a transaction only when something is to be written; then everything is read again behind a lock on
the rules, so that two evaluators at once write what one would.
"""

from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from eventflow.domain import alert, alert_chain, alert_words
from eventflow.domain.alert import Event, Measurement, Reading, State
from eventflow.domain.alert_chain import Key
from eventflow.store.models import AlertRule, Incident
from eventflow.store.queries.alert_measurements import Known
from eventflow.store.queries.alerts import as_rule
from eventflow.store.queries.chains import chains

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
    "follows_from",
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
    cause: int | None = None


def evaluate(now: datetime) -> Outcome:
    """Read every rule against what is known now."""
    if not _changes(now, AlertRule.objects.all()):
        return Outcome()
    with transaction.atomic():
        outcome = Outcome()
        changes = _changes(now, AlertRule.objects.select_for_update().order_by("pk"))
        dropped = {change.row.pk for change in changes if change.after is None and change.row is not None}
        for change in changes:
            _apply(change, outcome, now, dropped)
    return outcome


def _changes(now: datetime, rules: QuerySet[AlertRule]) -> list[_Change]:
    """What would be written; 4 queries, one for floods, one more for each rule on dead letters, and 3 for the topology
    while a group is stopped and another is in trouble too.
    """
    found = list(rules)
    by_rule: dict[int, dict[str, Incident]] = {rule.pk: {} for rule in found}
    for row in Incident.objects.filter(state__in=OPEN):
        by_rule.setdefault(row.rule_id, {})[row.subject] = row
    known = Known(now)
    watched: list[tuple[alert.Rule, Measurement, Incident | None]] = []
    changes: list[_Change | None] = []
    for model in found:
        rule, rows = as_rule(model), by_rule[model.pk]
        seen: set[str] = set()
        for measurement in known.of(model, rows) if model.enabled else ():
            if alert.matches(rule.pattern, measurement.names):
                seen.add(measurement.subject)
                watched.append((rule, measurement, rows.get(measurement.subject)))
        for name in rows.keys() - seen:
            after, event = alert.end(_state(rows[name]), now)
            changes.append(_Change(rule, rows[name], after, event, None, name))
    causes = _causes(watched, now)
    changes += [_judge(rule, measurement, row, causes, now) for rule, measurement, row in watched]
    return [change for change in changes if change is not None]


def _causes(watched: list[tuple[alert.Rule, Measurement, Incident | None]], now: datetime) -> dict[Key, int | None]:
    """Which incidents follow from a stop in their chain, and from which one; None: from one that is just beginning."""
    troubles = []
    stops: dict[str, int] = {}
    for rule, measurement, row in watched:
        trouble = alert_chain.trouble_of(rule, measurement, _state(row) if row else None, now)
        if trouble is None:
            continue
        troubles.append(trouble)
        if row is not None and trouble.stop:
            stops.setdefault(measurement.subject, row.pk)
    if not any(trouble.stop for trouble in troubles):
        return {}
    graph = chains(now) if alert_chain.needs_graph(troubles) else alert_chain.NO_CHAINS
    return {key: stops.get(subject) for key, subject in alert_chain.follow(troubles, graph).items()}


def _judge(
    rule: alert.Rule, measurement: Measurement, row: Incident | None, causes: dict[Key, int | None], now: datetime
) -> _Change | None:
    reading = alert.read(rule, measurement)
    value, _ = alert.value_of(rule, measurement)
    before = _state(row) if row else None
    held = (rule.pk, measurement.subject) in causes
    after, event = alert.step(rule, reading, value if reading != Reading.UNKNOWN else None, before, now, held=held)
    if after is None and row is None:
        return None
    told_of = measurement if reading != Reading.UNKNOWN else None
    change = _Change(rule, row, after, event, told_of, measurement.subject)
    if after is not None and after.held:
        old_cause = row.follows_from_id if row is not None else None
        change.cause = causes.get((rule.pk, measurement.subject)) or old_cause
    if row is None or after is None or before is None or after.state != before.state:
        return change
    if (after.recovering_since, after.pending_since) != (before.recovering_since, before.pending_since):
        return change
    if change.cause != row.follows_from_id:
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
        held=row.follows_from_id is not None,
    )


def _apply(change: _Change, outcome: Outcome, now: datetime, dropped: set[int]) -> None:
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
    row.follows_from_id = None if change.cause in dropped else change.cause
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
