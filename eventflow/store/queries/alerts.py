"""Reads of alerts: rules, incidents, channels, silences; fixed numbers of queries. No channel's address leaves here."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, Q

from eventflow.domain import alert, alert_words
from eventflow.domain.alert import Kind
from eventflow.store.models import AlertRule, ConsumerGroup, Incident, NotificationChannel, Silence

FIRING = ("firing", "recovering")
HISTORY = 100


@dataclass(frozen=True, slots=True)
class RuleView:
    """A rule, its sentence and how it stands."""

    pk: int
    name: str
    kind: str
    pattern: str
    severity: str
    seconds: float | None
    messages: int | None
    share: float | None
    for_seconds: float
    recover_ratio: float
    recover_seconds: float
    enabled: bool
    sentence: str
    channels: tuple[str, ...] = ()
    channel_pks: tuple[int, ...] = ()
    firing: int = 0
    pending: int = 0
    fired: int = 0
    """How often in the last seven days."""


@dataclass(frozen=True, slots=True)
class IncidentView:
    pk: int
    rule_pk: int
    rule: str
    kind: str
    subject: str
    title: str
    detail: str
    severity: str
    state: str
    pending_since: datetime
    fired_at: datetime | None
    recovering_since: datetime | None
    resolved_at: datetime | None
    value: float | None
    peak: float | None
    unit: str
    acknowledged_by: str
    acknowledged_at: datetime | None
    told: tuple[str, ...]
    """Names of the channels that were told."""
    silenced_until: datetime | None
    group_pk: int | None
    """The consumer group it is about, where it is about one."""
    follows_from: int | None = None
    """The incident that holds it back."""
    cause: str = ""
    """That one's title."""
    consequences: tuple["IncidentView", ...] = ()
    """What it holds back, or held back while it was open."""

    @property
    def lasted(self) -> float | None:
        if self.fired_at is None or self.resolved_at is None:
            return None
        return (self.resolved_at - self.fired_at).total_seconds()


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel without its address, which holds secrets."""

    pk: int
    name: str
    kind: str
    enabled: bool
    last_error: str
    last_sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class SilenceView:
    pk: int
    pattern: str
    reason: str
    by: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """What the alerts page shows."""

    firing: tuple[IncidentView, ...]
    pending: tuple[IncidentView, ...]
    history: tuple[IncidentView, ...]
    rules: tuple[RuleView, ...]
    channels: tuple[ChannelView, ...]
    silences: tuple[SilenceView, ...]


def as_rule(row: AlertRule) -> alert.Rule:
    """The model as the domain's value."""
    return alert.Rule(
        pk=row.pk,
        name=row.name,
        kind=Kind(row.kind),
        pattern=row.pattern,
        severity=row.severity,
        seconds=row.seconds,
        messages=row.messages,
        share=row.share,
        for_seconds=row.for_seconds,
        recover_ratio=row.recover_ratio,
        recover_seconds=row.recover_seconds,
    )


def overview(now: datetime) -> Overview:
    """Everything on the alerts page; 9 queries."""
    incidents = Incident.objects.select_related("rule", "follows_from")
    rows = list(incidents.exclude(state="resolved").order_by("-fired_at", "-pending_since"))
    fired = incidents.filter(state="resolved", fired_at__isnull=False)
    past = list(fired.order_by("-resolved_at")[:HISTORY])
    open_pks = [row.pk for row in rows if row.fired_at]
    held = list(incidents.filter(follows_from__in=[*open_pks, *(row.pk for row in past)]).order_by("pk"))
    channels = list(NotificationChannel.objects.order_by("name"))
    silences = list(Silence.objects.filter(until__gt=now).order_by("until"))
    names = {str(channel.pk): channel.name for channel in channels}
    groups = _group_keys() if any(row.rule.kind in alert.OF_GROUPS for row in rows + past) else {}
    views = [_incident(row, names, silences, groups) for row in rows]
    behind: dict[int | None, list[IncidentView]] = {}
    for row in held:
        behind.setdefault(row.follows_from_id, []).append(_incident(row, names, silences, groups))
    return Overview(
        firing=tuple(_with(behind, view) for view in views if view.state in FIRING),
        pending=tuple(view for view in views if view.state == "pending" and view.follows_from not in open_pks),
        history=tuple(_with(behind, _incident(row, names, silences, groups)) for row in past),
        rules=tuple(_rules(now, rows)),
        channels=tuple(_channel(channel) for channel in channels),
        silences=tuple(_silence(silence) for silence in silences),
    )


def _with(behind: dict[int | None, list[IncidentView]], view: IncidentView) -> IncidentView:
    return replace(view, consequences=tuple(behind.get(view.pk, ())))


def firing() -> list[IncidentView]:
    """What fires now, critical first, for the bell and the overview. 1 query."""
    rows = Incident.objects.filter(state__in=FIRING).select_related("rule", "follows_from")
    rows = rows.order_by("severity", "-fired_at")
    return [_incident(row, {}, [], {}) for row in rows]


def bell(now: datetime) -> tuple[list[IncidentView], list[IncidentView]]:
    """What fires now, critical first, and what ended within the last minute, so that pages can tell of it. 1 query."""
    ended = Q(state="resolved", resolved_at__gte=now - timedelta(seconds=60), fired_at__isnull=False)
    rows = Incident.objects.filter(Q(state__in=FIRING) | ended).select_related("rule", "follows_from")
    rows = rows.order_by("severity", "-fired_at")
    views = [_incident(row, {}, [], {}) for row in rows]
    return [view for view in views if view.state in FIRING], [view for view in views if view.state == "resolved"]


def rule(pk: int) -> RuleView | None:
    """One rule for its form. 2 queries."""
    row = AlertRule.objects.filter(pk=pk).prefetch_related("channels").first()
    return _rule(row) if row else None


def lag_rules_for(subject: str) -> list[RuleView]:
    """The enabled rules that watch this group, limits told of lag rules only: a chart draws them. 3 queries."""
    source, _, rest = subject.partition("/")
    destination, _, name = rest.rpartition("/")
    service = (
        ConsumerGroup.objects.filter(source=source, destination=destination, name=name).values_list("service").first()
    )
    names = (name, subject, destination, service[0] if service else "")
    rows = AlertRule.objects.filter(enabled=True, kind__in=alert.OF_GROUPS).prefetch_related("channels").order_by("pk")
    rules = [_rule(row) for row in rows if alert.matches(row.pattern, names)]
    return [rule if rule.kind == Kind.LAG else replace(rule, seconds=None, messages=None) for rule in rules]


def subjects() -> list[str]:
    """Names of consumer groups, to be offered for a pattern. 1 query."""
    return sorted(set(ConsumerGroup.objects.values_list("name", flat=True)))


def incidents(now: datetime, state: str = "", limit: int = 100, before: int | None = None) -> list[IncidentView]:
    """Incidents by state (``firing``, ``pending``, ``resolved`` or all), newest first, for the API. 3 queries."""
    rows = Incident.objects.select_related("rule", "follows_from").order_by("-pk")
    if state == "firing":
        rows = rows.filter(state__in=FIRING)
    elif state:
        rows = rows.filter(state=state)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    names = {str(pk): name for pk, name in NotificationChannel.objects.values_list("pk", "name")}
    silences = list(Silence.objects.filter(until__gt=now))
    return [_incident(row, names, silences, {}) for row in rows[:limit]]


def _group_keys() -> dict[str, int]:
    rows = ConsumerGroup.objects.values_list("source", "destination", "name", "pk")
    return {f"{source}/{destination}/{name}": pk for source, destination, name, pk in rows}


def _incident(row: Incident, channels: dict[str, str], silences: list[Silence], groups: dict[str, int]) -> IncidentView:
    hushed = [silence.until for silence in silences if alert.matches(silence.pattern, silence_names(row.subject))]
    told = tuple(channels[key] for key, entry in row.notified.items() if key in channels and entry.get("firing"))
    return IncidentView(
        pk=row.pk,
        rule_pk=row.rule_id,
        rule=row.rule.name,
        kind=row.rule.kind,
        subject=row.subject,
        title=row.title,
        detail=row.detail,
        severity=row.severity,
        state=row.state,
        pending_since=row.pending_since,
        fired_at=row.fired_at,
        recovering_since=row.recovering_since,
        resolved_at=row.resolved_at,
        value=row.value,
        peak=row.peak,
        unit=row.unit,
        acknowledged_by=row.acknowledged_by,
        acknowledged_at=row.acknowledged_at,
        told=told,
        silenced_until=max(hushed, default=None),
        group_pk=groups.get(row.subject),
        follows_from=row.follows_from_id,
        cause=row.follows_from.title if row.follows_from_id and row.follows_from else "",
    )


def silence_names(subject: str) -> tuple[str, ...]:
    """What a silence's pattern may match: the whole subject, its group, its destination, its source."""
    parts = subject.split("/")
    return (subject, parts[-1], parts[0], "/".join(parts[1:-1]))


def _rules(now: datetime, open_rows: list[Incident]) -> list[RuleView]:
    week = Q(incidents__fired_at__gte=now - timedelta(days=7))
    rows = AlertRule.objects.annotate(fired=Count("incidents", filter=week)).prefetch_related("channels").order_by("pk")
    states: dict[int, list[str]] = {}
    for incident in open_rows:
        states.setdefault(incident.rule_id, []).append(incident.state)
    return [_rule(row, states.get(row.pk, []), row.fired) for row in rows]


def _rule(row: AlertRule, states: list[str] | None = None, fired: int = 0) -> RuleView:
    channels = list(row.channels.all())
    return RuleView(
        pk=row.pk,
        name=row.name,
        kind=row.kind,
        pattern=row.pattern,
        severity=row.severity,
        seconds=row.seconds,
        messages=row.messages,
        share=row.share,
        for_seconds=row.for_seconds,
        recover_ratio=row.recover_ratio,
        recover_seconds=row.recover_seconds,
        enabled=row.enabled,
        sentence=alert_words.sentence(as_rule(row)),
        channels=tuple(channel.name for channel in channels),
        channel_pks=tuple(channel.pk for channel in channels),
        firing=sum(state in FIRING for state in states or ()),
        pending=sum(state == "pending" for state in states or ()),
        fired=fired,
    )


def _channel(row: NotificationChannel) -> ChannelView:
    return ChannelView(row.pk, row.name, row.kind, row.enabled, row.last_error, row.last_sent_at)


def _silence(row: Silence) -> SilenceView:
    return SilenceView(row.pk, row.pattern, row.reason, row.created_by_name, row.until)
