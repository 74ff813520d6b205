"""The ledger's states: whatever comes in whatever order, a message leaves for the broker at most once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.domain import replay
from eventflow.domain.replay import (
    Accepted,
    Cancelled,
    Candidate,
    Claimed,
    Consumed,
    Declined,
    Drained,
    Interrupted,
    Item,
    ItemState,
    Returned,
    Subscriber,
    Unseen,
    next_state,
    plan,
    receivers,
)
from eventflow.domain.replay_headers import outgoing
from eventflow.domain.replay_pace import PATIENCE_SECONDS, Progress, pace

NOW = datetime(2026, 11, 19, 14, 32, tzinfo=UTC)
EVIDENCE = st.one_of(
    st.just(Claimed()),
    st.builds(Accepted, st.just("ORDERS 7")),
    # A permanent refusal was surely not taken; that is the contract of Replayer.send.
    st.sampled_from([Declined("no", True, False), Declined("lost", False, True), Declined("refused", False, False)]),
    st.just(Interrupted()),
    st.builds(Consumed, st.just(NOW), st.booleans()),
    st.just(Returned(NOW, "dlq.payment 9")),
    st.just(Drained(70)),
    st.just(Unseen(900)),
    st.just(Cancelled("Cancelled by mira")),
)


@settings(max_examples=1500)
@given(st.lists(st.tuples(EVIDENCE, st.integers(0, 5)), max_size=40))
def test_no_order_of_events_sends_a_message_twice(events: list[tuple[replay.Evidence, int]]) -> None:
    item, sends, now = Item(ItemState.QUEUED), 0, NOW
    for evidence, seconds in events:
        now += timedelta(seconds=seconds)
        before, item = item.state, next_state(item, evidence, now)
        if before is ItemState.QUEUED and item.state is ItemState.SENDING:
            sends += 1
        if isinstance(evidence, Declined) and not evidence.reached and before is ItemState.SENDING:
            sends -= 1  # the broker was surely not reached: this claim sent nothing
    assert 0 <= sends <= 1


@settings(max_examples=500)
@given(st.lists(EVIDENCE, max_size=30))
def test_what_came_to_an_end_is_never_on_its_way_again(events: list[replay.Evidence]) -> None:
    item, ended = Item(ItemState.QUEUED), False
    for evidence in events:
        item = next_state(item, evidence, NOW)
        ended = ended or item.state not in replay.OUTSTANDING
        assert not (ended and item.state in replay.OUTSTANDING)
        assert (item.finished_at is not None) == (item.state not in replay.OUTSTANDING)


@settings(max_examples=500)
@given(st.lists(EVIDENCE, max_size=30))
def test_a_returned_letter_has_the_last_word(events: list[replay.Evidence]) -> None:
    item = next_state(next_state(Item(ItemState.QUEUED), Claimed(), NOW), Accepted("1"), NOW)
    item = next_state(item, Returned(NOW, "dlq.payment 9"), NOW)
    for evidence in events:
        item = next_state(item, evidence, NOW)
    assert item.state is ItemState.FAILED_AGAIN


def sent() -> Item:
    return next_state(next_state(Item(ItemState.QUEUED), Claimed(), NOW), Accepted("ORDERS 7"), NOW)


def test_a_failed_attempt_is_not_yet_a_failure() -> None:
    item = next_state(sent(), Consumed(NOW, ok=False, service="payment"), NOW)
    assert item.state is ItemState.CONSUMED
    assert next_state(item, Consumed(NOW, ok=True), NOW).state is ItemState.CONFIRMED


def test_a_letter_that_returns_after_another_group_confirmed_it_is_failed_again() -> None:
    item = next_state(sent(), Drained(61), NOW)
    assert item.state is ItemState.CONFIRMED
    assert next_state(item, Returned(NOW, "dlq.payment 9"), NOW).state is ItemState.FAILED_AGAIN


def test_a_hidden_outcome_is_settled_by_what_is_seen_later() -> None:
    item = next_state(next_state(Item(ItemState.QUEUED), Claimed(), NOW), Interrupted(), NOW)
    assert item.state is ItemState.UNKNOWN
    assert next_state(item, Consumed(NOW, ok=True), NOW).state is ItemState.CONFIRMED
    assert next_state(item, Returned(NOW, "dlq"), NOW).state is ItemState.FAILED_AGAIN
    assert next_state(item, Claimed(), NOW).state is ItemState.UNKNOWN


def candidate(pk: int = 1, **given: object) -> Candidate:
    values: dict[str, object] = {
        "source": "shop",
        "system": "nats",
        "status": "open",
        "destination": "orders.placed",
        "group": "payment",
        "payload_size": 10,
        "has_payload": True,
    }
    return Candidate(pk=pk, **{**values, **given})  # type: ignore[arg-type]  # names and types are those of Candidate


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"outstanding": True}, "already"),
        ({"status": "archived"}, "archived"),
        ({"status": "resolved"}, "recovered"),
        ({"status": "replayed"}, "failed again"),
        ({"destination": ""}, "where it came from"),
        ({"destination": "$JS.API.STREAM.DELETE.ORDERS"}, "no message may be sent"),
        ({"destination": "orders.>"}, "no message may be sent"),
        ({"destination": "orders.placed 5\r\nhello"}, "no message may be sent"),
        ({"destination": "_INBOX.abc"}, "no message may be sent"),
        ({"has_payload": False}, "no payload"),
        ({"payload_note": "truncated at 64 KB"}, "part of its payload"),
        ({"replay_count": replay.MAX_LINEAGE}, "loop"),
    ],
)
def test_the_plan_leaves_out_what_cannot_be_sent_and_says_why(given: dict[str, object], word: str) -> None:
    made = plan([candidate(1), candidate(2, **given)])
    assert made.accepted == (1,)
    assert [refused.pk for refused in made.refusals] == [2]
    assert word in made.refusals[0].reason


def test_the_plan_counts_each_target() -> None:
    made = plan([candidate(1), candidate(2), candidate(3, destination="emails.requested", group="email")])
    assert [(target.destination, target.count) for target in made.targets] == [
        ("emails.requested", 1),
        ("orders.placed", 2),
    ]


@pytest.mark.parametrize(
    ("pattern", "subject", "matches"),
    [
        ("orders.placed", "orders.placed", True),
        ("orders.*", "orders.placed", True),
        ("orders.*", "orders.placed.eu", False),
        ("orders.>", "orders.placed.eu", True),
        ("orders.>", "orders", False),
        (">", "orders", True),
        ("*.placed", "orders.placed", True),
        ("orders.placed", "orders", False),
        ("orders.placed", "orders.placed.eu", False),
    ],
)
def test_nats_wildcards_match_whole_tokens(pattern: str, subject: str, matches: bool) -> None:
    found = receivers("nats", subject, [Subscriber("g", (pattern,))])
    assert found == (("g",) if matches else ())


def test_other_brokers_have_no_wildcards() -> None:
    assert receivers("kafka", "orders.placed", [Subscriber("g", ("orders.*",))]) == ()


def test_failure_headers_stay_behind_and_the_others_travel_in_order() -> None:
    headers = (
        ("ce-id", "e1"),
        ("x-original-subject", "orders.placed"),
        ("X-Exception-Message", "boom"),
        ("correlation-id", "c1"),
        ("traceparent", "00-old"),
        ("Nats-Msg-Id", "e1"),
        ("Nats-Expected-Last-Sequence", "4"),
        ("Nats-Rollup", "all"),
        ("x-attempts", "4"),
        ("Eventflow-Replay", "old-token"),
        ("tenant", "a"),
        ("tenant", "b"),
    )
    assert outgoing(headers, "tok", "00-new") == (
        ("ce-id", "e1"),
        ("correlation-id", "c1"),
        ("tenant", "a"),
        ("tenant", "b"),
        ("traceparent", "00-new"),
        ("Eventflow-Replay", "tok"),
    )


def progress(
    total: int, claimed: int, *, confirmed: int = 0, failed: int = 0, recent: int = 0, ago: float = 1
) -> Progress:
    return Progress(total, claimed, recent, confirmed, failed, NOW - timedelta(seconds=ago) if claimed else None)


@pytest.mark.parametrize(
    ("given", "send"),
    [
        (progress(500, 0), 1),
        (progress(500, 1), 0),
        (progress(500, 1, confirmed=1), 10),
        (progress(500, 6, confirmed=1), 5),
        (progress(500, 11, confirmed=10), 0),
        (progress(500, 11, confirmed=11), 100),
        (progress(500, 111, confirmed=111), 200),
        (progress(500, 111, confirmed=111, recent=150), 50),
        (progress(500, 1, ago=PATIENCE_SECONDS), 10),
        (progress(1, 0), 1),
        (progress(5, 5, confirmed=1), 0),
    ],
)
def test_a_replay_goes_one_ten_hundred_rest(given: Progress, send: int) -> None:
    assert pace(given, 200, NOW).send == send


def test_a_replay_stops_by_itself_over_a_fifth_of_failures() -> None:
    assert not pace(progress(500, 11, confirmed=8, failed=2), 10, NOW).stop
    assert pace(progress(500, 11, confirmed=7, failed=2), 10, NOW).stop == "Stopped by itself: 2 of 9 failed again"
    assert not pace(progress(1, 1, failed=1), 10, NOW).stop
