"""Headers of dead letters: home-made names, frameworks, standards, and hostile ones."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.conventions.dead_letters import (
    MAX_FIELD_CHARS,
    MAX_HEADERS,
    MAX_HEADERS_CHARS,
    capped,
    instant,
    named_like_dead_letters,
    named_origin,
    number,
    read,
)
from eventflow.domain.observations import DeadLetter

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("x-original-subject", "destination"),
        ("X-Original-Topic", "destination"),
        ("dlq.origin.topic", "destination"),
        ("dlq_source_queue", "destination"),
        ("beavers-dlq-origin-topic", "destination"),
        ("x-original-consumer", "group"),
        ("dlq-consumer-group", "group"),
        ("x-exception-type", "error_type"),
        ("dlq.error.class", "error_type"),
        ("failureType", "error_type"),
        ("x-exception-message", "error_message"),
        ("dlq.error", "error_message"),
        ("x-last-error", "error_message"),
        ("dlq_reason", "error_message"),
        ("x-stacktrace", "stack"),
        ("x-exception-stacktrace", "stack"),
    ],
)
def test_home_made_names_are_known_by_their_words(name: str, role: str) -> None:
    found = read([(name, "something")])
    assert found.fields[role] == "something"
    assert found.evidence[role] == f"header {name}"


@pytest.mark.parametrize(
    ("name", "value", "attempts"),
    [
        ("x-attempts", "4", 4),
        ("x-retry-count", "4", 4),
        ("retryCount", "4", 4),
        ("dlq.retry.attempt", "4", 4),
        ("x-delivery-count", "four", None),
        ("x-delivery-count", "", None),
    ],
)
def test_attempts_are_numbers_or_nothing(name: str, value: str, attempts: int | None) -> None:
    assert read([(name, value)]).fields.get("attempts") == attempts


def test_single_common_words_count_only_with_a_prefix_or_where_letters_are_known_to_lie() -> None:
    bare = [("error", "boom"), ("reason", "because"), ("timestamp", "2026-11-25T15:00:00Z")]
    assert set(read(bare).fields) == {"convention"}
    assert read(bare, known=True).fields["error_message"] == "boom"


def test_a_prefixed_name_is_believed_before_a_bare_one() -> None:
    assert read([("error", "bare"), ("x-error", "prefixed")], known=True).fields["error_message"] == "prefixed"


def test_the_original_message_is_named_by_its_stream_and_sequence() -> None:
    found = read([("x-original-stream", "ORDERS"), ("x-original-sequence", "17")])
    assert (found.container, found.offset) == ("ORDERS", 17)


def test_only_why_and_where_together_prove_a_letter() -> None:
    assert not read([("x-retry-count", "2"), ("x-original-topic", "orders")]).proved
    assert not read([("x-error-message", "boom")]).proved
    assert read([("x-error-message", "boom"), ("x-original-topic", "orders")]).proved


def test_standards_fill_what_failure_headers_leave_open() -> None:
    found = read(
        [
            ("ce-id", "e1"),
            ("ce-type", "orders.placed"),
            ("ce-time", "2026-11-25T15:00:00Z"),
            ("Nats-Msg-Id", "other"),
            ("content-type", "application/json"),
            ("X-Correlation-Id", "order-1"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("Eventflow-Replay", "token"),
        ]
    ).fields
    assert (found["message_id"], found["event_type"], found["content_type"]) == (
        "e1",
        "orders.placed",
        "application/json",
    )
    assert found["published_at"] == datetime(2026, 11, 25, 15, tzinfo=UTC)
    assert (found["correlation_id"], found["replay_token"]) == ("order-1", "token")
    assert (found["trace_id"], found["span_id"]) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert found["convention"] is None


def test_the_operators_own_correlation_key_comes_first() -> None:
    headers = [("x-correlation-id", "c"), ("tenant-order", "o")]
    assert read(headers, correlation_keys=("tenant-order",)).fields["correlation_id"] == "o"


def test_a_stack_trace_that_was_put_on_one_line_has_its_lines_again() -> None:
    folded = 'Traceback:\\n  File "x"\\n\\tboom'
    assert read([("x-stacktrace", folded)]).fields["stack"] == 'Traceback:\n  File "x"\n\tboom'
    assert read([("x-stacktrace", "C:\\new\nline")]).fields["stack"] == "C:\\new\nline"


def test_springs_letters_tell_the_cause_and_not_the_wrapper() -> None:
    found = read(
        [
            ("kafka_dlt-original-topic", "orders"),
            ("kafka_dlt-original-offset", "\x00\x00\x00\x00\x00\x00\x00\x11"),
            ("kafka_dlt-exception-fqcn", "ListenerExecutionFailedException"),
            ("kafka_dlt-exception-cause-fqcn", "GiftCardException"),
            ("kafka_dlt-original-consumer-group", "payment"),
            ("retry_topic-attempts", "\x00\x00\x00\x01"),
            ("retry_topic-attempts", "\x00\x00\x00\x03"),
        ]
    )
    assert found.fields["convention"] == "Spring for Apache Kafka"
    assert (found.fields["error_type"], found.evidence["error_type"]) == (
        "GiftCardException",
        "header kafka_dlt-exception-cause-fqcn",
    )
    assert (found.fields["attempts"], found.offset, found.fields["group"]) == (3, 17, "payment")
    assert found.proved


def test_connects_letters_are_read() -> None:
    found = read(
        [
            ("__connect.errors.topic", "orders"),
            ("__connect.errors.connector.name", "sink"),
            ("__connect.errors.exception.class.name", "DataException"),
        ]
    )
    assert found.fields["convention"] == "Kafka Connect"
    assert (found.fields["destination"], found.fields["group"]) == ("orders", "sink")


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("DLQ", "strong"),
        ("dlq.payment", "strong"),
        ("orders-dlt", "strong"),
        ("orders.dead-letter", "strong"),
        ("OrdersDeadLetter", "strong"),
        ("payment_poison", "strong"),
        ("payments.failed", "weak"),
        ("errors.payment", "weak"),
        ("orders.placed", None),
        ("deadline.passed", None),
        ("terrors.at-night", None),
    ],
)
def test_places_are_recognised_by_words_and_not_by_parts_of_words(name: str, strength: str | None) -> None:
    assert named_like_dead_letters(name) == strength


def test_a_places_name_tells_its_origin() -> None:
    assert named_origin("dlq.payment") == "payment"
    assert named_origin("orders.placed.dlq") == "orders.placed"
    assert named_origin("DLQ") is None


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("2026-11-25T15:00:00.123456789Z", 2026),
        ("2026-11-25T15:00:00", 2026),
        ("1764082800", 2025),
        ("1764082800000", 2025),
        ("1764082800000000000", 2025),
        ("2026-11-25 15:00:00:000001 Z", 2026),
        ("yesterday", None),
        ("9" * 18, None),
        ("12", None),
        ("", None),
    ],
)
def test_instants_come_in_many_spellings(text: str, year: int | None) -> None:
    found = instant(text)
    assert (found.year if found else None) == year
    assert found is None or found.tzinfo is UTC


def test_numbers_are_text_or_big_endian_bytes() -> None:
    assert number("17") == 17
    assert number("\x00\x00\x00\x05") == 5
    assert number("base64:" + base64.b64encode(b"\x00\x00\x01\x99").decode()) == 409
    assert number("9" * 40) is None
    assert number("seventeen") is None
    assert number("base64:\x80") is None


def test_too_many_or_too_long_headers_are_cut_and_it_is_said() -> None:
    assert capped([("a", "b")]) == ((("a", "b"),), None)
    many, said = capped([("n", "v")] * (MAX_HEADERS + 5))
    assert (len(many), said) == (MAX_HEADERS, "headers were cut to what is stored")
    long, said = capped([("n", "v" * 10**6)] * 20)
    assert sum(len(value) for _, value in long) <= MAX_HEADERS_CHARS
    assert said
    assert len(read([("x-error-type", "E" * 10**6)]).fields["error_type"]) == MAX_FIELD_CHARS


names = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["x-error", "x-attempts", "x-failed-at", "ce-time", "traceparent", "kafka_dlt-original-offset"]),
)


@given(st.lists(st.tuples(names, st.text(max_size=60)), max_size=12), st.booleans())
def test_whatever_stands_in_headers_gives_fields_that_a_letter_takes(
    headers: list[tuple[str, str]], known: bool
) -> None:
    found = read(headers, known=known)
    letter = DeadLetter("shop", "nats", "dlq", "1", NOW, **found.fields, evidence=found.evidence)
    assert set(found.evidence) <= set(found.fields)
    for moment in (letter.failed_at, letter.published_at):
        assert moment is None or moment.tzinfo is not None


def test_a_retry_topics_letter_tells_the_cause_the_last_attempt_and_where_it_began() -> None:
    found = read(
        [
            ("kafka_original-topic", "orders"),
            ("kafka_original-partition", "base64:AAAAAg=="),
            ("kafka_original-offset", "base64:AAAAAAAAABE="),
            ("kafka_original-topic", "orders-retry-0"),
            ("kafka_exception-fqcn", "org.springframework.kafka.listener.ListenerExecutionFailedException"),
            ("kafka_exception-cause-fqcn", "shop.FirstFailure"),
            ("kafka_exception-cause-fqcn", "shop.GiftCardException"),
            ("kafka_dlt-original-consumer-group", "payment"),
            ("retry_topic-attempts", "base64:AAAAAQ=="),
            ("retry_topic-attempts", "base64:AAAABA=="),
            ("retry_topic-original-timestamp", "base64:AZq8FkKA"),
        ]
    )
    assert (found.fields["destination"], found.partition, found.offset) == ("orders", 2, 17)
    assert (found.fields["error_type"], found.fields["attempts"]) == ("shop.GiftCardException", 4)
    assert found.fields["group"] == "payment"
    assert found.fields["published_at"] == datetime.fromtimestamp(0x019ABC164280 / 1000, UTC)
    assert found.proved


def test_a_leaked_delivery_attempt_is_four_bytes() -> None:
    found = read([("kafka_dlt-original-topic", "orders"), ("kafka_deliveryAttempt", "base64:AAAAAw==")])
    assert found.fields["attempts"] == 3


@pytest.mark.parametrize("prefix", ["__connect.errors.", "__streams.errors.", "__dlq.errors."])
def test_connects_streams_and_share_groups_numbers_are_text(prefix: str) -> None:
    found = read([(f"{prefix}topic", "orders"), (f"{prefix}partition", "0"), (f"{prefix}offset", "17")])
    assert (found.fields["destination"], found.partition, found.offset) == ("orders", 0, 17)


def test_a_share_groups_letter_tells_its_group_reason_and_deliveries() -> None:
    found = read(
        [
            ("__dlq.errors.topic", "orders"),
            ("__dlq.errors.group", "pickers"),
            ("__dlq.errors.delivery.count", "5"),
            ("__dlq.errors.message", "The delivery count limit is exceeded"),
        ]
    )
    assert (found.fields["group"], found.fields["attempts"]) == ("pickers", 5)
    assert found.proved


def test_spring_rabbits_republished_letter_has_no_class_and_is_a_letter_all_the_same() -> None:
    found = read(
        [
            ("x-exception-message", "no balance"),
            ("x-original-exchange", "orders"),
            ("x-original-routingKey", "orders.placed"),
        ]
    )
    assert (found.fields["error_message"], found.fields["destination"]) == ("no balance", "orders.placed")
    assert found.proved


def death(queue: str, reason: str, count: int, time: int = 1_795_622_868) -> dict[str, object]:
    return {"queue": queue, "reason": reason, "count": count, "time": time, "exchange": "", "routing-keys": [queue]}


def test_rabbitmqs_deaths_are_those_of_the_queue_that_failed_and_not_of_the_one_where_it_waited() -> None:
    table = json.dumps([death("payment.wait", "expired", 3), death("payment", "rejected", 4)])
    found = read([("x-death", table), ("x-first-death-queue", "payment.wait")])
    assert (found.fields["destination"], found.fields["group"]) == ("payment", "payment")
    assert (found.fields["error_message"], found.fields["attempts"]) == ("rejected", 4)
    assert (found.fields["convention"], found.proved) == ("RabbitMQ", True)
    assert found.evidence["attempts"] == "header x-death"
    assert "failed_at" not in found.fields  # the table keeps the first failure's time


def test_one_death_tells_its_time_in_seconds_and_the_newest_counts_where_nothing_failed() -> None:
    one = read([("x-death", json.dumps([death("payment", "delivery_limit", 1)]))])
    assert one.fields["failed_at"] == datetime.fromtimestamp(1_795_622_868, UTC)
    assert one.fields["error_message"] == "delivery limit"
    waited = read([("x-death", json.dumps([death("b", "maxlen", 1), death("a", "expired", 1)]))])
    assert (waited.fields["destination"], waited.fields["error_message"]) == ("b", "maxlen")


@pytest.mark.parametrize("text", ["", "no json", "{}", "[]", "[1]", '[{"queue": 5, "count": true, "reason": null}]'])
def test_an_x_death_that_is_no_table_tells_nothing(text: str) -> None:
    assert read([("x-death", text)]).fields.keys() <= {"convention"}


def test_without_the_table_the_flat_headers_of_rabbitmq_tell_the_rest() -> None:
    found = read([("x-first-death-queue", "payment"), ("x-first-death-reason", "rejected")])
    assert (found.fields["destination"], found.fields["error_message"]) == ("payment", "rejected")
