"""Lists page without holes, say how far they looked, and cost the same few queries however long they are."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain.flow import FlowStatus
from eventflow.domain.flow_query import FlowQuery
from eventflow.domain.observations import AttributeValue, Span
from eventflow.store import spans as store
from eventflow.store.models import Chunk, FlowRow
from eventflow.store.queries import flow_search, flows
from eventflow.store.spans import form, index, opened, pack, reads, repack, search, summaries, values
from tests.flow_factory import KEY, at, consume, failed_order, link, ns, publish, span, trace
from tests.store.support import NOW, digest, send


def orders(number: int) -> list[Span]:
    """`number` small flows, a second apart; every third fails."""
    found = []
    for n in range(number):
        name, key, start = f"web {n}", f"order-{n:03}", n * 1000
        sent = publish(
            f"sent {n}", start, start + 5, service="web", to="jobs", trace_name=name, correlation=key,
            message_id=f"message-{n}", event_type="job.made" if n % 2 else "job.changed",
        )  # fmt: skip
        got = consume(
            f"got {n}", start + 50, start + 60 + n, service="worker", from_="jobs", group="workers", trace_name=name,
            links=[link(name, f"sent {n}")], correlation=key, error=("E", "no", "") if n % 3 == 0 else None,
        )  # fmt: skip
        found += [sent, got]
    return found


@pytest.fixture
def thirty(db: None) -> None:
    send(orders(30))
    digest()


def keys(query: FlowQuery, limit: int = 100) -> list[str]:
    return [row.key for row in flow_search.page(query, None, limit, NOW).rows]


def names(numbers: range) -> list[str]:
    return [f"order-{n:03}" for n in reversed(numbers)]


@pytest.mark.parametrize("step", [5000, 7])
def test_pages_follow_each_other_without_holes_or_repeats(thirty, monkeypatch, step):
    monkeypatch.setattr(flow_search, "LOOK_STEP", step)
    found, cursor, looked = [], None, 0
    while True:
        page = flow_search.page(FlowQuery(), cursor, 8, NOW)
        found += [row.key for row in page.rows]
        looked += page.looked_at
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == names(range(30))
    assert looked == 30


def test_a_search_that_gives_up_says_how_far_it_looked_and_can_go_on(thirty, monkeypatch):
    monkeypatch.setattr(flow_search, "LOOK_STEP", 3)
    first = flow_search.page(FlowQuery(destination="nowhere"), None, 8, NOW)
    assert (first.rows, first.looked_at) == ((), 15)
    second = flow_search.page(FlowQuery(destination="nowhere"), first.next_cursor, 8, NOW)
    while second.next_cursor:
        second = flow_search.page(FlowQuery(destination="nowhere"), second.next_cursor, 8, NOW)
    assert second.rows == ()


def test_new_flows_do_not_move_the_pages_behind_them(thirty):
    first = flow_search.page(FlowQuery(), None, 10, NOW)
    send(orders(35)[60:])
    digest()
    second = flow_search.page(FlowQuery(), first.next_cursor, 10, NOW)
    assert [row.key for row in second.rows] == names(range(10, 20))


@pytest.mark.parametrize("cursor", ["x", "!!", "MTIz", "LTEuLTE", "ü", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS4x"])
def test_a_made_up_cursor_is_refused(thirty, cursor):
    with pytest.raises(ValueError, match="cursor"):
        flow_search.page(FlowQuery(), cursor, 10, NOW)


def test_every_filter_narrows(thirty):
    failed = [f"order-{n:03}" for n in reversed(range(0, 30, 3))]
    assert keys(FlowQuery(statuses=(FlowStatus.RUNNING, FlowStatus.FAILED))) == failed
    assert keys(FlowQuery(service="worker")) == names(range(30))
    assert keys(FlowQuery(service="work")) == []
    assert keys(FlowQuery(destination="jobs")) == names(range(30))
    assert keys(FlowQuery(event_type="job.made")) == [f"order-{n:03}" for n in reversed(range(1, 30, 2))]
    assert keys(FlowQuery(since_ns=ns(5000), until_ns=ns(8000))) == names(range(5, 8))
    assert keys(FlowQuery(min_duration_ns=85_000_000)) == names(range(25, 30))
    assert keys(FlowQuery(text="order-007")) == ["order-007"]
    assert keys(FlowQuery(text="message-7")) == ["order-007"]
    assert keys(FlowQuery(text=trace("web 7"))) == ["order-007"]
    assert keys(FlowQuery(text="order-01")) == names(range(10, 20))
    assert keys(FlowQuery(text="nobody")) == []


def test_a_flow_is_found_by_any_of_its_ids(thirty):
    for text in ("order-007", "message-7", trace("web 7"), trace("web 7").upper()):
        found = flows.flow(text, NOW)
        assert found is not None
        assert found.key == "order-007"
    assert flows.flow("nobody", NOW) is None
    assert flows.find("order-007") == ["order-007"]
    assert flows.find(" message-7 ") == ["order-007"]
    assert flows.find("order-02")[0] == "order-029"
    assert flows.find("%") == flows.find("_rder") == flows.find("") == []


def test_facets_and_counts_tell_the_numbers(thirty):
    facets = flow_search.facets(FlowQuery(), NOW)
    assert dict(facets.services) == {"web": 30, "worker": 30}
    assert dict(facets.destinations) == {"jobs": 30}
    assert dict(facets.event_types) == {"job.made": 15, "job.changed": 15}
    counts = flows.counts(at(0), NOW)
    assert counts[FlowStatus.COMPLETED] == 20
    assert sum(counts.values()) == 30
    assert [row.key for row in flows.recent_failed(3)] == ["order-027", "order-024", "order-021"]


def test_twenty_rows_cost_no_more_queries_than_ten(thirty):
    def cost(limit: int) -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            flow_search.page(FlowQuery(service="worker"), None, limit, NOW)
        return len(queries)

    assert cost(20) == cost(10) <= 4


def test_a_flow_costs_the_same_queries_however_many_traces_it_has(db):
    for traces in (2, 20):
        key = f"key-{traces}"
        send(
            publish(f"{key} {n}", n, n + 1, service="web", to="jobs", trace_name=f"{key} {n}", correlation=key)
            for n in range(traces)
        )
        digest()

    def cost(traces: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            found = flows.flow(f"key-{traces}", NOW)
        assert found is not None
        assert len(found.trace_ids) == traces
        return len(queries)

    cost(2)
    assert cost(2) == cost(20) <= 16


def test_plumbing_is_left_out_of_the_list_and_found_when_asked_for(db):
    send([span("ping", 0, 1, service="broker", trace_name="ping", correlation=None)])
    digest()
    assert keys(FlowQuery()) == []
    assert keys(FlowQuery(plumbing=True)) == keys(FlowQuery(text=trace("ping"))) == [trace("ping")]


def test_a_retry_that_never_came_ends_the_flow_as_failed(db):
    send(orders(1))
    digest(at(500))
    assert keys(FlowQuery(statuses=(FlowStatus.RUNNING,))) == ["order-000"]
    assert store.recheck(at(1_000)) == frozenset()
    assert store.recheck(at(60_000)) == {"order-000"}
    assert keys(FlowQuery(statuses=(FlowStatus.FAILED,))) == ["order-000"]


def test_a_flow_that_waits_for_a_retry_from_a_queue_is_looked_at_again_once(db):
    fails = consume("c", 100, 200, service="worker", from_="jobs", group="w", parent="p",
                    error=("CardError", "no answer", "Traceback"))  # fmt: skip
    again = publish("r", 150, 160, service="worker", to="jobs-retry-1", parent="c")
    send([publish("p", 0, 9, service="web", to="jobs"), fails, again])
    digest(at(500))
    assert store.recheck(at(60_000)) == {KEY}
    assert keys(FlowQuery(statuses=(FlowStatus.RUNNING,))) == [KEY]
    assert store.recheck(at(120_000)) == frozenset()


def test_a_long_flow_is_counted_and_read_up_to_its_limit(db, monkeypatch):
    monkeypatch.setattr(summaries, "DETAIL_LIMIT", 20)
    monkeypatch.setattr(reads, "READ_LIMIT", 20)
    send(failed_order()[:10])
    digest()
    send(replace(one, span_id=f"{n:016x}") for n, one in enumerate(failed_order() * 2))
    digest()
    assert FlowRow.objects.values_list("pattern__spans", flat=True).get(key=KEY) == 10 + 2 * len(failed_order())
    stored = store.flow_spans(KEY)
    assert not stored.complete
    assert stored.looked_at == 10 + 2 * len(failed_order())
    assert len(stored.spans) == 20


def test_a_flow_that_is_long_from_the_start_has_a_line_and_a_page(db, monkeypatch):
    monkeypatch.setattr(summaries, "DETAIL_LIMIT", 10)
    monkeypatch.setattr(reads, "READ_LIMIT", 10)
    send(failed_order())
    digest()
    (row,) = flow_search.page(FlowQuery(), None, 10, NOW).rows
    assert (row.key, row.spans, row.traces) == (KEY, len(failed_order()), 2)
    found = flows.flow(KEY, NOW)
    assert found is not None
    assert len(found.spans) == 10


def bought(name: str, number: int, **attributes: AttributeValue) -> list[Span]:
    """A small flow over two traces; the second, which only links to the first, has the attributes."""
    first = publish(
        f"sent {name}", number * 1000, number * 1000 + 5, service="web", to="jobs", trace_name=f"web {name}",
        correlation=f"order-{name}", message_id=f"message-{name}",
    )  # fmt: skip
    got = consume(
        f"got {name}", number * 1000 + 50, number * 1000 + 60, service="worker", from_="jobs", group="workers",
        trace_name=f"worker {name}", links=[link(f"web {name}", f"sent {name}")], correlation=None,
    )  # fmt: skip
    inner = span(
        f"charge {name}", number * 1000 + 52, number * 1000 + 55, service="worker", parent=f"got {name}",
        trace_name=f"worker {name}", correlation=None, attributes=attributes,
    )  # fmt: skip
    return [first, got, inner]


@pytest.fixture
def shop(db: None, settings) -> None:
    settings.EVENTFLOW_SEARCH_KEYS = ["shop.order.id", "shop.paid"]
    send(bought("a", 1, **{"shop.order.id": "SO-1", "shop.paid": True, "shop.secret": "x"}))
    send(bought("b", 2, **{"shop.order.id": 17, "shop.paid": True}))
    send(bought("c", 3, **{"shop.order.id": "17", "shop.paid": False}))
    digest()


def having(*attributes: tuple[str, str], **more: Any) -> list[str]:
    return keys(FlowQuery(attributes=attributes, **more))


def test_flows_are_found_by_the_value_of_a_configured_attribute_across_traces(shop):
    assert having(("shop.order.id", "SO-1")) == ["order-a"]
    assert having(("shop.order.id", "17")) == ["order-c", "order-b"]
    assert having(("shop.paid", "true")) == ["order-b", "order-a"]
    assert having(("shop.order.id", "so-1")) == having(("shop.secret", "x")) == having(("shop.paid", "SO-1")) == []


def test_a_searched_attribute_narrows_together_with_everything_else(shop):
    assert having(("shop.paid", "true"), ("shop.order.id", "17")) == ["order-b"]
    assert having(("shop.paid", "true"), since_ns=ns(1500)) == ["order-b"]
    assert having(("shop.paid", "true"), until_ns=ns(1500)) == ["order-a"]
    assert having(("shop.paid", "true"), text="order-a") == ["order-a"]
    assert having(("shop.paid", "true"), text="order-c") == []
    assert having(("shop.paid", "true"), service="worker", min_duration_ns=1) == ["order-b", "order-a"]
    assert having(("shop.paid", "true"), service="nobody") == []
    assert having(("shop.paid", "true"), statuses=(FlowStatus.FAILED,)) == []
    facets = flow_search.facets(FlowQuery(attributes=(("shop.paid", "true"),)), NOW)
    assert (dict(facets.services), facets.complete) == ({"web": 2, "worker": 2}, True)


def test_a_searched_attribute_joins_no_flows_and_names_none(shop):
    assert keys(FlowQuery(plumbing=True)) == ["order-c", "order-b", "order-a"]
    assert flows.find("SO-1") == []


def test_a_search_by_attribute_pages_and_says_in_how_many_places_it_looked(db, settings, monkeypatch):
    settings.EVENTFLOW_SEARCH_KEYS = ["shop.paid"]
    monkeypatch.setattr(pack, "CHUNK_SPANS", 3)
    send([one for number in range(9) for one in bought(f"n{number}", number, **{"shop.paid": True})])
    digest()
    query = FlowQuery(attributes=(("shop.paid", "true"),))
    first = flow_search.page(query, None, 5, NOW)
    second = flow_search.page(query, first.next_cursor, 5, NOW)
    assert [row.key for row in (*first.rows, *second.rows)] == [f"order-n{number}" for number in reversed(range(9))]
    assert second.next_cursor is None
    assert first.places[0] == first.places[1] >= 3
    monkeypatch.setattr(search, "MOST_CHUNKS", 2)
    limited = flow_search.page(query, None, 50, NOW)
    assert limited.places == (2, first.places[1])
    assert 0 < len(limited.rows) < 9


def test_spans_packed_together_later_are_found_by_their_attributes(shop):
    repack.repack(list(Chunk.objects.values_list("id", flat=True)), 1)
    assert having(("shop.order.id", "17")) == ["order-c", "order-b"]


def test_without_configured_keys_the_index_holds_nothing_of_attributes(db):
    send(bought("a", 1, **{"shop.order.id": "SO-1"}))
    digest()
    assert having(("shop.order.id", "SO-1")) == []
    assert not index.chunks_of(index.shortened(values.of_text("shop.order.id", "SO-1", form.form())).tolist())


def test_durations_narrow_from_both_sides_and_what_goes_on_lasts_until_now(thirty):
    second = 1_000_000_000
    assert keys(FlowQuery(min_duration_ns=65_000_000, max_duration_ns=70_000_000)) == names(range(5, 10))
    assert keys(FlowQuery(max_duration_ns=62_000_000)) == names(range(2))
    sent = publish("late", 100_000, 100_005, service="web", to="jobs", trace_name="late", correlation="late")
    send([sent])
    digest()
    assert keys(FlowQuery(min_duration_ns=15 * second, max_duration_ns=25 * second)) == ["late"]
    [mark] = flow_search.facets(FlowQuery(text="late"), NOW).lines
    assert mark == (sent.start_ns, 20 * second, False)


def test_an_id_that_may_mean_many_flows_says_that_it_was_taken_for_some(thirty, monkeypatch):
    assert flow_search.page(FlowQuery(text="order-0"), None, 50, NOW).first_ids == 0
    monkeypatch.setattr(flows, "FOUND", 10)
    found = flow_search.page(FlowQuery(text="order-0"), None, 50, NOW)
    assert (len(found.rows), found.first_ids) == (10, 10)


def test_counts_say_when_they_are_not_of_all(thirty, monkeypatch):
    facets = flow_search.facets(FlowQuery(), NOW)
    assert (facets.looked_at, len(facets.lines), facets.complete) == (30, 30, True)
    monkeypatch.setattr(flow_search, "COUNTED", 10)
    facets = flow_search.facets(FlowQuery(event_type="job.made"), NOW)
    assert (facets.looked_at, len(facets.lines), facets.complete) == (10, 5, False)
    assert dict(facets.services) == {"web": 5, "worker": 5}


def test_the_newest_that_failed_are_found_in_the_index_alone(thirty):
    with CaptureQueriesContext(connection) as queries:
        found = flow_search.page(FlowQuery(statuses=(FlowStatus.FAILED,)), None, 5, NOW)
    assert [row.key for row in found.rows] == [f"order-{n:03}" for n in (27, 24, 21, 18, 15)]
    assert (len(queries), found.looked_at) == (1, 5)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + queries[0]["sql"])
            plan = " ".join(row[3] for row in cursor.fetchall())
        assert "flows_by_status_and_start (status=? AND plumbing=?)" in plan
        assert "TEMP B-TREE" not in plan


def test_a_chunk_that_is_open_is_read_anew_once_other_keys_name_flows(thirty: None, settings: Any) -> None:
    (pk,) = list(Chunk.objects.values_list("id", flat=True))[:1]
    before = opened.opened([pk])[pk]
    assert opened.opened([pk])[pk] is before
    settings.EVENTFLOW_CORRELATION_KEYS = ["order_no"]
    assert opened.opened([pk])[pk].form is form.form() is not before.form
