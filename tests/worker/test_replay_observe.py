"""What is seen of a replayed message: by its consumer, by its return, by silence. What fills a letter's holes."""

from datetime import datetime, timedelta

import pytest

from eventflow.domain import replay as ledger
from eventflow.domain.observations import Messaging, Operation, Span, SpanKind, SpanStatus
from eventflow.store import spans
from eventflow.store.models import DeadLetter, DeadLetterGroup, Replay, ReplayItem, Source
from eventflow.store.record import dead_letter as letters
from eventflow.store.record import replay as rows
from eventflow.worker import replay_observe
from eventflow.worker.replay_span import Sending, replay_span
from tests import factories as make

pytestmark = pytest.mark.django_db
SENT = make.NOW


@pytest.fixture
def item() -> ReplayItem:
    """A message that was sent a moment ago."""
    found = make.replay_of(make.letter()).items.get()
    rows.claim(found.pk, trace_id="a" * 32, span_id="b" * 16, now=SENT)
    rows.observe(found.pk, ledger.Accepted("ORDERS:5"), SENT)
    return ReplayItem.objects.select_related("letter").get(pk=found.pk)


def consumer(
    group: str = "payment",
    status: SpanStatus = SpanStatus.UNSET,
    operation: Operation = Operation.PROCESS,
    service: str = "payment-service",
) -> Span:
    start = round(SENT.timestamp() * 1e9) + 1_000_000
    return Span(
        trace_id="c" * 32,
        span_id="d" * 16,
        parent_id=None,
        name=f"{operation} orders.placed",
        kind=SpanKind.CONSUMER,
        start_ns=start,
        end_ns=start + 2_000_000,
        service=service,
        status=status,
        messaging=Messaging(system="nats", operation=operation, destination="orders.placed", group=group),
    )


def watch(*seen: Span, after: float = 1) -> None:
    def clock() -> datetime:
        return SENT + timedelta(seconds=after)

    replay_observe.observe(lambda trace_id, span_id: seen, clock)


def test_the_groups_own_span_confirms_it(item: ReplayItem) -> None:
    watch(consumer())
    item.refresh_from_db()
    assert (item.state, item.note) == ("confirmed", "Processed by payment-service")
    assert DeadLetter.objects.get().status == "resolved"
    assert Replay.objects.get().state == "finished"


def test_another_groups_span_proves_nothing(item: ReplayItem) -> None:
    watch(consumer(group="inventory", service="inventory-service"))
    item.refresh_from_db()
    assert item.state == "sent"


def test_a_receive_is_not_a_success(item: ReplayItem) -> None:
    watch(consumer(operation=Operation.RECEIVE), consumer(operation=Operation.SETTLE))
    item.refresh_from_db()
    assert item.state == "sent"


def test_a_failed_attempt_waits_for_the_next(item: ReplayItem) -> None:
    watch(consumer(status=SpanStatus.ERROR))
    item.refresh_from_db()
    assert item.state == "consumed"
    watch(consumer(status=SpanStatus.ERROR), consumer())
    item.refresh_from_db()
    assert item.state == "confirmed"


def test_a_drained_group_and_a_minute_of_silence_confirm_it(item: ReplayItem) -> None:
    seen = SENT + timedelta(seconds=50)
    Source.objects.create(name="shop", system="nats", state="ok", seen_at=seen)
    make.consumer_group("payment", seen_at=seen)
    watch(after=30)
    item.refresh_from_db()
    assert item.state == "sent"
    watch(after=61)
    item.refresh_from_db()
    assert item.state == "confirmed"
    assert "no letter came back" in item.note


@pytest.mark.parametrize(
    ("ready", "in_flight", "state"), [(3, 0, "ok"), (0, 1, "ok"), (None, 0, "ok"), (0, 0, "blind")]
)
def test_silence_alone_proves_nothing(item: ReplayItem, ready: int | None, in_flight: int, state: str) -> None:
    seen = SENT + timedelta(seconds=50)
    Source.objects.create(name="shop", system="nats", state=state, seen_at=seen)
    make.consumer_group("payment", seen_at=seen, ready=ready, in_flight=in_flight)
    watch(after=61)
    item.refresh_from_db()
    assert item.state == "sent"


def test_what_nobody_saw_for_a_quarter_of_an_hour_is_unknown(item: ReplayItem) -> None:
    watch(after=replay_observe.UNSEEN_SECONDS + 1)
    item.refresh_from_db()
    assert (item.state, item.note) == ("unknown", "No consumer was seen within 15 min")
    assert DeadLetter.objects.get().status == "open"


def test_the_replays_own_span_is_found_again_and_links_to_the_failed_one() -> None:
    sending = Sending(
        trace_id="a" * 32,
        span_id="b" * 16,
        system="nats",
        destination="orders.placed",
        token="t",
        started_at=SENT,
        ended_at=SENT + timedelta(milliseconds=3),
        correlation_id="order-1",
        failed_trace_id="1" * 32,
        failed_span_id="2" * 16,
    )
    batch = replay_span(sending, SENT)
    spans.append([batch])
    span = batch.spans[0]
    assert (span.kind, span.service, span.correlation_id) == (SpanKind.PRODUCER, "eventflow", "order-1")
    assert [(link.trace_id, link.span_id) for link in span.links] == [("1" * 32, "2" * 16)]


def test_a_letter_that_learns_its_error_moves_to_that_cause() -> None:
    letter = make.letter(error_type=None, error_message=None, stack=None)
    before = letter.group_id
    letters.enrich(letter.pk, error_type="PaymentError", error_message="card 12 is empty", evidence="span")
    letter.refresh_from_db()
    assert letter.group.title == "PaymentError"
    assert not DeadLetterGroup.objects.filter(pk=before).exists()
