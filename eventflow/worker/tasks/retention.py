"""Celery tasks that keep the data small: minutes out of samples, lag packed, the end of what is too old."""

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from eventflow.celery import app
from eventflow.store import spans
from eventflow.store.record import alert_settings, blind, lag_history
from eventflow.worker.exclusive import exclusive

COMPACT = "eventflow.retention.compact"
PACK = "eventflow.retention.pack"
PRUNE = "eventflow.retention.prune"
OVERLAP = timedelta(minutes=10)
"""So far back minutes are written at first; then from the last time on."""
_compacted: dict[str, datetime] = {}


@app.task(name=COMPACT)
@exclusive
def compact() -> None:
    """The finished minutes of the last while; what was missed before, packing makes up for."""
    now = timezone.now()
    lag_history.compact(now, _compacted.get("until", now - OVERLAP) - timedelta(minutes=1))
    _compacted["until"] = now
    spans.compact(now)


@app.task(name=PACK)
@exclusive
def pack() -> None:
    """Lag of more than an hour ago."""
    lag_history.pack(timezone.now())


@app.task(name=PRUNE)
@exclusive
def prune() -> None:
    """Drop what is too old, and the oldest of what is too much."""
    now, hours = timezone.now(), settings.EVENTFLOW_RETENTION_HOURS
    lag_history.prune(now, hours, settings.EVENTFLOW_LAG_SAMPLE_DAYS, settings.EVENTFLOW_LAG_MINUTE_DAYS)
    blind.prune(now, settings.EVENTFLOW_LAG_MINUTE_DAYS)
    alert_settings.prune(now, hours)
    spans.prune(now - timedelta(hours=hours))
    if gigabytes := settings.EVENTFLOW_RETENTION_GIGABYTES:
        spans.shrink(int(gigabytes * 1_000_000_000))


SCHEDULE = {
    COMPACT: {"task": COMPACT, "schedule": 30.0, "options": {"expires": 30}},
    PACK: {"task": PACK, "schedule": 300.0, "options": {"expires": 300}},
    PRUNE: {"task": PRUNE, "schedule": 600.0, "options": {"expires": 600}},
}
