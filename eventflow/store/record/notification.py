"""The ledger of who was told what: claims what is due, so that each piece of news goes once to each channel.

A claim that a crash left behind is free again after a minute; the receiver then knows the repetition by its key.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.crypto import salted_hmac

from eventflow.domain import alert
from eventflow.domain.alert import Event
from eventflow.domain.notification import Message, next_try
from eventflow.store.models import Incident, NotificationChannel, Silence
from eventflow.store.queries.alerts import FIRING, silence_names

LEASE_SECONDS = 60.0
LATE_HOURS = 6


@dataclass(frozen=True, slots=True)
class Channel:
    """Where to; `url` is secret."""

    pk: int
    name: str
    kind: str
    url: str
    secret: str

    def __repr__(self) -> str:
        return f"Channel({self.pk}, {self.name!r})"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that this process may send now."""

    channel: Channel
    message: Message


def signing_secret(pk: int) -> str:
    """The key a webhook's signatures are made with: derived, so that it need not be stored."""
    return salted_hmac("eventflow.webhook", str(pk), algorithm="sha256").hexdigest()


def page_url() -> str:
    """Where the alerts page is, seen from outside."""
    return f"{settings.EVENTFLOW_URL}/alerts/"


def channel(pk: int) -> Channel | None:
    """One channel with its address."""
    row = NotificationChannel.objects.filter(pk=pk).first()
    return _channel(row) if row else None


def claim(now: datetime, limit: int | None = None) -> list[Delivery]:
    """What is due, or `limit` of it, marked as being sent by the caller, who answers with `delivered` or `failed`."""
    channels = {row.pk: row for row in NotificationChannel.objects.filter(enabled=True)}
    if not channels or not any(True for _ in _due(_candidates(now), channels, now)):
        return []
    claimed = []
    with transaction.atomic():
        due = _due(_candidates(now).select_for_update(of=("self",)), channels, now)
        for incident, row, event in islice(due, limit):
            entry = incident.notified.setdefault(str(row.pk), {})
            entry["claimed"] = now.isoformat()
            incident.save(update_fields=["notified"])
            claimed.append(Delivery(_channel(row), _message(incident, event)))
    return claimed


def delivered(delivery: Delivery, now: datetime) -> None:
    """It is told."""
    with _entry(delivery) as entry:
        entry[delivery.message.event] = now.isoformat()
        for key in ("claimed", "tries", "next"):
            entry.pop(key, None)
    note_result(delivery.channel.pk, "", now)


def failed(delivery: Delivery, error: str, now: datetime) -> None:
    """It was not: when to try again, or never."""
    with _entry(delivery) as entry:
        entry.pop("claimed", None)
        entry["tries"] = entry.get("tries", 0) + 1
        again = next_try(entry["tries"], now)
        if again is None:
            entry[f"gave_up_{delivery.message.event}"] = now.isoformat()
            entry.pop("tries")
        else:
            entry["next"] = again.isoformat()
    note_result(delivery.channel.pk, error, now)


def note_result(pk: int, error: str, now: datetime) -> None:
    """What the channel's line on the page says."""
    values: dict[str, Any] = {"last_error": error[:300]}
    if not error:
        values["last_sent_at"] = now
    NotificationChannel.objects.filter(pk=pk).update(**values)


@contextmanager
def _entry(delivery: Delivery) -> Iterator[dict[str, Any]]:
    """The ledger's entry of a delivery, locked, and saved at the end."""
    with transaction.atomic():
        incident = Incident.objects.select_for_update().filter(pk=delivery.message.incident).first()
        if incident is None:
            yield {}
            return
        entry: dict[str, Any] = incident.notified.setdefault(str(delivery.channel.pk), {})
        yield entry
        incident.save(update_fields=["notified"])


def _candidates(now: datetime) -> QuerySet[Incident]:
    recent = Q(state="resolved", resolved_at__gte=now - timedelta(hours=LATE_HOURS))
    rows = Incident.objects.filter(Q(state__in=FIRING) | recent)
    return rows.select_related("rule").prefetch_related("rule__channels").order_by("pk")


def _due(
    incidents: Iterable[Incident], channels: dict[int, NotificationChannel], now: datetime
) -> Iterator[tuple[Incident, NotificationChannel, Event]]:
    silences = list(Silence.objects.filter(until__gt=now).values_list("pattern", flat=True))
    for incident in incidents:
        chosen = {row.pk for row in incident.rule.channels.all()} or channels.keys()
        names = silence_names(incident.subject)
        if any(alert.matches(pattern, names) for pattern in silences):
            continue
        for pk in sorted(chosen & channels.keys()):
            event = _wanted(incident, incident.notified.get(str(pk), {}), now)
            if event:
                yield incident, channels[pk], event


def _wanted(incident: Incident, entry: dict[str, str], now: datetime) -> Event | None:
    """What this channel has not been told yet. Who was not told that it fires is not told that it ended."""
    event = Event.RESOLVED if incident.state == "resolved" else Event.FIRING
    if event in entry or f"gave_up_{event}" in entry:
        return None
    if event == Event.RESOLVED and Event.FIRING not in entry:
        return None
    claimed, again = entry.get("claimed"), entry.get("next")
    if claimed and (now - datetime.fromisoformat(claimed)).total_seconds() < LEASE_SECONDS:
        return None
    return None if again and datetime.fromisoformat(again) > now else event


def _channel(row: NotificationChannel) -> Channel:
    return Channel(row.pk, row.name, row.kind, row.url, signing_secret(row.pk))


def _message(incident: Incident, event: Event) -> Message:
    return Message(
        event=event,
        incident=incident.pk,
        title=incident.title,
        detail=incident.detail,
        severity=incident.severity,
        subject=incident.subject,
        rule=incident.rule.name,
        url=f"{page_url()}#incident-{incident.pk}",
        pending_since=incident.pending_since,
        fired_at=incident.fired_at,
        resolved_at=incident.resolved_at,
        value=incident.value,
        peak=incident.peak,
        unit=incident.unit,
    )
