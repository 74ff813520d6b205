"""JetStream's answers, also odd and broken ones, become observations or nothing: never an exception."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.nats import parse

AT = datetime(2026, 11, 25, 15, tzinfo=UTC)
ORDERS: dict[str, Any] = {
    "config": {"name": "ORDERS", "subjects": ["orders.>"]},
    "state": {"messages": 3, "first_seq": 1, "last_seq": 3},
}


def consumer(**more: Any) -> dict[str, Any]:
    config = {"durable_name": "payment", "filter_subject": "orders.placed"} | more.pop("config", {})
    return {
        "name": "payment",
        "config": config,
        "delivered": {"consumer_seq": 0, "stream_seq": 0},
        "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
        "num_pending": 0,
        "num_ack_pending": 0,
    } | more


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
        ("orders.placed.eu", "orders.placed", False),
        ("orders.placed", "orders.placed.eu", False),
    ],
)
def test_patterns_match_as_nats_matches_them(pattern: str, subject: str, matches: bool) -> None:
    assert parse.subject_matches(pattern, subject) is matches


@pytest.mark.parametrize(
    ("subjects", "filters", "shown"),
    [
        (["orders.>"], ["orders.placed"], "orders.placed"),
        (["orders.>"], ["orders.*"], "orders.*"),
        (["orders.>"], ["orders.placed", "orders.cancelled"], "ORDERS"),
        (["orders.placed"], [], "orders.placed"),
        (["orders.>", "carts.>"], [], "ORDERS"),
        (["orders.>"], [">"], "ORDERS"),
    ],
)
def test_a_consumer_is_shown_at_what_it_reads(subjects: list[str], filters: list[str], shown: str) -> None:
    assert parse.shown_destination("ORDERS", subjects, filters) == shown


def test_ready_messages_are_looked_for_after_the_last_delivered_one() -> None:
    behind = consumer(num_pending=2, delivered={"stream_seq": 10}, ack_floor={"stream_seq": 3}, num_ack_pending=1)
    assert parse.waiting_position(behind) == 11


def test_messages_in_flight_are_looked_for_after_the_ack_floor_and_past_what_was_given_up() -> None:
    working = consumer(num_ack_pending=1, delivered={"stream_seq": 10}, ack_floor={"stream_seq": 3})
    assert parse.waiting_position(working) == 4
    assert parse.waiting_position(working, {4, 5}) == 6


def test_nothing_is_looked_for_when_nothing_waits_although_the_floor_is_behind() -> None:
    assert parse.waiting_position(consumer(delivered={"stream_seq": 10}, ack_floor={"stream_seq": 3})) is None


def test_a_paused_consumer_is_told_as_paused() -> None:
    lag = parse.lag("shop", ORDERS, consumer(paused=True), at=AT, oldest_at=None)
    assert lag.paused


def test_what_the_server_does_not_tell_is_unknown_and_not_zero() -> None:
    silent = {"name": "payment", "config": {"durable_name": "payment"}}
    lag = parse.lag("shop", {"config": {"name": "ORDERS"}}, silent, at=AT, oldest_at=None)
    assert (lag.ready, lag.in_flight, lag.delivered_total, lag.settled_total) == (None, None, None, None)
    assert lag.unknown_reason


def test_a_work_queue_that_keeps_only_what_waits_is_no_danger_of_losing_it() -> None:
    def lost(retention: str) -> int | None:
        stream = ORDERS | {"config": ORDERS["config"] | {"retention": retention}}
        return parse.lag("shop", stream, consumer(), at=AT, oldest_at=None).lost

    assert [lost(retention) for retention in ("limits", "workqueue", "interest")] == [None, 0, 0]


def test_published_counts_are_told_only_where_the_stream_proves_them() -> None:
    counts = {"orders.placed": 2, "orders.cancelled": 1}
    state = ORDERS["state"]
    assert parse.published_total(state, counts, ("orders.placed",)) == 2
    assert parse.published_total(state, counts, ("orders.*",)) == 3
    assert parse.published_total(state, counts, ()) == 3
    assert parse.published_total(state | {"first_seq": 2}, counts, ("orders.placed",)) is None
    assert parse.published_total(state | {"num_deleted": 1}, counts, ("orders.placed",)) is None
    assert parse.published_total(state, None, ("orders.placed",)) is None


def test_headers_keep_their_order_their_doubles_and_bytes_that_are_no_text() -> None:
    raw = b"NATS/1.0\r\nvia: a\r\nvia: b\r\nraw: \xff\r\nempty:\r\ntime: 12:30\r\n\r\n"
    assert parse.headers(raw) == (("via", "a"), ("via", "b"), ("raw", "base64:/w=="), ("empty", ""), ("time", "12:30"))


def test_a_directly_read_message_is_the_same_message() -> None:
    told = {
        "Nats-Stream": "ORDERS",
        "Nats-Subject": "orders.placed",
        "Nats-Sequence": "7",
        "Nats-Time-Stamp": "2026-11-25T15:00:00Z",
        "ce-id": "e1",
    }
    message = parse.direct_message("ORDERS", told, b"{}")
    assert message == parse.Message("ORDERS", "orders.placed", 7, AT, (("ce-id", "e1"),), b"{}")
    assert parse.direct_message("ORDERS", {"Status": "404"}, b"") is None


def test_what_is_no_base64_is_no_payload() -> None:
    message = parse.stored_message("S", {"seq": 1, "data": "\x80", "hdrs": "x"})
    assert message is not None
    assert (message.data, message.headers) == (b"", ())


def test_gos_zero_time_is_no_time() -> None:
    assert parse.moment("0001-01-01T00:00:00Z") is None
    assert parse.moment("2026-11-25T15:00:00.123456789Z") == AT.replace(microsecond=123456)


def test_other_advisories_are_not_taken_for_given_up_messages() -> None:
    assert (
        parse.advisory(b'{"type":"io.nats.jetstream.advisory.v1.nak","stream":"S","consumer":"c","stream_seq":1}')
        is None
    )
    assert parse.advisory(b"no json") is None
    assert parse.advisory(b"[]") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_headers_or_none(raw: bytes) -> None:
    parse.headers(raw)
    parse.advisory(raw)


@given(json_values, json_values, json_values, json_values)
def test_any_message_answer_is_a_message_or_none(seq: Any, data: Any, hdrs: Any, time: Any) -> None:
    parse.stored_message("S", {"seq": seq, "data": data, "hdrs": hdrs, "time": time})
