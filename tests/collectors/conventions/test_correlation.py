"""Which attribute or header gives a flow its id, and which only look as if they did."""

from typing import Any

import pytest

from collectors.conventions.correlation import find, find_in_headers


@pytest.mark.parametrize(
    "name",
    [
        "messaging.message.conversation_id",
        "messaging.conversation_id",
        "nservicebus.conversation_id",
        "messaging.masstransit.correlation_id",
        "messaging.header.correlation_id",
        "messaging.header.correlation-id",
        "messaging.header.x-correlation-id",
        "messaging.header.ce_correlationid",
        "messaging.header.rbs2-corr-id",
        "messaging.header.JMSCorrelationID",
        "app.correlation_id",
        "correlation_id",
        "correlation-id",
        "order.correlation_id",
        "correlation.id",
        "correlationId",
        "baggage.correlation_id",
        "http.request.header.x-request-id",
    ],
)
def test_names_that_libraries_and_people_choose_are_found(name: str) -> None:
    assert find({"other": "x", name: "order-17"}) == ("order-17", name)


@pytest.mark.parametrize(
    "name",
    [
        "messaging.message.id",
        "aws.request_id",
        "gen_ai.conversation.id",
        "session.id",
        "id",
        "messaging.masstransit.initiator_id",
        "x" * 5000 + ".correlation_id",
    ],
)
def test_other_ids_are_no_correlation_ids(name: str) -> None:
    assert find({name: "17"}) is None


def test_the_more_trusted_key_wins_whatever_the_order_of_sending() -> None:
    attributes = {
        "http.request.header.x-request-id": "call",
        "nservicebus.correlation_id": "reply",
        "app.correlation_id": "chosen",
        "nservicebus.conversation_id": "flow",
        "messaging.message.conversation_id": "otel",
    }
    for expected in ("otel", "flow", "chosen", "reply", "call"):
        found = find(attributes)
        assert found is not None
        assert found[0] == expected
        assert find(dict(reversed(attributes.items()))) == found
        del attributes[found[1]]
    assert find(attributes) is None


def test_the_operators_keys_go_first_in_their_order() -> None:
    attributes = {"messaging.message.conversation_id": "c", "shop.order_id": 17, "tenant.order-no": "n"}
    assert find(attributes, ["Order-No", "order.id"]) == ("n", "tenant.order-no")
    assert find(attributes, ["orderid", "order_no"]) == ("17", "shop.order_id")
    assert find(attributes, ["nothing"]) == ("c", "messaging.message.conversation_id")
    assert find({"gen_ai.conversation.id": "chat"}, ["gen_ai.conversation.id"]) == ("chat", "gen_ai.conversation.id")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["a"], "a"), (["a", "a"], "a"), (["a", "b"], None), ([], None), ("", None), (" ", None), (None, None), (7, "7")],
)
def test_a_captured_header_counts_when_it_is_one_value(value: Any, expected: str | None) -> None:
    found = find({"messaging.header.correlation_id": value})
    assert (found and found[0]) == expected


def test_a_key_without_a_usable_value_gives_way_to_the_next() -> None:
    attributes = {"messaging.header.correlation_id": ["a", "b"], "x-request-id": "r"}
    assert find(attributes) == ("r", "x-request-id")


@pytest.mark.parametrize("sign", [{"messaging.system": "celery"}, {"celery.action": "run"}])
def test_celerys_conversation_id_is_the_tasks_and_no_flows(sign: dict[str, Any]) -> None:
    attributes = {"messaging.conversation_id": "task", "messaging.message.id": "task"} | sign
    assert find(attributes) is None
    assert find(attributes | {"order.correlation_id": "o"}) == ("o", "order.correlation_id")
    assert find(attributes, ["messaging.conversation_id"]) == ("task", "messaging.conversation_id")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("X-Correlation-ID", b"a")], ("a", "X-Correlation-ID")),
        ([("$correlationId", "a")], ("a", "$correlationId")),
        ([("ce_correlationid", b"a"), ("correlation-id", b"b")], ("a", "ce_correlationid")),
        ([("cloudEvents:correlationid", "a")], ("a", "cloudEvents:correlationid")),
        (
            [("NServiceBus.ConversationId", "a"), ("NServiceBus.CorrelationId", "b")],
            ("a", "NServiceBus.ConversationId"),
        ),
        ([("rbs2-corr-id", "a"), ("rbs2-msg-id", "m")], ("a", "rbs2-corr-id")),
        ([("cap-corr-id", "a")], ("a", "cap-corr-id")),
        ([("task", "t"), ("id", "i"), ("root_id", "r"), ("correlation_id", "i")], ("r", "root_id")),
        ([("task", "t"), ("root_id", ""), ("correlation_id", "i")], None),
        ([("correlation-id", "flow"), ("conversation-id", "cause")], ("flow", "correlation-id")),
        ([("axon-message-id", "m"), ("traceId", "root"), ("correlationId", "parent")], ("root", "traceId")),
        ([("axon-message-id", "m"), ("correlationId", "root"), ("causationId", "p")], ("root", "correlationId")),
        ([("correlationId", b"\xff\x00")], None),
        ([("correlation_id", "a"), ("correlation_id", "b")], None),
        ([("correlation_id", "a"), ("correlation_id", "a")], ("a", "correlation_id")),
        ([("Baggage", "tenant=1,correlation_id=a%2Fb;p=1, x")], ("a/b", "baggage correlation_id")),
        ([("traceparent", "00-a-b-01"), ("order", "7")], None),
        ([], None),
    ],
)
def test_headers_are_read_by_the_same_table(headers: Any, expected: Any) -> None:
    assert find_in_headers(headers) == expected


def test_the_operators_keys_hold_for_headers_and_baggage() -> None:
    assert find_in_headers([("correlation_id", "c"), ("Order-No", "7")], ["order_no"]) == ("7", "Order-No")
    assert find_in_headers([("baggage", "order.no=7")], ["order_no"]) == ("7", "baggage order.no")


def test_the_id_is_found_among_very_many_attributes_and_very_long_names_too() -> None:
    for others in ({f"a{number}": number for number in range(60)}, {"a" * 5_000: "b"}):
        assert find({**others, "correlation_id": "order-1"}) == ("order-1", "correlation_id")
