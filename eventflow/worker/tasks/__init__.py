"""The background jobs, one module per noun, and how often each looks."""

from eventflow.celery import app
from eventflow.worker.tasks import replay

app.conf.beat_schedule = {**replay.SCHEDULE}
