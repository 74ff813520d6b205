"""The background jobs, one module per noun, and how often each looks."""

from eventflow.celery import app
from eventflow.worker.tasks import alerts, imports, notify, replay, retention, sources

app.conf.beat_schedule = {
    **alerts.SCHEDULE,
    **imports.SCHEDULE,
    **notify.SCHEDULE,
    **replay.SCHEDULE,
    **retention.SCHEDULE,
    **sources.SCHEDULE,
}
