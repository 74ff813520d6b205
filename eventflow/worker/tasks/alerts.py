"""Celery task of alerts: reads the rules against what is known, every two seconds. Safe to run twice at once."""

from django.utils import timezone

from eventflow.celery import app
from eventflow.live import news
from eventflow.store.record import alert, blind
from eventflow.tracing import tracer
from eventflow.worker.exclusive import exclusive
from eventflow.worker.tasks import notify

EVALUATE = "eventflow.alerts.evaluate"


@app.task(name=EVALUATE)
@exclusive
def evaluate() -> None:
    """One evaluation."""
    now = timezone.now()
    blind.touch(now)
    outcome = alert.evaluate(now)
    news.publish(outcome.news)
    if outcome.told:
        with tracer.start_as_current_span("tell of incidents"):
            notify.deliver.delay()


SCHEDULE = {EVALUATE: {"task": EVALUATE, "schedule": 2.0, "options": {"expires": 5}}}
