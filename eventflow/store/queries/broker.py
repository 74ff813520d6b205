"""What the topology takes from the broker's side: groups with their lag, destinations, letters that wait.

Five queries however many rows there are. What was not seen for an hour is gone from the graph, not from the database.
"""

from datetime import datetime, timedelta

from django.db.models import Count, Q

from eventflow.domain.lag import LagStatus
from eventflow.domain.topology import ARRIVING_SECONDS
from eventflow.domain.topology_model import DestinationInfo, GroupLag, LetterCount
from eventflow.store.models import ConsumerGroup, DeadLetter, Destination, Incident
from eventflow.store.queries import letter_places
from eventflow.store.queries.lag import FIRING, stale_seconds, subject

GONE = timedelta(hours=1)


def groups(now: datetime) -> list[GroupLag]:
    """Every group on every destination, with the alert that fires for it."""
    firing: dict[str, Incident] = {}
    for incident in Incident.objects.filter(state__in=FIRING).order_by("-severity", "pk"):
        # "critical" sorts before "warning": ordered descending, the worse one is written last.
        firing[incident.subject] = incident
    rows = ConsumerGroup.objects.filter(seen_at__gte=now - GONE).order_by("source", "destination", "name")
    return [_group(row, firing.get(subject(row.source, row.destination, row.name)), now) for row in rows]


def _group(row: ConsumerGroup, alert: Incident | None, now: datetime) -> GroupLag:
    status, reason = row.status, row.status_reason
    if (now - row.seen_at).total_seconds() > stale_seconds(row.source, row.system, row.pause_seconds):
        status, reason = LagStatus.UNKNOWN, "no sample came any more"
    return GroupLag(
        pk=row.pk,
        source=row.source,
        system=row.system,
        destination=row.destination,
        name=row.name,
        service=row.service,
        container=row.container,
        subscriptions=tuple(row.subscriptions),
        ready=row.ready,
        in_flight=row.in_flight,
        # As of its sample: a broker we no longer see does not get later by itself.
        age_seconds=max(0.0, (row.seen_at - row.oldest_at).total_seconds()) if row.oldest_at else None,
        out_rate=row.out_rate,
        status=status,
        reason=reason,
        trend=row.trend,
        firing=alert.title if alert else "",
        firing_level="crit" if alert and alert.severity == "critical" else "warn",
    )


def destinations(now: datetime) -> list[DestinationInfo]:
    """Every destination the brokers tell of."""
    rows = list(Destination.objects.filter(seen_at__gte=now - GONE).order_by("source", "name"))
    troubled = {(place.source, place.name): place.trouble(now) for place in letter_places.among(rows, now)}
    return [
        DestinationInfo(
            row.source,
            row.system,
            row.name,
            row.kind,
            row.container,
            row.partitions,
            row.messages,
            tuple(row.dead_letters_of),
            troubled.get((row.source, row.name), ""),
        )
        for row in rows
    ]


def letters(now: datetime) -> list[LetterCount]:
    """How many open letters lie where, by the place where they failed."""
    recent = Q(captured_at__gte=now - timedelta(seconds=ARRIVING_SECONDS))
    found = (
        DeadLetter.objects.filter(status="open")
        .values("system", "location", "destination", "consumer_group", "service")
        .annotate(waiting=Count("pk"), arriving=Count("pk", filter=recent))
        .order_by("system", "location", "destination", "consumer_group", "service")
    )
    return [
        LetterCount(
            row["system"],
            row["location"],
            row["destination"],
            row["consumer_group"],
            row["service"],
            row["waiting"],
            row["arriving"],
        )
        for row in found
    ]
