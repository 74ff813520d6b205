"""The counts of the rail: one cheap query per table, asked on every page."""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, Max, Q
from django.utils import timezone

from eventflow.domain.lag import BEHIND, LATE
from eventflow.store.models import ConsumerGroup, DeadLetter, Incident, Replay
from eventflow.store.queries.lag import FIRING

ARRIVING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Counts:
    groups_behind: int
    groups_critical: int
    letters_open: int
    letters_arriving: bool
    replays_running: int
    alerts_firing: int
    alerts_critical: int


def counts() -> Counts:
    """What waits for somebody, over all sources."""
    groups = ConsumerGroup.objects.aggregate(
        behind=Count("pk", filter=Q(status__in=BEHIND | LATE)), critical=Count("pk", filter=Q(status__in=BEHIND))
    )
    letters = DeadLetter.objects.filter(status="open").aggregate(open=Count("pk"), newest=Max("captured_at"))
    alerts = Incident.objects.filter(state__in=FIRING).aggregate(
        firing=Count("pk"), critical=Count("pk", filter=Q(severity="critical"))
    )
    newest = letters["newest"]
    return Counts(
        groups_behind=groups["behind"],
        groups_critical=groups["critical"],
        letters_open=letters["open"],
        letters_arriving=newest is not None and timezone.now() - newest < ARRIVING,
        replays_running=Replay.objects.filter(state="running").count(),
        alerts_firing=alerts["firing"],
        alerts_critical=alerts["critical"],
    )
