"""Instrumentation health: which dialect, what is missing, and the sentences that follow."""

import pytest

from eventflow.domain.instrumentation import Library, consumes, dialect, missing, sentences
from eventflow.domain.observations import Messaging, Operation, Span, SpanKind


def span(**messaging: object) -> Span:
    said = Messaging(**messaging) if messaging else None  # type: ignore[arg-type]  # a test's own words
    return Span("a" * 32, "b" * 16, None, "poll", SpanKind.CONSUMER, 1, 2, "billing", messaging=said)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (("messaging.system", "messaging.operation.type"), "1.27 and later"),
        (("messaging.kafka.consumer.group", "messaging.operation"), "1.21 to 1.26"),
        (("messaging.source.name",), "1.17 to 1.20"),
        (("messaging.destination", "messaging.message.id"), "1.16 or older"),
        (("messaging.destination", "messaging.consumer.group.name"), "1.27 and later and 1.16 or older"),
        (("celery.task_name", "span kind"), "own"),
        (("messaging.system", "messaging.destination.name"), "any"),
    ],
)
def test_a_dialect_is_told_by_the_attributes_that_gave_something(attributes: tuple[str, ...], words: str) -> None:
    assert dialect(span(system="kafka", rules=dict(enumerate(attributes)))) == words


def test_only_consumers_lack_a_group_and_an_offset_is_as_good_as_an_id() -> None:
    consumer = span(destination="orders", operation=Operation.PROCESS, offset="7", correlation_id="o-1")
    assert missing(consumer) == ("group",)
    assert consumes(consumer)
    assert missing(span(operation=Operation.SEND)) == ("destination", "message_id", "correlation_id")
    assert missing(span()) == ()


def test_what_is_missing_everywhere_is_said_plainly_and_else_with_its_share() -> None:
    library = Library(
        "billing", "opentelemetry.instrumentation.confluent-kafka", "any", 10, 4, {"group": 4, "correlation_id": 5}
    )
    group, correlation = sentences(library)
    assert group == "confluent-kafka sends no consumer group: Eventflow shows the service's name instead."
    assert correlation.startswith("confluent-kafka, in 50 % of its spans, sends no correlation id")
    assert sentences(Library("billing", "kafkajs", "any", 10, 0, {"group": 0})) == []


def test_a_library_without_a_name_is_spoken_of_all_the_same() -> None:
    assert sentences(Library("billing", "", "any", 1, 1, {"destination": 1}))[0].startswith("This library names no")
