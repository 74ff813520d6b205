"""The background jobs, one module per noun, and how often each looks."""

from eventflow.celery import app

app.conf.beat_schedule = {}
