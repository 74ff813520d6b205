"""Celery tasks of notification: tell the channels what fires and what ended, once each; send a test on request."""

import logging

from django.utils import timezone
from opentelemetry.trace import SpanKind

from eventflow.celery import app
from eventflow.domain.alert import Event
from eventflow.domain.notification import Message
from eventflow.live import news
from eventflow.store.record import notification
from eventflow.tracing import tracer
from eventflow.worker import notify_send

DELIVER = "eventflow.notify.deliver"
TEST = "eventflow.notify.test"
log = logging.getLogger(__name__)


@app.task(name=DELIVER)
def deliver() -> None:
    """Send what is due. What fails stays in the ledger with its next try."""
    for delivery in notification.claim(timezone.now()):
        try:
            with tracer.start_as_current_span("notify", kind=SpanKind.CLIENT) as span:
                span.set_attribute("eventflow.channel", delivery.channel.name)
                notify_send.send(delivery.channel, delivery.message, timezone.now())
        except notify_send.DeliveryError as error:
            log.warning("channel %s was not told: %s", delivery.channel.name, error)
            notification.failed(delivery, str(error), timezone.now())
        else:
            notification.delivered(delivery, timezone.now())
        news.publish(["alerts"])


@app.task(name=TEST)
def test_channel(pk: int) -> None:
    """Send a message that says it is a test; the channel's line then tells how it went."""
    channel = notification.channel(pk)
    if channel is None:
        return
    now = timezone.now()
    message = Message(
        event=Event.FIRING,
        incident=0,
        title="Test from Eventflow",
        detail="Somebody pressed Send test. Nothing is wrong.",
        severity="test",
        subject="test",
        rule="test",
        url=notification.page_url(),
        pending_since=now,
        fired_at=now,
        resolved_at=None,
        value=None,
        peak=None,
        unit="",
    )
    error = ""
    try:
        notify_send.send(channel, message, now)
    except notify_send.DeliveryError as failure:
        error = str(failure)
    notification.note_result(pk, error, timezone.now())
    news.publish(["alerts"])


SCHEDULE = {DELIVER: {"task": DELIVER, "schedule": 5.0, "options": {"expires": 10}}}
