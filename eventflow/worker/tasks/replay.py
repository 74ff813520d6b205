"""Celery tasks of replay: send what is queued, watch what is on its way. A lost task costs a second, nothing else."""

import threading

from django.conf import settings

from eventflow.celery import app
from eventflow.live import news
from eventflow.worker import letter_holes, replay_observe, replay_send
from eventflow.worker.exclusive import exclusive

SEND = "eventflow.replay.send"
OBSERVE = "eventflow.replay.observe"
HOLES = "eventflow.dead_letters.fill_holes"
_filler = letter_holes.HoleFiller()
_adopted = threading.Event()


@app.task(name=SEND)
@exclusive
def send_queued() -> None:
    """One round of sending."""
    if not _adopted.is_set():
        # Without Redis this process is the only sender: whatever is still being sent was left by one that died.
        if not settings.REDIS_URL:
            news.publish(replay_send.adopt(replay_send.utc_now(), lease_seconds=0))
        _adopted.set()
    if replay_send.send_queued():
        observe.delay()


@app.task(name=OBSERVE)
@exclusive
def observe() -> None:
    """One round of watching."""
    replay_observe.observe()


@app.task(name=HOLES)
@exclusive
def fill_holes() -> None:
    """Complete letters from the spans of their failed attempts, which may arrive after them."""
    _filler.fill(replay_send.utc_now())


SCHEDULE = {
    HOLES: {"task": HOLES, "schedule": 3.0, "options": {"expires": 5}},
    SEND: {"task": SEND, "schedule": 1.0, "options": {"expires": 5}},
    OBSERVE: {"task": OBSERVE, "schedule": 1.0, "options": {"expires": 5}},
}
