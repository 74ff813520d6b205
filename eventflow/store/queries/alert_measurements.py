"""Reads of what alert rules are held against now: groups, sources, dead letters. Each is read once for all rules."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Count, DateTimeField, F, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from eventflow.domain import alert, lag
from eventflow.domain.alert import Kind, Measurement
from eventflow.domain.alert_backtest import flood_share
from eventflow.domain.lag import LagStatus
from eventflow.store.models import AlertRule, ConsumerGroup, DeadLetter, DeadLetterGroup, Incident, Source
from eventflow.store.queries import letter_places
from eventflow.store.queries.lag import stale_seconds, subject

OPEN = ("pending", "firing", "recovering")
OUT_OF_SIGHT = ("blind", "stopped", "paused")
EXPLAINED = lag.BEHIND | {LagStatus.DRIFTING}
"""Statuses whose reason says more than the numbers."""
FLOOD_SECONDS = 300.0
ARRIVAL_HOURS = 1
"""A pile of dead letters that has been quiet for so long is no arrival."""


class Known:
    """What is measured now; read when a rule first asks for it."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._rows: list[ConsumerGroup] | None = None
        self._read: dict[str, list[Measurement]] = {}

    def of(self, rule: AlertRule, open_rows: Iterable[str]) -> list[Measurement]:
        """Everything that a rule of this kind may be about."""
        if rule.kind == Kind.DEAD_LETTERS:
            return _dead_letters(rule, open_rows, self._now)
        what = "groups" if rule.kind in alert.OF_GROUPS else rule.kind
        if what not in self._read:
            self._read[what] = self._measure(what)
        return self._read[what]

    def _measure(self, what: str) -> list[Measurement]:
        if what == Kind.BLIND:
            return _blind(self._now)
        if what == Kind.UNREACHABLE:
            return _places(self._now)
        if self._rows is None:
            self._rows = list(ConsumerGroup.objects.all())
        if what == Kind.FLOOD:
            return _floods(self._rows, self._now)
        # An outage is one alert, not one for every group behind it.
        blind = set(Source.objects.filter(state__in=OUT_OF_SIGHT).values_list("name", flat=True))
        return [_group(row, self._now, known=row.source not in blind) for row in self._rows]


def _group(row: ConsumerGroup, now: datetime, *, known: bool) -> Measurement:
    stale = stale_seconds(row.source, row.system, row.pause_seconds)
    fresh = (now - row.seen_at).total_seconds() <= stale and row.ready is not None
    seconds = 0.0 if row.ready == 0 else (row.seen_at - row.oldest_at).total_seconds() if row.oldest_at else None
    name = subject(row.source, row.destination, row.name)
    return Measurement(
        subject=name,
        label=row.name,
        names=(row.name, name, row.destination, row.service),
        known=known and fresh and row.status not in (LagStatus.UNKNOWN, LagStatus.ABANDONED),
        seconds=None if seconds is None else max(0.0, seconds),
        messages=row.ready,
        place=row.destination,
        in_rate=row.in_rate,
        out_rate=row.out_rate,
        drain_seconds=row.drain_seconds,
        growing=row.trend > 0,
        status=row.status,
        shares={Kind.RETENTION: row.kept_share, Kind.SKEW: row.skew},
        lost=bool(row.lost),
        note=row.status_reason if row.status in EXPLAINED else "",
        progress_at=row.progress_at,
    )


def _floods(rows: Iterable[ConsumerGroup], now: datetime) -> list[Measurement]:
    """What share of what each group took lately became dead letters. One query.

    A group that we have not watched for long is not known: its old letters all come at once.
    """
    since = now - timedelta(seconds=FLOOD_SECONDS)
    letters = DeadLetter.objects.filter(failed_at__gte=since).exclude(consumer_group="")
    arrived = {
        (source, group): number
        for source, group, number in letters.values_list("source", "consumer_group").annotate(n=Count("pk")).order_by()
    }
    taken: dict[tuple[str, str], list[ConsumerGroup]] = {}
    for row in rows:
        taken.setdefault((row.source, row.name), []).append(row)
    return [_flood(parts, arrived.get(key, 0), now) for key, parts in taken.items()]


def _flood(rows: list[ConsumerGroup], arrived: int, now: datetime) -> Measurement:
    rates = [row.out_rate for row in rows]
    took = None if None in rates else round(sum(rate or 0.0 for rate in rates) * FLOOD_SECONDS)
    first, watched = rows[0], min((now - row.first_seen_at).total_seconds() for row in rows)
    share = flood_share(arrived, took)
    return Measurement(
        subject=f"{first.source}/{first.name}",
        label=first.name,
        names=(first.name, f"{first.source}/{first.name}", *(row.destination for row in rows), first.service),
        known=watched >= 2 * FLOOD_SECONDS,
        messages=arrived,
        shares={Kind.FLOOD: share},
        note=f"{arrived:,} dead letters within 5 min",
    )


def _blind(now: datetime) -> list[Measurement]:
    return [
        Measurement(
            subject=row.name,
            label=row.name,
            names=(row.name, row.system),
            breached=row.state != "ok" or _silent(row, now),
            seconds=_unseen(row, now) if row.state != "ok" or _silent(row, now) else None,
            note=row.message or row.state,
        )
        for row in Source.objects.exclude(state="paused")
    ]


def _unseen(row: Source, now: datetime) -> float | None:
    return (now - row.ok_at).total_seconds() if row.ok_at else None


def _silent(row: Source, now: datetime) -> bool:
    """Said to be fine, but not for long: who looks has died or hangs. Receivers look at nothing: they only listen."""
    looks = bool(row.cycle_seconds) and row.ok_at is not None
    return looks and (_unseen(row, now) or 0.0) > stale_seconds(row.name, row.system, row.pause_seconds)


def _places(now: datetime) -> list[Measurement]:
    """Where dead letters should arrive and stay."""
    blind = set(Source.objects.filter(state__in=OUT_OF_SIGHT).values_list("name", flat=True))
    return [
        Measurement(
            subject=f"{place.source}/{place.name}",
            label=place.name,
            names=(place.name, f"{place.source}/{place.name}", *place.letters_of),
            known=place.source not in blind,
            lost=bool(place.lost),
            messages=place.messages,
            place=place.name if place.letters_of else "",
            shares={Kind.UNREACHABLE: place.share(now)},
            note=place.lost or place.near(now),
        )
        for place in letter_places.places(now)
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
