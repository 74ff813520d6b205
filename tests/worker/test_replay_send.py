"""Sending: what leaves, once, and what is said when it could not."""

from datetime import timedelta
from typing import Any

import pytest

from collectors.base import CollectorError
from eventflow.store.models import DeadLetter, Replay, ReplayItem
from eventflow.store.record import dead_letter as letters
from eventflow.store.record import replay as ledger
from eventflow.worker import replay_send
from tests import factories as make
from tests.fake_replayer import MemoryReplayer

pytestmark = pytest.mark.django_db


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = make.NOW

    def __call__(self) -> Any:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_queued_letter_is_sent_to_where_it_failed_with_its_payload(clock: Clock) -> None:
    letter = make.letter()
    replay = make.replay_of(letter)
    broker = MemoryReplayer()

    assert replay_send.send_queued(lambda source: broker, clock) == 1

    item = replay.items.get()
    assert (item.state, item.position) == ("sent", "ORDERS 1")
    assert [message.destination for message in broker.taken] == ["orders.placed"]
    assert broker.taken[0].payload == bytes(letter.payload)
    assert broker.taken[0].token == item.token
    headers = dict(broker.taken[0].headers)
    assert headers["traceparent"] == f"00-{item.trace_id}-{item.span_id}-01"
    assert headers["Eventflow-Replay"] == item.token
    assert headers["correlation-id"] == letter.correlation_id
    assert not {name for name in headers if name.startswith(("x-", "Nats-"))}
    assert DeadLetter.objects.get().status == "replaying"
    assert broker.closed == 1


def test_what_was_sent_is_not_sent_again(clock: Clock) -> None:
    make.replay_of(make.letter())
    broker = MemoryReplayer()
    for _ in range(3):
        replay_send.send_queued(lambda source: broker, clock)
        clock.pass_seconds(1)
    assert len(broker.taken) == 1


def test_a_broker_that_refuses_for_good_is_told_and_the_letter_waits_again(clock: Clock) -> None:
    replay = make.replay_of(make.letter())
    broker = MemoryReplayer(CollectorError("no stream takes orders.placed", permanent=True))
    replay_send.send_queued(lambda source: broker, clock)
    item = replay.items.get()
    assert (item.state, item.note) == ("refused", "no stream takes orders.placed")
    assert DeadLetter.objects.get().status == "open"
    assert Replay.objects.get().state == "finished"


def test_an_unclear_failure_is_unknown_and_never_tried_again(clock: Clock) -> None:
    replay = make.replay_of(make.letter())
    broker = MemoryReplayer(CollectorError("connection lost while waiting for the acknowledgement"))
    for _ in range(3):
        replay_send.send_queued(lambda source: broker, clock)
    assert replay.items.get().state == "unknown"
    assert broker.taken == []


def test_a_broker_that_went_away_before_anything_was_sent_gets_the_letter_later(clock: Clock) -> None:
    replay = make.replay_of(make.letter())
    broker = MemoryReplayer(CollectorError("connection refused; nothing was sent", reached=False))
    replay_send.send_queued(lambda source: broker, clock)
    item = replay.items.get()
    assert (item.state, item.note) == ("queued", "connection refused; nothing was sent")
    replay_send.send_queued(lambda source: broker, clock)
    assert [message.token for message in broker.taken] == [item.token]


def test_a_broker_that_cannot_be_reached_keeps_the_letter_queued(clock: Clock) -> None:
    replay = make.replay_of(make.letter())

    def unreachable(source: str) -> MemoryReplayer:
        raise CollectorError("connection refused")

    replay_send.send_queued(unreachable, clock)
    assert replay.items.get().state == "queued"
    broker = MemoryReplayer()
    replay_send.send_queued(lambda source: broker, clock)
    assert replay.items.get().state == "sent"


def test_many_letters_go_one_then_ten_and_wait_for_the_first_outcome(clock: Clock) -> None:
    replay = make.replay_of(*[make.letter() for _ in range(15)])
    broker = MemoryReplayer()
    replay_send.send_queued(lambda source: broker, clock)
    clock.pass_seconds(2)
    replay_send.send_queued(lambda source: broker, clock)
    assert len(broker.taken) == 1
    first = replay.items.get(state="sent")
    ledger.observe(first.pk, ledger.ledger.Consumed(clock.now, ok=True), clock.now)
    replay_send.send_queued(lambda source: broker, clock)
    assert len(broker.taken) == 11


def test_a_replay_stops_by_itself_when_the_first_letter_comes_back(clock: Clock) -> None:
    replay = make.replay_of(*[make.letter() for _ in range(15)])
    broker = MemoryReplayer()
    replay_send.send_queued(lambda source: broker, clock)
    letters.record([make.observed_letter(replay_token=broker.taken[0].token)], clock.now)
    replay_send.send_queued(lambda source: broker, clock)
    replay.refresh_from_db()
    assert replay.state == "stopped"
    assert replay.note == "Stopped by itself: 1 of 1 failed again"
    assert len(broker.taken) == 1
    assert ReplayItem.objects.filter(state="cancelled").count() == 14
    assert DeadLetter.objects.filter(status="open").count() == 15


def test_a_send_left_by_a_dead_process_becomes_unknown_and_is_not_sent_again(clock: Clock) -> None:
    replay = make.replay_of(make.letter())
    item = replay.items.get()
    assert ledger.claim(item.pk, trace_id="1" * 32, span_id="2" * 16, now=clock.now)
    clock.pass_seconds(replay_send.LEASE_SECONDS + 1)
    broker = MemoryReplayer()
    replay_send.send_queued(lambda source: broker, clock)
    item.refresh_from_db()
    assert item.state == "unknown"
    assert item.note.startswith("Eventflow stopped while sending")
    assert broker.taken == []
    assert DeadLetter.objects.get().status == "open"


def test_two_senders_never_claim_the_same_letter(clock: Clock) -> None:
    item = make.replay_of(make.letter()).items.get()
    claims = [ledger.claim(item.pk, trace_id="1" * 32, span_id="2" * 16, now=clock.now) for _ in range(2)]
    assert claims == [True, False]
