"""A flow tells what happened to each message: who published it, who got it, who still waits, what came of failures."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import (
    Delivery,
    DeliveryStatus,
    Flow,
    FlowStatus,
    JoinedBy,
    LetterStatus,
    ReplayState,
    summarise,
)
from eventflow.domain.hop import Context
from eventflow.domain.observations import Operation, Span, SpanKind, SpanStatus
from eventflow.domain.timeline import timeline
from tests.flow_factory import (
    GIFT_CARD,
    KEY,
    MS,
    at,
    consume,
    failed_order,
    flow,
    ident,
    letter,
    link,
    publish,
    replay,
    replayed_order,
    span,
    trace,
)


def deliveries(found: Flow) -> list[tuple[str | None, str]]:
    return [(p.destination, d.service) for p in found.publications() for d in p.deliveries]


def only(found: Flow) -> Delivery:
    (delivery,) = found.deliveries()
    return delivery


def test_one_publish_read_by_several_groups_is_a_fan_out():
    (root,) = flow().roots
    assert [d.group for d in root.deliveries] == [
        "inventory",
        "email-confirmations",
        "payment",
        "fraud-check",
        "audit-orders",
    ]


def test_the_same_message_again_in_one_group_is_an_attempt_of_one_delivery():
    payment = next(d for d in flow().deliveries() if d.service == "payment-service")
    assert [a.number for a in payment.attempts] == [1, 2, 3, 4]
    assert [(end - start) // MS for start, end in payment.backoffs] == [1000, 2000, 4000]
    assert payment.wait_ns == 2808 * MS


def test_what_is_published_deep_inside_a_consumers_work_is_caused_by_its_delivery():
    inventory = next(d for d in flow().deliveries() if d.service == "inventory-service")
    (reserved,) = inventory.caused
    assert reserved.destination == "inventory.reserved"
    assert [d.service for d in reserved.deliveries] == ["shipping-service"]


def test_a_dead_letter_publish_is_the_deliverys_end_and_no_event():
    found = flow()
    payment = next(d for d in found.deliveries() if d.service == "payment-service")
    assert payment.status is DeliveryStatus.DEAD_LETTERED
    assert payment.dead_lettering is not None
    assert payment.dead_lettering.destination == "dlq.payment"
    assert not payment.dead_lettering.certain
    assert summarise(found).destinations == ("orders.placed", "inventory.reserved")
    assert (found.status, found.status_place) == (FlowStatus.DEAD_LETTERED, "payment-service")


def test_a_letter_makes_the_dead_lettering_certain():
    payment = next(d for d in flow(letters=[letter()]).deliveries() if d.service == "payment-service")
    assert payment.dead_lettering is not None
    assert payment.dead_lettering.letter == letter()
    assert payment.dead_lettering.certain


def test_a_destination_that_only_sounds_dead_is_an_event_when_no_delivery_sent_it():
    found = flow([publish("p", 0, 1, service="web", to="user.errors")])
    assert summarise(found).events == 1
    assert found.status is FlowStatus.WAITING


def test_a_letter_made_by_the_broker_keeps_the_original_context_and_is_placed_by_its_group():
    spans = [s for s in failed_order() if s.name != "dead publish"]
    found = flow(spans, [letter(span_id=ident("placed"), location="orders.dead")])
    payment = next(d for d in found.deliveries() if d.service == "payment-service")
    assert payment.dead_lettering is not None
    assert payment.dead_lettering.publication is None
    assert not found.unplaced_letters


def test_a_letter_whose_context_starts_a_new_trace_is_placed_by_message_id():
    spans = [s for s in failed_order() if s.name != "dead publish"]
    spans.append(publish("dead publish", 11_925, 11_934, service="payment-service", to="dlq.payment", trace_name="new"))
    found = flow(spans, [letter(trace_id=trace("new"))])
    payment = next(d for d in found.deliveries() if d.service == "payment-service")
    assert payment.dead_lettering is not None
    assert payment.dead_lettering.publication is not None
    assert len(found.roots) == 1


def test_a_letter_without_any_span_still_makes_the_flow_dead_lettered():
    found = flow([publish("placed", 0, 1, service="web", to="orders.placed")], [letter(message_id="other")])
    assert [x.id for x in found.unplaced_letters] == ["17"]
    assert (found.status, found.status_place) == (FlowStatus.DEAD_LETTERED, "payment-service")


def test_a_letter_alone_is_a_flow():
    found = flow([], [letter()])
    assert found.kind == "correlation"
    assert found.key_origin is not None
    assert found.key_origin.rule.startswith("dead letter")


def test_an_in_memory_retry_shows_as_dead_lettered_though_no_span_failed():
    spans = [
        publish("placed", 0, 1, service="web", to="orders"),
        consume("work", 2, 9, service="pay", from_="orders", links=[link("order", "placed")]),
        publish("parked", 8, 9, service="pay", to="orders.dlq", parent="work"),
    ]
    assert flow(spans).status is FlowStatus.DEAD_LETTERED


def test_a_replay_that_succeeds_recovers_the_flow():
    found = flow(replayed_order(), [letter()], [replay()], consumers={"orders.placed": set()})
    payment = next(d for d in found.deliveries() if d.service == "payment-service")
    assert payment.status is DeliveryStatus.RECOVERED
    assert [d.service for d in payment.replays[0].deliveries] == ["payment-service"]
    assert (found.status, found.status_place) == (FlowStatus.RECOVERED, "payment-service")
    assert {m.name: m.state for m in found.services}["payment-service"] == "recovered"


def test_a_replay_that_fails_again_leaves_the_flow_dead_lettered():
    found = flow(replayed_order(well=False), [letter()], [replay()])
    assert found.status is FlowStatus.DEAD_LETTERED


def test_after_one_replay_failed_and_the_next_succeeded_the_flow_is_recovered():
    later = replay("r2", trace_id=trace("second"), span_id=ident("second send"), at=at(90_000))
    spans = [
        *replayed_order(well=False),
        consume(
            "payment third",
            90_020,
            90_090,
            service="payment-service",
            group="payment",
            from_="orders.placed",
            links=[link("second", "second send")],
            trace_name="second",
        ),
    ]
    found = flow(spans, [letter()], [replay(), later])
    assert found.status is FlowStatus.RECOVERED


def test_a_replay_under_way_is_running():
    found = flow(None, [letter()], [replay(state=ReplayState.QUEUED, trace_id=None, span_id=None)])
    assert (found.status, found.status_place) == (FlowStatus.RUNNING, "payment-service")


def test_a_replay_the_ledger_confirmed_counts_even_where_its_spans_are_not_here():
    assert flow(None, [letter()], [replay(state=ReplayState.CONFIRMED)]).status is FlowStatus.RECOVERED


def test_a_letter_replayed_without_its_ledger_counts_as_recovered():
    assert flow(None, [letter(status=LetterStatus.REPLAYED)]).status is FlowStatus.RECOVERED


def test_a_publication_nobody_consumed_waits():
    found = flow([publish("placed", 0, 1, service="web", to="orders.placed")])
    assert (found.status, found.status_place) == (FlowStatus.WAITING, "orders.placed")


def test_a_publication_waits_at_the_group_that_has_not_had_it():
    found = flow(
        [
            publish("placed", 0, 1, service="web", to="orders.placed"),
            consume("audit", 2, 3, service="audit-log", group="audit", from_="orders.placed", parent="placed"),
        ],
        consumers={"orders.placed": {"audit", "payment"}},
    )
    assert (found.status, found.status_place) == (FlowStatus.WAITING, "payment")
    assert [(m.name, m.state) for m in found.services][-1] == ("payment", "waiting")


def test_a_publication_that_nobody_is_known_to_read_does_not_wait():
    found = flow([publish("placed", 0, 1, service="web", to="orders.placed")], consumers={})
    assert found.status is FlowStatus.COMPLETED


def test_a_young_failure_may_be_tried_again_and_an_old_one_is_failed():
    spans = [
        publish("placed", 0, 1, service="web", to="orders"),
        consume("work", 2, 9, service="pay", from_="orders", parent="placed", error=GIFT_CARD),
    ]
    assert flow(spans, now=1000).status is FlowStatus.RUNNING
    assert flow(spans, now=60_000).status is FlowStatus.FAILED


def test_a_failed_attempt_followed_by_a_good_one_is_ok():
    spans = [
        publish("placed", 0, 1, service="web", to="orders"),
        consume("one", 2, 9, service="pay", from_="orders", parent="placed", error=GIFT_CARD),
        consume("two", 20, 29, service="pay", from_="orders", parent="placed"),
    ]
    assert only(flow(spans)).status is DeliveryStatus.OK


def test_a_retry_through_a_retry_topic_counts_by_its_last_delivery():
    spans = [
        publish("placed", 0, 1, service="web", to="orders"),
        consume("one", 2, 9, service="pay", group="g", from_="orders", parent="placed", error=GIFT_CARD),
        publish("again", 8, 9, service="pay", to="orders-retry-0", parent="one"),
        consume("two", 20, 29, service="pay", group="g-retry-0", from_="orders-retry-0", parent="again"),
    ]
    found = flow(spans)
    assert [d.group for d in found.deliveries()] == ["g", "g"]
    assert found.status is FlowStatus.COMPLETED


def test_a_consumer_that_starts_before_its_producer_ends_has_waited_from_the_producers_start():
    spans = [
        publish("placed", 0, 50, service="web", to="orders"),
        consume("work", 20, 60, service="pay", from_="orders", parent="placed"),
    ]
    delivery = only(flow(spans))
    assert delivery.wait_ns == 20 * MS
    assert delivery.skew_ns == 0


def test_a_wait_is_never_negative_and_the_skew_is_told():
    spans = [
        publish("placed", 5000, 5010, service="web", to="orders"),
        consume("work", 0, 10, service="pay", from_="orders", parent="placed"),
    ]
    delivery = only(flow(spans))
    assert (delivery.wait_ns, delivery.skew_ns) == (0, 5000 * MS)


def test_messages_of_a_batch_that_share_one_creation_context_are_different_deliveries():
    spans = [
        publish("send", 0, 1, service="web", to="orders"),
        *(
            consume(f"work {n}", 2 + n, 3 + n, service="pay", from_="orders", parent="send", offset=str(n))
            for n in range(3)
        ),
    ]
    assert [len(d.attempts) for d in flow(spans).deliveries()] == [1, 1, 1]


def test_a_batch_span_delivers_every_message_it_links():
    spans = [publish(f"send {n}", n, n + 1, service="web", to="orders") for n in range(3)]
    spans.append(
        consume("batch", 9, 10, service="pay", from_="orders", links=[link("order", f"send {n}") for n in range(3)])
    )
    found = flow(spans)
    assert len(list(found.deliveries())) == 3
    assert {d.joined_by for d in found.deliveries()} == {JoinedBy.LINK}


def test_a_message_id_joins_what_no_context_joins():
    spans = [
        publish("send", 0, 1, service="web", to="orders", message_id="m1"),
        consume("work", 2, 3, service="pay", from_="orders", message_id="m1", trace_name="alone"),
    ]
    assert only(flow(spans)).joined_by is JoinedBy.MESSAGE_ID


def test_a_broker_position_joins_what_no_context_joins():
    spans = [
        publish("send", 0, 1, service="web", to="orders", offset="42"),
        consume("work", 2, 3, service="pay", from_="orders", offset="42", trace_name="alone"),
    ]
    assert only(flow(spans)).joined_by is JoinedBy.POSITION


def test_correlation_id_destination_and_order_join_last_and_are_marked_as_guessed():
    spans = [
        publish("first", 0, 1, service="web", to="orders"),
        publish("second", 5, 6, service="web", to="orders"),
        consume("work 1", 7, 8, service="pay", from_="orders", trace_name="a"),
        consume("work 2", 9, 10, service="pay", from_="orders", trace_name="b"),
    ]
    found = flow(spans)
    assert [len(p.deliveries) for p in found.roots] == [1, 1]
    assert {d.joined_by for d in found.deliveries()} == {JoinedBy.GUESSED}


def test_a_consumer_whose_publisher_was_not_seen_is_shown_below_an_unseen_one():
    found = flow([consume("work", 2, 3, service="pay", from_="orders", links=[link("elsewhere", "send")])])
    (root,) = found.roots
    assert root.service is None
    assert only(found).joined_by is JoinedBy.NOTHING
    assert only(found).wait_ns is None
    assert found.status is FlowStatus.COMPLETED


def test_two_groups_with_one_unseen_publisher_share_it():
    links = [link("elsewhere", "send")]
    found = flow(
        [
            consume("work", 2, 3, service="pay", from_="orders", links=links),
            consume("watch", 2, 3, service="audit", from_="orders", links=links),
        ]
    )
    assert len(found.roots) == 1


def test_a_context_taken_from_an_ordinary_span_names_its_service_as_publisher():
    found = flow(
        [
            span("handler", 0, 5, service="web"),
            consume("work", 9, 10, service="pay", from_="orders", parent="handler"),
        ]
    )
    assert [p.service for p in found.roots] == ["web"]


def test_what_an_iterating_consumer_publishes_in_a_new_trace_is_guessed_to_be_its_doing():
    """aiokafka and aio-pika end the consumer's span before the user's code runs."""
    spans = [
        publish("placed", 0, 1, service="web", to="orders"),
        consume("receive", 2, 3, service="pay", from_="orders", parent="placed", operation=Operation.RECEIVE),
        publish("paid", 8, 9, service="pay", to="payments", trace_name="new"),
    ]
    (caused,) = only(flow(spans, consumers={})).caused
    assert caused.destination == "payments"
    assert caused.guessed


def test_celery_retries_hang_below_each_other():
    spans = [publish("apply 0", 0, 1, service="web", to="celery", message_id="task")]
    for n in range(3):
        spans.append(consume(f"run {n}", n * 9 + 2, n * 9 + 5, service="w", from_="celery", parent=f"apply {n}"))
        if n < 2:
            spans.append(
                publish(
                    f"apply {n + 1}",
                    n * 9 + 4,
                    n * 9 + 5,
                    service="w",
                    to="celery",
                    parent=f"run {n}",
                    message_id="task",
                )
            )
    found = flow(spans)
    assert len(found.roots) == 1
    assert deliveries(found) == [("celery", "w")] * 3


def test_a_failed_send_is_a_failed_flow():
    found = flow([publish("placed", 0, 1, service="web", to="orders", error=("Timeout", "no ack", ""))])
    assert (found.status, found.status_place) == (FlowStatus.FAILED, "web")


def test_a_flow_without_messages_fails_with_its_root_span():
    found = flow([span("GET /", 0, 9, service="web", kind=SpanKind.SERVER, status=SpanStatus.ERROR)])
    assert (found.status, found.status_place) == (FlowStatus.FAILED, "web")


def test_the_key_is_told_with_its_rule_and_how_many_spans_only_inherit_it():
    spans = [replace(s, correlation_id=None, correlation_rule=None) for s in failed_order()]
    spans[0] = replace(spans[0], correlation_id=KEY, correlation_rule="app.correlation_id")
    origin = flow(spans).key_origin
    assert origin is not None
    assert (origin.rule, origin.direct, origin.inherited) == ("app.correlation_id", 1, 13)


def test_a_trace_without_a_correlation_id_is_a_flow_of_its_own_kind():
    found = flow([publish("p", 0, 1, service="web", to="orders", correlation=None)], key=trace("order"))
    assert found.kind == "trace"
    assert found.key_origin is None


def test_the_summary_counts_what_the_page_shows():
    line = summarise(flow(letters=[letter()]))
    assert (line.events, line.deliveries, line.failed, line.spans, line.traces, line.letters) == (2, 6, 1, 14, 2, 1)
    assert line.words == "Dead-lettered at payment-service"
    assert (line.first_destination, line.first_service) == ("orders.placed", "checkout")
    assert line.duration_ns(0) == 12_960 * MS


def test_a_saga_of_thousands_of_steps_is_no_deeper_than_one_of_two():
    spans: list[Span] = []
    for n in range(3000):
        spans.append(publish(f"p{n}", n * 3, n * 3 + 1, service="s", to="t", parent=f"c{n - 1}" if n else None))
        spans.append(consume(f"c{n}", n * 3 + 2, n * 3 + 3, service="s", from_="t", parent=f"p{n}"))
    assert summarise(flow(spans)).deliveries == 3000


def accounted(found: Flow) -> set[Context]:
    inside = {c for p in found.publications() for c in p.spans}
    inside |= {c for d in found.deliveries() for a in d.attempts for c in a.spans}
    return inside | set(found.other_spans)


def test_order_and_repetition_change_nothing_and_no_span_is_lost():
    spans = replayed_order()
    expected = flow(spans, [letter()], [replay()])
    rng = random.Random(3)
    for _ in range(30):
        mixed = [*spans, *rng.choices(spans, k=5)]
        rng.shuffle(mixed)
        assert flow(mixed, [letter(), letter()], [replay()]) == expected
    assert accounted(expected) == set(expected.spans)


names = st.sampled_from([f"s{n}" for n in range(7)])
anything = st.builds(
    lambda name, side, start, length, parent, links, service, destination, message_id, operation, traced: (
        publish if side else consume
    )(
        name,
        start,
        start + length,
        service=service,
        **{"to" if side else "from_": destination},
        parent=parent,
        links=[link(t, s) for t, s in links],
        message_id=message_id,
        operation=operation,
        trace_name=traced,
    ),
    names,
    st.booleans(),
    st.integers(-5, 50),
    st.integers(-3, 9),
    st.none() | names,
    st.lists(st.tuples(st.sampled_from("ab"), names), max_size=3),
    st.sampled_from(["web", "pay"]),
    st.sampled_from([None, "orders", "orders.dlq"]),
    st.sampled_from([None, "m1"]),
    st.sampled_from([None, *Operation]),
    st.sampled_from("ab"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(anything, max_size=14), st.randoms(use_true_random=False))
def test_any_spans_give_a_flow_that_neither_order_nor_repetition_changes(spans: list[Span], rng: random.Random):
    expected = flow(spans, [letter(trace_id=trace("a"), span_id=ident("s1"))])
    mixed = [*spans, *spans[:3]]
    rng.shuffle(mixed)
    assert flow(mixed, [letter(trace_id=trace("a"), span_id=ident("s1"))]) == expected
    assert accounted(expected) == set(expected.spans)
    assert all(d.wait_ns is None or d.wait_ns >= 0 for d in expected.deliveries())


def test_a_flow_that_many_groups_have_not_had_says_how_many():
    found = flow(
        [publish("placed", 0, 1, service="web", to="orders.placed")],
        consumers={"orders.placed": {"audit", "payment"}},
    )
    assert found.status_place == "2 groups"


def test_a_very_long_timeline_folds_what_repeats_and_never_what_failed():
    spans = []
    for n in range(400):
        spans.append(publish(f"p{n}", n, n + 1, service="web", to="orders"))
        error = GIFT_CARD if n == 123 else None
        spans.append(consume(f"c{n}", n + 2, n + 3, service="audit-log", from_="orders", parent=f"p{n}", error=error))
    rows = timeline(flow(spans), nanoseconds(at(120_000))).rows
    assert [(row.service, row.repeats) for row in rows] == [
        ("web", 399),
        ("audit-log", 1),
        ("web", 1),
        ("audit-log", 1),
    ]
