"""Celery tasks of notification: tell the channels what fires and what ended, once each; send a test on request."""

import logging
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context

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
AT_ONCE = 8
ROUNDS = 2
"""How many are sent one after the other, at most: within the time that a claim holds, also when nobody answers."""
log = logging.getLogger(__name__)


@app.task(name=DELIVER)
def deliver() -> None:
    """Send what is due, several at once: a channel that does not answer keeps no other waiting.

    What fails stays in the ledger with its next try.
    """
    claimed = notification.claim(timezone.now(), AT_ONCE * ROUNDS)
    if not claimed:
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(claimed)), thread_name_prefix="notify") as pool:
        sending = {pool.submit(copy_context().run, _sent, delivery): delivery for delivery in claimed}
        for one in as_completed(sending):
            delivery, error = sending[one], one.result()
            if error:
                log.warning("channel %s was not told: %s", delivery.channel.name, error)
                notification.failed(delivery, error, timezone.now())
            else:
                notification.delivered(delivery, timezone.now())
            news.publish(["alerts"])


def _sent(delivery: notification.Delivery) -> str:
    """Why it was not delivered; "" when it was. Asks no database: it runs in a thread without a connection."""
    try:
        with tracer.start_as_current_span("notify", kind=SpanKind.CLIENT) as span:
            span.set_attribute("eventflow.channel", delivery.channel.name)
            notify_send.send(delivery.channel, delivery.message, timezone.now())
    except notify_send.DeliveryError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # those sent beside it must be noted: else they are told twice
        # Its text and its trace may hold the channel's address.
        return f"unexpected {type(error).__name__}"
    return ""


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
