"""Recording letters: once each, by cause, with their lineage; and what a returned letter proves."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain import replay as domain
from eventflow.store.models import DeadLetter, DeadLetterGroup, ReplayItem
from eventflow.store.queries import dead_letters as reads
from eventflow.store.record import dead_letter as letters
from eventflow.store.record import replay as ledger
from tests import factories as make

pytestmark = pytest.mark.django_db


def test_the_same_letter_offered_again_changes_nothing() -> None:
    letter = make.observed_letter()
    assert "dead-letters" in letters.record([letter, letter], make.NOW)
    assert letters.record([letter], make.NOW) == set()
    assert DeadLetter.objects.count() == 1


def test_letters_of_one_cause_are_one_group_with_its_first_and_last() -> None:
    early = make.observed_letter(failed_at=make.NOW - timedelta(hours=2))
    late = make.observed_letter(failed_at=make.NOW)
    letters.record([late], make.NOW)
    letters.record([early], make.NOW)
    group = DeadLetterGroup.objects.get()
    assert (group.first_at, group.last_at) == (early.failed_at, late.failed_at)
    assert group.letters.count() == 2


def test_the_trend_of_a_cause_counts_its_letters_where_they_failed() -> None:
    failed = [make.NOW - timedelta(minutes=ago) for ago in (59, 31, 30.5, 0)]
    letters.record([make.observed_letter(failed_at=at) for at in failed], make.NOW)
    (cause,) = reads.causes(reads.Filter(), make.NOW, trend_minutes=60, slots=20)
    assert {slot: number for slot, number in enumerate(cause.trend) if number} == {0: 1, 9: 2, 19: 1}


def test_the_news_name_the_flow() -> None:
    letter = make.observed_letter(correlation_id="order-1")
    assert letters.record([letter], make.NOW) == {"dead-letters", "flow:order-1"}


def test_a_letter_with_a_replays_token_marks_that_replay_failed_again() -> None:
    first = make.letter()
    item = make.replay_of(first).items.get()
    ledger.claim(item.pk, trace_id="1" * 32, span_id="2" * 16, now=make.NOW)
    ledger.observe(item.pk, domain.Accepted("ORDERS 5"), make.NOW)
    topics = letters.record([make.observed_letter(replay_token=item.token)], make.NOW)
    item.refresh_from_db()
    first.refresh_from_db()
    second = DeadLetter.objects.get(replay_token=item.token)
    assert item.state == "failed_again"
    assert first.status == "replayed"
    assert (second.status, second.replay_count) == ("open", 1)
    assert {f"replay:{item.replay_id}", f"dead-letter:{first.pk}"} <= topics
    assert reads.lineage(second).before == first
    assert reads.lineage(first).after == second


def test_a_letter_that_returns_before_its_sender_could_say_sent_is_still_failed_again() -> None:
    item = make.replay_of(make.letter()).items.get()
    ledger.claim(item.pk, trace_id="1" * 32, span_id="2" * 16, now=make.NOW)
    letters.record([make.observed_letter(replay_token=item.token)], make.NOW)
    ledger.observe(item.pk, domain.Accepted("ORDERS 5"), make.NOW)
    assert ReplayItem.objects.get().state == "failed_again"


def test_a_message_that_came_back_five_times_is_not_sent_a_sixth_time() -> None:
    letter = make.letter()
    for _ in range(domain.MAX_LINEAGE):
        item = make.replay_of(letter).items.get()
        ledger.claim(item.pk, trace_id="1" * 32, span_id="2" * 16, now=make.NOW)
        letters.record([make.observed_letter(replay_token=item.token)], make.NOW)
        letter = DeadLetter.objects.get(replay_token=item.token)
    made, plan = ledger.create([letter.pk], user=None, name="x", reason="", rate_per_second=1, now=make.NOW)
    assert made is None
    assert "loop" in plan.refusals[0].reason


def test_a_recovered_letter_is_resolved() -> None:
    item = make.replay_of(make.letter()).items.get()
    ledger.claim(item.pk, trace_id="1" * 32, span_id="2" * 16, now=make.NOW)
    ledger.observe(item.pk, domain.Consumed(make.NOW, ok=True, service="payment-service"), make.NOW)
    letter = DeadLetter.objects.get()
    assert (letter.status, letter.status_reason) == ("resolved", "Processed by payment-service")
    assert ReplayItem.objects.get().replay.state == "finished"


def test_late_news_of_an_old_replay_do_not_touch_a_letter_on_a_new_way() -> None:
    letter = make.letter()
    old = make.replay_of(letter).items.get()
    ledger.claim(old.pk, trace_id="1" * 32, span_id="2" * 16, now=make.NOW)
    ledger.observe(old.pk, domain.Interrupted(), make.NOW)
    make.replay_of(letter)
    ledger.observe(old.pk, domain.Consumed(make.NOW, ok=False), make.NOW)
    letter.refresh_from_db()
    assert letter.status == "replaying"


def test_holes_are_filled_from_the_failing_span_and_facts_stay() -> None:
    letter = make.letter(error_type=None, service="payment-service")
    letters.enrich(letter.pk, service="other", error_type="PaymentError", evidence="failing span")
    letter.refresh_from_db()
    assert (letter.service, letter.error_type) == ("payment-service", "PaymentError")
    assert letter.evidence["error_type"] == "failing span"


def test_recording_many_costs_as_many_queries_as_recording_few() -> None:
    costs = []
    for number in (5, 50):
        batch = [make.observed_letter() for _ in range(number)]
        with CaptureQueriesContext(connection) as queries:
            letters.record(batch, make.NOW)
        costs.append(len(queries))
    assert costs[1] <= costs[0] + 4


def test_text_that_the_database_cannot_hold_is_made_so_that_it_can() -> None:
    make.letter(error_message="a\x00b", stack="\x00", correlation_id="c" * 900, headers=(("x", "\x00"),), key="\x00")
    assert DeadLetter.objects.get().error_message == "a␀b"


def test_calling_off_many_costs_no_query_for_each() -> None:
    costs = []
    for number in (5, 50):
        replay = make.replay_of(*[make.letter() for _ in range(number)])
        with CaptureQueriesContext(connection) as queries:
            count, topics = ledger.call_off(replay.pk, state="cancelled", note="Cancelled by mira", now=make.NOW)
        costs.append(len(queries))
        assert count == number
        assert "dead-letters" in topics
    assert costs[1] <= costs[0] + 2
    assert not ReplayItem.objects.exclude(state="cancelled").exists()
    assert not DeadLetter.objects.exclude(status="open").exists()
