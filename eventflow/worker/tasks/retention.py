"""Celery tasks that keep the data small: minutes out of samples, and the end of what is older than the retention."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from eventflow.celery import app
from eventflow.store import spans
from eventflow.store.record import alert_settings, lag_history

COMPACT = "eventflow.retention.compact"
PRUNE = "eventflow.retention.prune"
OVERLAP = timedelta(minutes=10)


@app.task(name=COMPACT)
def compact() -> None:
    """The finished minutes of the last while; what was missed before, pruning makes up for."""
    now = timezone.now()
    lag_history.compact(now, now - OVERLAP)
    spans.compact(now)


@app.task(name=PRUNE)
def prune() -> None:
    """Drop what is too old, and the oldest of what is too much."""
    now, hours = timezone.now(), settings.EVENTFLOW_RETENTION_HOURS
    lag_history.prune(now, hours)
    alert_settings.prune(now, hours)
    spans.prune(now - timedelta(hours=hours))
    if gigabytes := settings.EVENTFLOW_RETENTION_GIGABYTES:
        spans.shrink(int(gigabytes * 1_000_000_000))


SCHEDULE = {
    COMPACT: {"task": COMPACT, "schedule": 30.0, "options": {"expires": 30}},
    PRUNE: {"task": PRUNE, "schedule": 600.0, "options": {"expires": 600}},
}
