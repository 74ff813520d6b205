"""Letters made of workers' and senders' events, which come in any order."""

import json
from datetime import UTC, datetime, timedelta

from collectors.celery.events import SENT_SECONDS, Events

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LATER = NOW + timedelta(seconds=SENT_SECONDS)


def heard(events: Events, kind: str, **fields: str) -> None:
    events.heard(json.dumps({"type": kind, "uuid": "1", **fields}).encode(), NOW)


def failed(events: Events, error: str = "ValueError()") -> None:
    heard(events, "task-received", name="pay")
    heard(events, "task-failed", exception=error)


def test_a_task_that_failed_before_its_sender_was_heard_is_a_letter_of_the_queue_that_the_sender_tells() -> None:
    events = Events("shop")
    failed(events)
    events.settle(NOW)
    assert events.letters == []
    heard(events, "task-sent", name="pay", queue="payments")
    (letter,) = events.letters
    assert (letter.message_id, letter.event_type, letter.destination) == ("1", "pay", "payments")
    events.settle(LATER)
    assert len(events.letters) == 1


def test_a_failed_task_of_which_no_sender_tells_is_a_letter_after_a_moment() -> None:
    events = Events("shop")
    failed(events)
    events.settle(LATER)
    assert [(letter.destination, letter.error_type) for letter in events.letters] == [(None, "ValueError")]


def test_a_task_that_fails_twice_before_its_sender_is_heard_is_two_letters() -> None:
    events = Events("shop")
    failed(events, "ValueError()")
    failed(events, "KeyError()")
    events.settle(LATER)
    assert [letter.error_type for letter in events.letters] == ["ValueError", "KeyError"]


def test_a_task_that_its_sender_told_of_first_is_a_letter_at_once() -> None:
    events = Events("shop")
    heard(events, "task-sent", name="pay", queue="payments")
    failed(events)
    assert [letter.destination for letter in events.letters] == ["payments"]
