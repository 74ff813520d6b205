"""What arrives is kept once, counted once and found, whatever the order and however often it is sent."""

import random
from dataclasses import replace

import pytest

from eventflow.domain.edge import EdgeKey
from eventflow.domain.flow_query import FlowQuery
from eventflow.domain.observations import Operation, Span, SpanBatch
from eventflow.store import spans as store
from eventflow.store.models import Chunk, Edge, EdgeSlot, FlowRow, Generation, IndexRun, Rejected
from eventflow.store.queries import flow_search, flows, topology
from eventflow.store.spans.edges import FOLD_LIMIT
from eventflow.store.spans.load import Reader
from eventflow.store.spans.opened import opened as opened_chunks
from tests.flow_factory import KEY, consume, failed_order, ident, link, publish, span, trace
from tests.store.support import DAY, NOW, digest, send


def edges() -> dict[EdgeKey, tuple[int, int, int]]:
    """Key → messages, errors and known waits."""
    return {stats.key: (stats.count, stats.errors, stats.wait.total) for stats in topology.edges(NOW - DAY, NOW + DAY)}


@pytest.mark.django_db
def test_what_was_sent_is_found_after_a_digest():
    send(failed_order())
    assert store.inbox_depth() == 1
    done = digest()
    assert (done.requests, done.spans, done.new_spans) == (1, len(failed_order()), len(failed_order()))
    assert store.inbox_depth() == 0
    found = flows.flow(KEY, NOW)
    assert found is not None
    assert sorted(found.spans.values(), key=repr) == sorted(failed_order(), key=repr)
    assert [row.key for row in flow_search.page(FlowQuery(), None, 10, NOW).rows] == [KEY]


PATTERN = ("status", "services", "destinations", "spans", "events", "deliveries", "failed")


def state() -> tuple[object, ...]:
    """Everything a reader can see, in a form that can be compared."""
    members = Reader().members({span.trace_id for span in mixed_system()})
    lines = sorted(
        FlowRow.objects.values_list(
            "key",
            "started_ns",
            "duration_ns",
            *(f"pattern__{name}" for name in PATTERN),
        )
    )
    return edges(), members, lines


def bulk() -> list[Span]:
    """Two messages created, sent at once, received by somebody who links to the sending."""
    shared = {"trace_name": "bulk", "correlation": "bulk-1"}
    return [
        publish("c1", 0, 1, service="bulk", to="b", operation=Operation.CREATE, **shared),
        publish("c2", 1, 2, service="bulk", to="b", operation=Operation.CREATE, **shared),
        publish("flush", 3, 4, service="bulk", to="b", links=[link("bulk", "c1"), link("bulk", "c2")], **shared),
        consume("taken", 9, 10, service="taker", from_="b", links=[link("bulk", "flush")], **shared),
        span("work", 9, 10, service="taker", parent="taken", **shared),
    ]


def mixed_system() -> list[Span]:
    """Flows over several traces, with and without ids, a batch consumer, a chain of heirs, a lonely trace."""
    return [
        *failed_order(),
        publish("a sent", 0, 5, service="web", to="a", trace_name="a", correlation="one"),
        publish("b sent", 1, 6, service="web", to="a", trace_name="b", correlation="two"),
        consume(
            "batch",
            20,
            30,
            service="billing",
            from_="a",
            group="billing",
            links=[link("a", "a sent"), link("b", "b sent")],
            trace_name="batch",
            correlation=None,
        ),
        publish("billed", 25, 28, service="billing", to="bills", parent="batch", trace_name="batch", correlation=None),
        consume(
            "posted",
            40,
            41,
            service="post",
            from_="bills",
            links=[link("batch", "billed")],
            trace_name="posted",
            correlation=None,
        ),
        span("cron", 0, 1, service="cron", trace_name="lonely", correlation=None),
        *bulk(),
    ]


def forget_everything() -> None:
    """As if nothing had been sent."""
    for model in (Chunk, IndexRun, FlowRow, EdgeSlot, Edge, Generation):
        model.objects.all().delete()


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(12))
def test_any_order_in_any_portions_ends_in_the_same(seed):
    send(mixed_system())
    digest()
    expected = state()
    forget_everything()
    chance = random.Random(seed)
    spans = mixed_system()
    chance.shuffle(spans)
    while spans:
        size = chance.randint(1, 6)
        send(spans[:size])
        if chance.random() < 0.3:
            send(spans[:size])
        spans = spans[size:]
        if chance.random() < 0.7:
            digest()
    while digest().requests:
        pass
    found = state()
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    assert found[2] == expected[2]
    store.refresh_flows([key for key, *_ in found[2]], NOW)
    assert state() == found, "a line made with many others is the line that the flow alone gets"


@pytest.mark.django_db
def test_each_chunk_says_when_its_first_span_began_and_its_last_one_ended():
    for trace_name in ("early", "late"):
        send([span(f"{trace_name} {number}", number, 900, service="a", trace_name=trace_name) for number in range(600)])
    digest()
    assert Chunk.objects.count() > 1
    for chunk in Chunk.objects.all():
        (opened,) = opened_chunks([chunk.pk]).values()
        portion = opened.portion
        assert (chunk.spans, chunk.first_ns, chunk.last_ns) == (len(portion), portion.start.min(), portion.end.max())


@pytest.mark.django_db
def test_a_request_sent_again_changes_nothing():
    send(failed_order())
    digest()
    before = state()
    send(failed_order())
    done = digest()
    assert (done.requests, done.new_spans, done.edges_changed) == (1, 0, False)
    assert state() == before


@pytest.mark.django_db
def test_a_body_nobody_can_read_is_put_aside_and_does_not_block_the_rest():
    store.append([SpanBatch(b"broken", NOW)])
    send(failed_order())
    done = digest()
    assert (done.requests, done.rejected, done.new_spans) == (2, 1, len(failed_order()))
    assert store.inbox_depth() == 0
    assert "Error" in Rejected.objects.get().reason


@pytest.mark.django_db
@pytest.mark.parametrize("first", ["publisher", "consumer", "together"])
def test_the_wait_is_known_whichever_side_arrives_first(first):
    sent = publish("sent", 0, 10, service="web", to="jobs", trace_name="web")
    got = consume(
        "got", 510, 600, service="worker", from_="jobs", group="w", links=[link("web", "sent")], trace_name="worker"
    )
    for portion in {"publisher": ([sent], [got]), "consumer": ([got], [sent]), "together": ([sent, got],)}[first]:
        send(portion)
        digest()
    stats = {stats.key.kind: stats for stats in topology.edges(NOW - DAY, NOW + DAY)}
    assert stats["consume"].wait.total == 1
    assert stats["consume"].wait.p50 == pytest.approx(0.5, rel=0.12)
    assert stats["consume"].processing.p50 == pytest.approx(0.09, rel=0.12)


def sending_inside_sending() -> list[Span]:
    """One message, told by a framework and by the client library below it."""
    shared = {"service": "web", "to": "jobs", "trace_name": "web"}
    return [publish("framework", 0, 10, **shared), publish("client", 1, 9, parent="framework", **shared)]


@pytest.mark.django_db
@pytest.mark.parametrize("order", [1, -1])
def test_a_hop_inside_another_is_one_message_whichever_arrives_first(order):
    for one in sending_inside_sending()[::order]:
        send([one])
        digest()
    assert [messages for messages, _, _ in edges().values()] == [1]


@pytest.mark.django_db
def test_a_trace_that_grew_too_large_to_be_judged_whole_is_summed_span_by_span():
    send([span(f"work {number}", 0, 1, service="web", trace_name="web") for number in range(FOLD_LIMIT)])
    digest()
    send(sending_inside_sending())
    digest()
    assert [messages for messages, _, _ in edges().values()] == [2]


@pytest.mark.django_db
def test_of_several_spans_that_tell_of_one_wait_the_earliest_counts():
    sent = publish("sent", 0, 10, service="web", to="jobs", trace_name="web")
    shared = {
        "service": "worker",
        "from_": "jobs",
        "group": "w",
        "links": [link("web", "sent")],
        "trace_name": "worker",
    }
    send([sent, consume("late", 5010, 5100, **shared), consume("early", 510, 600, **shared)])
    digest()
    stats = {stats.key.kind: stats for stats in topology.edges(NOW - DAY, NOW + DAY)}
    assert stats["consume"].wait.total == 1
    assert stats["consume"].wait.p50 == pytest.approx(0.5, rel=0.12)


@pytest.mark.django_db
@pytest.mark.parametrize("first", ["publisher", "consumer"])
def test_a_trace_without_an_id_belongs_to_the_flow_it_links_to(first):
    sent = publish("sent", 0, 10, service="web", to="jobs", trace_name="web", correlation="order-7")
    got = consume(
        "got",
        20,
        30,
        service="worker",
        from_="jobs",
        links=[link("web", "sent")],
        trace_name="worker",
        correlation=None,
    )
    for one in (sent, got) if first == "publisher" else (got, sent):
        send([one])
        digest()
    found = flows.flow("order-7", NOW)
    assert found is not None
    assert found.trace_ids == (trace("web"), trace("worker"))
    assert Reader().members([trace("web"), trace("worker")]) == {
        trace("web"): {"order-7": "direct"},
        trace("worker"): {"order-7": "inherited"},
    }
    assert FlowRow.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("first", ["publisher", "consumer"])
def test_a_publisher_of_another_flow_stands_in_the_line_of_its_consumer(first):
    sent = publish("sent", 0, 10, service="web", to="jobs", trace_name="web", correlation="order-7")
    got = consume(
        "got", 20, 30, service="worker", from_="jobs", links=[link("web", "sent")], trace_name="w", correlation="job-1"
    )
    for one in (sent, got) if first == "publisher" else (got, sent):
        send([one])
        digest()
    rows = FlowRow.objects.order_by("key").values_list("key", "pattern__spans", "pattern__deliveries")
    assert list(rows) == [("job-1", 2, 1), ("order-7", 1, 0)]


@pytest.mark.django_db
def test_a_line_is_made_anew_with_its_publishers_own_and_not_before():
    sent = publish("sent", 0, 10, service="web", to="jobs", trace_name="web", correlation="order-7")
    got = consume(
        "got", 20, 30, service="worker", from_="jobs", links=[link("web", "sent")], trace_name="w", correlation="job-1"
    )
    send([got])
    digest()
    for one in (span("other", 0, 10, service="web", trace_name="other", correlation="order-8"), sent):
        send([one])
        store.digest(NOW)
    assert [store.judge(NOW, limit=1) for _ in range(2)] == [{"order-8"}, {"order-7", "job-1"}]


@pytest.mark.django_db
def test_an_id_that_arrives_late_moves_the_trace_and_its_heirs():
    send([span("request", 0, 50, service="web", trace_name="web", correlation=None)])
    send([span("job", 60, 70, service="worker", trace_name="job", links=[link("web", "sent")], correlation=None)])
    digest()
    assert list(FlowRow.objects.values_list("key", flat=True)) == [trace("web")]
    send([publish("sent", 0, 10, service="web", to="jobs", trace_name="web", correlation="order-7")])
    digest()
    assert list(FlowRow.objects.values_list("key", "pattern__traces")) == [("order-7", 2)]


@pytest.mark.django_db
def test_who_received_what_is_found_over_links_and_parents():
    send(failed_order())
    digest()
    names = {span.name for span in store.consumers_of(trace("order"), ident("reserved"))}
    assert names == {"shipping"}
    assert {span.service for span in store.consumers_of(trace("order"), ident("placed"))} >= {
        "payment-service",
        "email-service",
        "fraud-detector",
    }


@pytest.mark.django_db
def test_hostile_names_and_times_are_kept_and_found():
    odd = "a\0b\ud800\n\t%_'\"<script>" + "x" * 400
    one = publish("odd", 0, 10, service=odd, to=odd, message_id=odd, event_type=odd, correlation=odd)
    send([replace(one, start_ns=2**64 - 1, end_ns=-5)])
    assert digest().new_spans == 1
    found = flows.flow(odd, NOW)
    assert found is not None
    assert len(found.spans) == 1
    (key,) = flows.find(odd)
    assert [row.key for row in flow_search.page(FlowQuery(service=odd, destination=odd), None, 5, NOW).rows] == [key]
