"""Hops are judged by what the application did, never by how many spans its client library made of it."""

import random

import pytest

from eventflow.domain.hop import Context, Side, evidence
from eventflow.domain.hops import hops
from eventflow.domain.observations import Messaging, Operation, Span, SpanKind, SpanStatus
from tests.flow_factory import consume, ident, link, publish, span, trace


def consumed(spans: list[Span]) -> list[tuple[str, tuple[Context, ...]]]:
    return [(hop.span.name, hop.contexts) for hop in hops(spans) if hop.side is Side.CONSUME]


def context(name: str, trace_name: str = "order") -> Context:
    return Context(trace(trace_name), ident(name))


def test_a_span_without_messaging_is_no_hop():
    assert evidence(span("GET /", 0, 1, service="web", kind=SpanKind.SERVER)) is None


def test_broker_housekeeping_is_no_hop():
    declared = span("basic.ack", 0, 1, service="web", kind=SpanKind.CLIENT, messaging=Messaging(system="rabbitmq"))
    assert evidence(declared) is None


def test_an_empty_poll_is_no_hop():
    poll = consume("unknown receive", 0, 1, service="c", from_=None, operation=Operation.RECEIVE, batch_size=0)
    assert evidence(poll) is None


def test_a_receive_of_nothing_known_is_no_hop():
    assert evidence(consume("unknown receive", 0, 1, service="c", from_=None, operation=Operation.RECEIVE)) is None


def test_a_pull_consumer_is_judged_by_operation_not_by_kind():
    poll = consume("poll orders", 0, 1, service="c", from_="orders", operation=Operation.RECEIVE, kind=SpanKind.CLIENT)
    proof = evidence(poll)
    assert proof is not None
    assert proof.side is Side.CONSUME


def test_without_an_operation_the_kind_decides():
    proof = evidence(publish("apply_async", 0, 1, service="web", to="celery", operation=None, system=None))
    assert proof is not None
    assert proof.side is Side.PUBLISH


def test_a_context_that_is_parent_and_link_counts_once():
    spans = [
        publish("send", 0, 1, service="a", to="orders"),
        consume("process", 2, 3, service="b", from_="orders", parent="send", links=[link("order", "send")]),
    ]
    assert consumed(spans) == [("process", (context("send"),))]


def test_of_a_linked_ambient_span_and_a_parent_the_publish_is_the_origin():
    spans = [
        publish("send", 0, 1, service="a", to="orders"),
        span("ambient", 0, 9, service="b", trace_name="loop"),
        consume("process", 2, 3, service="b", from_="orders", parent="send", links=[link("loop", "ambient")]),
    ]
    assert consumed(spans) == [("process", (context("send"),))]


def test_a_batch_has_a_context_and_a_message_id_per_link():
    links = [link("order", f"send {n}", messaging__message__id=f"m{n}") for n in range(3)]
    proof = evidence(consume("process", 0, 1, service="b", from_="orders", links=links))
    assert proof is not None
    assert len(proof.contexts) == 3
    assert proof.message_ids == ("m0", "m1", "m2")


def test_the_poll_loop_around_a_consumer_is_not_where_the_message_came_from():
    spans = [
        span("loop", 0, 9, service="b"),
        consume("process", 2, 3, service="b", from_="orders", parent="loop"),
    ]
    assert consumed(spans) == [("process", ())]


def test_the_group_none_of_spring_is_no_group():
    proof = evidence(consume("p", 0, 1, service="b", from_="orders", group="none"))
    assert proof is not None
    assert proof.group == "b"
    assert proof.rules["group"] == "service.name (inferred)"


@pytest.mark.parametrize(
    ("group", "destination", "expected"),
    [
        ("pay-retry-0", "orders-retry-0", "pay"),
        ("pay-retry-1", "orders-retry-1", "pay"),
        ("pay-dlt", "orders-dlt", "pay"),
        ("pay-dlt", "orders", "pay-dlt"),
    ],
)
def test_the_groups_of_retry_topics_are_one_consumer(group: str, destination: str, expected: str):
    proof = evidence(consume("p", 0, 1, service="b", from_=destination, group=group))
    assert proof is not None
    assert proof.group == expected


def test_an_empty_destination_falls_back_to_the_routing_key():
    proof = evidence(
        consume("p", 0, 1, service="b", from_="", attributes={"messaging.rabbitmq.destination.routing_key": "q"})
    )
    assert proof is not None
    assert proof.destination == "q"
    assert "routing_key" in proof.rules["destination"]


def test_a_record_put_back_because_it_is_not_due_is_no_attempt():
    stack = "o.s.ListenerExecutionFailedException\n\tat x\nCaused by: o.s.KafkaBackoffException: not due"
    early = consume(
        "orders-retry-0 process",
        0,
        1,
        service="b",
        from_="orders-retry-0",
        error=("org.springframework.kafka.listener.ListenerExecutionFailedException", "Listener failed", stack),
    )
    assert evidence(early) is None


def test_the_cause_is_read_from_inside_the_wrapper():
    stack = (
        "o.s.ListenerExecutionFailedException: x\n\tat a\nCaused by: o.s.TimestampedException: y\n"
        "Caused by: com.shop.CardDeclined: no money\n\t... 3 more"
    )
    proof = evidence(
        consume("p", 0, 1, service="b", from_="orders", error=("o.s.ListenerExecutionFailedException", "x", stack))
    )
    assert proof is not None
    assert proof.failure is not None
    assert (proof.failure.name, proof.failure.text) == ("com.shop.CardDeclined", "no money")


def test_an_exception_that_was_caught_is_told_but_is_no_failure():
    proof = evidence(consume("p", 0, 1, service="b", from_="orders", error=("E", "m", ""), status=SpanStatus.UNSET))
    assert proof is not None
    assert not proof.failed
    assert proof.failure is not None


def test_the_nested_producer_doubles_of_pika_are_one_publish():
    spans = [
        publish("outer", 0, 3, service="a", to="orders", title="orders send"),
        publish("inner", 1, 2, service="a", to="orders", parent="outer", title="orders send"),
    ]
    found = hops(spans)
    assert [hop.context for hop in found] == [context("inner")]
    assert found[0].spans == (context("inner"), context("outer"))


def test_create_and_send_of_one_message_are_one_publish():
    spans = [
        publish("create", 0, 1, service="a", to="orders", operation=Operation.CREATE),
        publish("send", 1, 2, service="a", to="orders", kind=SpanKind.CLIENT, links=[link("order", "create")]),
        consume("process", 3, 4, service="b", from_="orders", links=[link("order", "create")]),
    ]
    assert [hop.side for hop in hops(spans)] == [Side.PUBLISH, Side.CONSUME]


def test_a_sent_batch_is_as_many_publishes_as_it_has_messages():
    spans = [
        *(publish(f"create {n}", n, n + 1, service="a", to="orders", operation=Operation.CREATE) for n in range(3)),
        publish(
            "send",
            5,
            6,
            service="a",
            to="orders",
            kind=SpanKind.CLIENT,
            links=[link("order", f"create {n}") for n in range(3)],
        ),
    ]
    assert [hop.span.name for hop in hops(spans)] == ["create 0", "create 1", "create 2"]


def test_receive_and_its_process_child_are_one_delivery():
    """franz-go's kotel without LinkSpans: receive is a child of the producer, process a child of receive."""
    spans = [
        publish("send", 0, 1, service="a", to="orders"),
        consume("receive", 2, 3, service="b", from_="orders", operation=Operation.RECEIVE, parent="send", group="g"),
        consume("process", 3, 4, service="b", from_="orders", parent="receive"),
    ]
    found = [hop for hop in hops(spans) if hop.side is Side.CONSUME]
    assert [(hop.span.name, hop.contexts, hop.group) for hop in found] == [("process", (context("send"),), "g")]


def test_receive_and_process_side_by_side_are_one_delivery():
    """The Java agent's current dialect: poll is a root with links, process links the same record."""
    spans = [
        publish("send", 0, 1, service="a", to="orders"),
        consume(
            "poll orders",
            2,
            3,
            service="b",
            from_="orders",
            operation=Operation.RECEIVE,
            kind=SpanKind.CLIENT,
            trace_name="poll",
            links=[link("order", "send")],
        ),
        consume("process orders", 3, 4, service="b", from_="orders", parent="send", links=[link("order", "send")]),
    ]
    assert [name for name, _ in consumed(spans)] == ["process orders"]


def test_the_three_levels_of_aiokafka_are_one_delivery_a_record():
    spans = [publish(f"send {n}", n, n + 1, service="a", to="orders") for n in range(3)]
    more = {"service": "b", "from_": "orders", "title": "orders receive", "trace_name": "poll"}
    spans.append(consume("poll", 5, 9, operation=Operation.RECEIVE, **more))
    spans.append(consume("partition", 5, 9, operation=Operation.RECEIVE, parent="poll", **more))
    spans.extend(
        consume(
            f"record {n}",
            6,
            9,
            operation=Operation.RECEIVE,
            parent="partition",
            links=[link("order", f"send {n}")],
            **more,
        )
        for n in range(3)
    )
    found = [hop for hop in hops(spans) if hop.side is Side.CONSUME]
    assert sorted(hop.contexts for hop in found) == sorted((context(f"send {n}"),) for n in range(3))
    assert sum(len(hop.folded) for hop in found) == 2


def test_messages_received_and_not_yet_processed_stay_visible():
    spans = [publish(f"send {n}", n, n + 1, service="a", to="orders") for n in range(2)]
    links = [link("order", f"send {n}") for n in range(2)]
    spans.append(
        consume("poll", 5, 9, service="b", from_="orders", operation=Operation.RECEIVE, trace_name="p", links=links)
    )
    spans.append(consume("process", 6, 7, service="b", from_="orders", parent="poll", trace_name="p", links=links[:1]))
    assert sorted(consumed(spans)) == [("poll", (context("send 1"),)), ("process", (context("send 0"),))]


def test_a_nak_settles_the_consumption_around_it_as_failed():
    spans = [
        consume("process", 0, 5, service="b", from_="orders"),
        consume(
            "nak orders", 4, 5, service="b", from_="orders", operation=Operation.SETTLE, outcome="nak", parent="process"
        ),
    ]
    found = hops(spans)
    assert [(hop.span.name, hop.failed, hop.outcome) for hop in found] == [("process", True, "nak")]


def test_order_and_repetition_change_nothing():
    spans = [
        publish("outer", 0, 3, service="a", to="orders", title="orders send"),
        publish("inner", 1, 2, service="a", to="orders", parent="outer", title="orders send"),
        consume("receive", 2, 3, service="b", from_="orders", operation=Operation.RECEIVE, parent="inner"),
        consume("process", 3, 4, service="b", from_="orders", parent="receive"),
        consume("settle", 4, 5, service="b", from_="orders", operation=Operation.SETTLE, parent="process"),
    ]
    expected = hops(spans)
    rng = random.Random(7)
    for _ in range(50):
        mixed = [*spans, *rng.choices(spans, k=3)]
        rng.shuffle(mixed)
        assert hops(mixed) == expected


def test_spans_in_a_circle_end():
    spans = [
        consume("one", 0, 1, service="b", from_="orders", operation=Operation.RECEIVE, parent="two"),
        consume("two", 0, 1, service="b", from_="orders", operation=Operation.RECEIVE, parent="one"),
    ]
    assert sum(len(hop.spans) for hop in hops(spans)) == 2
