"""Lists page without holes, say how far they looked, and cost the same few queries however long they are."""

from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain.flow import FlowStatus
from eventflow.domain.flow_query import FlowQuery
from eventflow.domain.observations import Span
from eventflow.store import spans as store
from eventflow.store.models import FlowRow
from eventflow.store.queries import flows
from eventflow.store.spans import reads, summaries
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
    return [row.key for row in flows.page(query, None, limit, NOW).rows]


def names(numbers: range) -> list[str]:
    return [f"order-{n:03}" for n in reversed(numbers)]


@pytest.mark.parametrize("step", [5000, 7])
def test_pages_follow_each_other_without_holes_or_repeats(thirty, monkeypatch, step):
    monkeypatch.setattr(flows, "LOOK_STEP", step)
    found, cursor, looked = [], None, 0
    while True:
        page = flows.page(FlowQuery(), cursor, 8, NOW)
        found += [row.key for row in page.rows]
        looked += page.looked_at
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == names(range(30))
    assert looked == 30


def test_a_search_that_gives_up_says_how_far_it_looked_and_can_go_on(thirty, monkeypatch):
    monkeypatch.setattr(flows, "LOOK_STEP", 3)
    first = flows.page(FlowQuery(destination="nowhere"), None, 8, NOW)
    assert (first.rows, first.looked_at) == ((), 15)
    second = flows.page(FlowQuery(destination="nowhere"), first.next_cursor, 8, NOW)
    while second.next_cursor:
        second = flows.page(FlowQuery(destination="nowhere"), second.next_cursor, 8, NOW)
    assert second.rows == ()


def test_new_flows_do_not_move_the_pages_behind_them(thirty):
    first = flows.page(FlowQuery(), None, 10, NOW)
    send(orders(35)[60:])
    digest()
    second = flows.page(FlowQuery(), first.next_cursor, 10, NOW)
    assert [row.key for row in second.rows] == names(range(10, 20))


@pytest.mark.parametrize("cursor", ["x", "!!", "MTIz", "LTEuLTE", "ü", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS4x"])
def test_a_made_up_cursor_is_refused(thirty, cursor):
    with pytest.raises(ValueError, match="cursor"):
        flows.page(FlowQuery(), cursor, 10, NOW)


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
    facets = flows.facets(FlowQuery(), NOW)
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
            flows.page(FlowQuery(service="worker"), None, limit, NOW)
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
    (row,) = flows.page(FlowQuery(), None, 10, NOW).rows
    assert (row.key, row.spans, row.traces) == (KEY, len(failed_order()), 2)
    found = flows.flow(KEY, NOW)
    assert found is not None
    assert len(found.spans) == 10
