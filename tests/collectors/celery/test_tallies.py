"""Counting tasks by queue out of events that name none."""

import json
from datetime import UTC, datetime

from collectors.celery.events import Events
from collectors.celery.tallies import SILENT_SECONDS, UNPLACED_SECONDS, Tallies, Totals

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def received(tallies: Tallies, queue: str | None, times: int = 1) -> None:
    for _ in range(times):
        tallies.heard("task-received", queue, 0)


def test_what_came_in_is_what_was_fetched_and_what_waits() -> None:
    tallies = Tallies()
    assert tallies.totals("pay", 7, 0) is None
    received(tallies, "pay", 3)
    tallies.heard("task-succeeded", "pay", 0)
    assert tallies.totals("pay", 4, 0) == Totals(7, 3, 1)


def test_an_event_that_is_a_moment_late_takes_nothing_back() -> None:
    tallies = Tallies()
    received(tallies, "pay")
    assert tallies.totals("pay", 9, 0) == Totals(10, 1, 0)
    assert tallies.totals("pay", 4, 1) == Totals(10, 1, 0)
    received(tallies, "pay", 5)
    assert tallies.totals("pay", 4, 2) == Totals(10, 6, 0)


def test_tasks_that_leave_without_an_event_make_the_rates_unknown_for_a_while() -> None:
    tallies = Tallies()
    received(tallies, "pay")
    assert tallies.totals("pay", 9, 0) is not None
    assert tallies.totals("pay", 2, 1) is not None
    assert tallies.totals("pay", 2, 1 + SILENT_SECONDS) is None
    assert tallies.silent("pay", 1 + SILENT_SECONDS)
    assert tallies.totals("pay", 2, 1 + SILENT_SECONDS + UNPLACED_SECONDS) == Totals(3, 1, 0)


def heard(events: Events, kind: str, uuid: str, **fields: str) -> None:
    events.heard(json.dumps({"type": kind, "uuid": uuid, **fields}).encode(), NOW)


def test_a_task_is_of_the_queue_that_its_sender_said_and_so_are_others_of_its_name() -> None:
    events, clock = Events("shop"), NOW.timestamp()
    heard(events, "task-sent", "1", name="pay", queue="payments")
    heard(events, "task-received", "1", name="pay")
    heard(events, "task-received", "2", name="pay")
    heard(events, "task-succeeded", "2")
    assert events.tallies.totals("payments", 0, clock) == Totals(2, 2, 1)


def test_a_name_that_comes_from_two_queues_tells_none_and_then_no_rate_is_known() -> None:
    events, clock = Events("shop"), NOW.timestamp()
    for uuid, queue in (("1", "payments"), ("2", "slow")):
        heard(events, "task-sent", uuid, name="pay", queue=queue)
        heard(events, "task-received", uuid, name="pay")
    assert events.tallies.totals("payments", 0, clock) == Totals(1, 1, 0)
    heard(events, "task-received", "3", name="pay")
    assert events.tallies.unplaced(clock)
    assert events.tallies.totals("payments", 0, clock) is None
    assert events.tallies.totals("payments", 0, clock + UNPLACED_SECONDS) == Totals(1, 1, 0)


def test_without_a_word_of_the_sender_the_only_queue_is_it() -> None:
    events = Events("shop")
    events.tallies.only = "celery"
    heard(events, "task-received", "1", name="pay")
    assert events.tallies.totals("celery", 2, NOW.timestamp()) == Totals(3, 1, 0)
