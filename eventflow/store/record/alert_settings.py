"""What people change about alerts: rules, channels, silences, acknowledgements; and the rules of a new Eventflow."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from eventflow.domain.alert import RECOVER_RATIO, Kind, Rule
from eventflow.store.models import AlertRule, Incident, NotificationChannel, Silence

DEFAULTS = (
    {"name": "Consumer lag, critical", "kind": "lag", "seconds": 300.0, "for_seconds": 120.0, "recover_seconds": 300.0},
    {"name": "Consumer stopped", "kind": "stopped", "seconds": 60.0, "for_seconds": 10.0, "recover_seconds": 120.0},
    {
        "name": "Lag will not recover",
        "kind": "drifting",
        "severity": "warning",
        "for_seconds": 0.0,
        "recover_seconds": 600.0,
    },
    {
        "name": "Messages may be lost",
        "kind": "retention",
        "share": 70.0,
        "recover_ratio": 0.72,
        "for_seconds": 10.0,
        "recover_seconds": 60.0,
    },
    {
        "name": "One partition behind",
        "kind": "skew",
        "severity": "warning",
        "share": 50.0,
        "messages": 100,
        "recover_ratio": 0.5,
        "for_seconds": 120.0,
        "recover_seconds": 120.0,
    },
    {
        "name": "Dead-letter flood",
        "kind": "flood",
        "share": 1.0,
        "messages": 10,
        "recover_ratio": 0.2,
        "for_seconds": 300.0,
        "recover_seconds": 600.0,
    },
    {
        "name": "Dead letters arriving",
        "kind": "dead_letters",
        "severity": "warning",
        "messages": 0,
        "for_seconds": 0.0,
        "recover_seconds": 0.0,
    },
    {
        "name": "Dead letters can't arrive",
        "kind": "unreachable",
        "severity": "warning",
        "share": 70.0,
        "recover_ratio": 0.72,
        "for_seconds": 30.0,
        "recover_seconds": 0.0,
    },
    {
        "name": "Source out of sight",
        "kind": "blind",
        "severity": "warning",
        "for_seconds": 30.0,
        "recover_seconds": 0.0,
    },
)
DEMO = {
    "name": "Email late (demo)",
    "kind": "lag",
    "pattern": "email",
    "severity": "warning",
    "seconds": 15.0,
    "for_seconds": 5.0,
    "recover_seconds": 10.0,
}


@dataclass(frozen=True, slots=True)
class RuleForm:
    """A rule as a person wrote it."""

    name: str
    kind: str
    pattern: str
    severity: str
    seconds: float | None
    messages: int | None
    for_seconds: float
    recover_seconds: float
    share: float | None = None
    channels: tuple[int, ...] = ()


def ensure_default_rules(*, demo: bool = False, email_url: str = "") -> int:
    """Give an Eventflow without rules the default ones, and the demo its own; returns how many were made.

    A rule that a person changed or switched off stays as it is.
    """
    wanted = [] if AlertRule.objects.exists() else list(DEFAULTS)
    if demo and not AlertRule.objects.filter(name=DEMO["name"]).exists():
        wanted.append(DEMO)
    for values in wanted:
        AlertRule.objects.create(created_by_name="Eventflow", **values)
    if email_url:
        NotificationChannel.objects.get_or_create(name="E-mail", defaults={"kind": "apprise", "url": email_url})
    return len(wanted)


def save_rule(pk: int | None, form: RuleForm, by: str) -> int:
    """Make or change a rule; returns its key."""
    values = {
        "name": form.name,
        "kind": form.kind,
        "pattern": form.pattern,
        "severity": form.severity,
        "seconds": form.seconds,
        "messages": form.messages,
        "share": form.share,
        "recover_ratio": RECOVER_RATIO.get(Kind(form.kind), 0.8),
        "for_seconds": form.for_seconds,
        "recover_seconds": form.recover_seconds,
    }
    with transaction.atomic():
        if pk is None:
            row = AlertRule.objects.create(created_by_name=by, **values)
        else:
            row = AlertRule.objects.select_for_update().get(pk=pk)
            for name, value in values.items():
                setattr(row, name, value)
            row.save()
        row.channels.set(NotificationChannel.objects.filter(pk__in=form.channels))
    return row.pk


def as_domain_rule(form: RuleForm, pk: int | None) -> Rule:
    """The rule as it would be if it were saved."""
    return Rule(
        pk=pk or 0,
        name=form.name,
        kind=Kind(form.kind),
        pattern=form.pattern,
        severity=form.severity,
        seconds=form.seconds,
        messages=form.messages,
        share=form.share,
        for_seconds=form.for_seconds,
        recover_ratio=RECOVER_RATIO.get(Kind(form.kind), 0.8),
        recover_seconds=form.recover_seconds,
    )


def switch_rule(pk: int, enabled: bool) -> str | None:
    """On or off; returns its name. What it had firing ends with the next evaluation."""
    row = AlertRule.objects.filter(pk=pk).first()
    if row is None:
        return None
    AlertRule.objects.filter(pk=pk).update(enabled=enabled)
    return row.name


def delete_rule(pk: int) -> str | None:
    """With its incidents; returns its name."""
    row = AlertRule.objects.filter(pk=pk).first()
    if row is None:
        return None
    row.delete()
    return row.name


def acknowledge(pk: int, by: str, now: datetime) -> str | None:
    """Somebody looks after it; the first one counts. Returns the incident's title."""
    row = Incident.objects.filter(pk=pk).exclude(state="resolved").first()
    if row is None:
        return None
    Incident.objects.filter(pk=pk, acknowledged_at__isnull=True).update(acknowledged_at=now, acknowledged_by=by)
    return row.title


def incident_subject(pk: int) -> str | None:
    """What an incident is about."""
    return Incident.objects.filter(pk=pk).values_list("subject", flat=True).first()


def silence(pattern: str, reason: str, by: str, seconds: float, now: datetime) -> int:
    """No notifications for what matches, for `seconds`."""
    until = now + timedelta(seconds=seconds)
    return Silence.objects.create(pattern=pattern, reason=reason, created_by_name=by, created_at=now, until=until).pk


def end_silence(pk: int, now: datetime) -> str | None:
    """End it now; returns its pattern."""
    row = Silence.objects.filter(pk=pk, until__gt=now).first()
    if row is None:
        return None
    Silence.objects.filter(pk=pk).update(until=now)
    return row.pattern


def save_channel(name: str, kind: str, url: str) -> int:
    """A new channel."""
    return NotificationChannel.objects.create(name=name, kind=kind, url=url).pk


def channel_name_taken(name: str) -> bool:
    return NotificationChannel.objects.filter(name=name).exists()


def switch_channel(pk: int, enabled: bool) -> str | None:
    row = NotificationChannel.objects.filter(pk=pk).first()
    if row is None:
        return None
    NotificationChannel.objects.filter(pk=pk).update(enabled=enabled)
    return row.name


def delete_channel(pk: int) -> str | None:
    row = NotificationChannel.objects.filter(pk=pk).first()
    if row is None:
        return None
    row.delete()
    return row.name


def prune(now: datetime, keep_hours: float) -> int:
    """Drop incidents that ended and silences that ran out before `keep_hours`."""
    before = now - timedelta(hours=keep_hours)
    dropped, _ = Incident.objects.filter(state="resolved", resolved_at__lt=before).delete()
    ended, _ = Silence.objects.filter(until__lt=before).delete()
    return dropped + ended


def channels_exist(pks: Iterable[int]) -> bool:
    wanted = set(pks)
    return NotificationChannel.objects.filter(pk__in=wanted).count() == len(wanted)
