"""The pages of flows: found by what people paste, read without a script, safe against hostile text, cheap to ask."""

from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from eventflow.accounts import people, roles
from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import FlowStatus, summarise
from eventflow.domain.observations import Span, SpanBatch
from eventflow.domain.timeline import timeline
from eventflow.store import spans as store
from eventflow.store.queries import flow_search
from eventflow.web import flow_list
from eventflow.web.flow_axis import length
from eventflow.web.flow_sequence import sequence
from eventflow.web.flow_timeline import view
from eventflow.web.views.flows import address
from tests import factories
from tests.flow_factory import (
    EPOCH_NS,
    KEY,
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
    trace,
)
from tests.store.pickled import encode


def recent(spans: list[Span], key: str = KEY, salt: str = "", ago: float = 300) -> list[Span]:
    """The same spans, begun `ago` seconds before now, under another key and other traces."""
    shift = nanoseconds(timezone.now() - timedelta(seconds=ago)) - EPOCH_NS
    return [
        replace(
            span,
            trace_id=trace(span.trace_id + salt) if salt else span.trace_id,
            correlation_id=key,
            start_ns=span.start_ns + shift,
            end_ns=span.end_ns + shift,
            links=tuple(replace(x, trace_id=trace(x.trace_id + salt) if salt else x.trace_id) for x in span.links),
        )
        for span in spans
    ]


def keep(*flows: list[Span]) -> None:
    now = timezone.now()
    for spans in flows:
        store.append([SpanBatch(encode(spans), now, tuple(spans))])
    while store.digest(now).requests or store.judge(now):
        pass


@pytest.fixture(autouse=True)
def pickled_spans(settings: Any) -> None:
    settings.EVENTFLOW_SPAN_FORMAT = "tests.store.pickled.Pickled"


def client(role: str = roles.VIEWER) -> Client:
    found = Client()
    found.force_login(people.set_role(f"a-{role}", role, timezone.now())[0])
    return found


def get(address: str, role: str = roles.VIEWER) -> str:
    answer = client(role).get(address)
    assert answer.status_code == 200
    return answer.content.decode()


class Rows(HTMLParser):
    """The rows of the treegrid: what a reader without a script has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[str] = []
        self.selected: list[int] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("role") == "row":
            self.rows.append("")
            if given.get("aria-selected") == "true":
                self.selected.append(len(self.rows) - 1)

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1] += data


@pytest.mark.django_db
def test_a_flow_reads_without_a_script():
    keep(recent(failed_order()))
    page = Rows(get(f"/flows/{KEY}/"))
    assert "orders.placed" in page.rows[0]
    assert "by checkout" in page.rows[0]
    payment = next(n for n, row in enumerate(page.rows) if "payment-service" in row)
    assert "4 attempts" in page.rows[payment]
    assert [row.strip().startswith("Attempt") for row in page.rows[payment + 1 : payment + 5]] == [True] * 4
    assert "Dead-lettered" in page.rows[payment + 5]


@pytest.mark.django_db
def test_what_failed_is_selected_until_somebody_chooses():
    keep(recent(failed_order()))
    page = Rows(get(f"/flows/{KEY}/"))
    assert "payment-service" in page.rows[page.selected[0]]


@pytest.mark.django_db
def test_a_link_to_an_event_selects_it():
    keep(recent(failed_order()))
    text = get(f"/flows/{KEY}/?event={ident('payment 3')}")
    page = Rows(text)
    assert "Attempt 3" in page.rows[page.selected[0]]
    assert "GiftCardBalanceError" in text


@pytest.mark.django_db
def test_a_link_to_a_span_within_a_step_selects_the_step():
    keep(recent(failed_order()))
    page = Rows(get(f"/flows/{KEY}/?event={ident('reserve')}"))
    assert "inventory-service" in page.rows[page.selected[0]]


@pytest.mark.django_db
@pytest.mark.parametrize("of", ["/flows/?status=failed", f"/flows/{KEY}/?tab=events"])
def test_a_live_region_gets_only_itself(of: str):
    keep(recent(failed_order()))
    asking = client()
    part = asking.get(of, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert 'data-live-refetch="' in part
    whole = asking.get(of, headers={"HX-Request": "true", "HX-History-Restore-Request": "true"}).content.decode()
    assert "<html" in whole


@pytest.mark.django_db
def test_an_event_that_is_gone_says_so():
    keep(recent(failed_order()))
    assert "not in this flow any more" in get(f"/flows/{KEY}/?event=0123456789abcdef")


@pytest.mark.django_db
def test_only_who_may_replay_is_offered_it():
    keep(recent(failed_order()))
    factories.letter(correlation_id=KEY, trace_id=trace("order"), span_id=ident("dead publish"))
    assert "?letter=" not in get(f"/flows/{KEY}/")
    operator = get(f"/flows/{KEY}/", roles.OPERATOR)
    assert operator.count("?letter=") >= 2 or not address("dead_letters:replay_dialog")


@pytest.mark.django_db
def test_the_letters_payload_and_headers_are_shown_without_secrets():
    keep(recent(failed_order()))
    factories.letter(
        correlation_id=KEY,
        trace_id=trace("order"),
        span_id=ident("dead publish"),
        headers=(("authorization", "Bearer hush"), ("ce-id", "ce-1")),
        payload=b'{"order_id": "SO-88403", "password": "hush"}',
    )
    text = get(f"/flows/{KEY}/")
    assert "SO-88403" in text
    assert "ce-id" in text
    assert "hush" not in text


@pytest.mark.django_db
@pytest.mark.parametrize("tab", ["timeline", "sequence", "events", "raw"])
def test_hostile_names_stay_text(tab: str):
    evil = "<script>alert(1)</script>\"'{{ 7*7 }}"
    spans = [
        publish("placed", 0, 1, service=evil, to=evil, message_id=evil, attributes={evil: evil}),
        consume("work", 2, 3, service=evil, group=evil, from_=evil, parent="placed", error=(evil, evil, evil)),
    ]
    keep(recent(spans, key=evil))
    text = client().get(f"/flows/?q={ident('x')}").content.decode()
    text += client().get("/flows/").content.decode()
    answer = client().get(f"/flows/{quote(evil, safe='')}/?tab={tab}")
    assert answer.status_code == 200
    text += answer.content.decode()
    assert "<script>alert" not in text


@pytest.mark.django_db
def test_every_tab_and_grouping_answers():
    keep(recent(replayed_order()))
    for view_of in ("?tab=events", "?tab=sequence", "?tab=raw", "?group=service", "?tab=nonsense"):
        assert KEY in get(f"/flows/{KEY}/{view_of}")


@pytest.mark.django_db
def test_an_unknown_flow_is_told_and_looked_for_again():
    answer = client().get("/flows/nothing-of-that-name/")
    assert answer.status_code == 404
    assert b"Nothing has arrived under this id" in answer.content
    assert b'data-live="flow:nothing-of-that-name"' in answer.content


@pytest.mark.django_db
@pytest.mark.parametrize("pasted", [KEY, trace("order"), "ce-1"])
def test_a_flow_is_found_by_correlation_trace_and_message_id(pasted: str):
    keep(recent(failed_order()), recent(failed_order(), key="another", salt="x"))
    if pasted == "ce-1":
        assert KEY in get(f"/flows/?q={pasted}")
        return
    text = get(f"/flows/?q={pasted}")
    assert f"/flows/{KEY}/" in text
    assert "/flows/another/" not in text


@pytest.mark.django_db
def test_the_list_narrows_by_service_status_and_destination():
    calm = [s for s in failed_order() if "payment" not in s.service]
    keep(recent(failed_order()), recent(calm, key="calm", salt="c"))
    assert "/flows/calm/" not in get("/flows/?service=payment-service")
    assert "/flows/calm/" not in get("/flows/?status=failed")
    assert KEY in get("/flows/?status=failed")
    assert "No flow matches" in get("/flows/?destination=nowhere")
    assert "/flows/calm/" not in get("/flows/?q=service:payment-service")


@pytest.mark.django_db
def test_the_list_narrows_by_duration_and_by_the_values_of_configured_attributes(settings):
    settings.EVENTFLOW_SEARCH_KEYS = ["shop.order.id"]
    slow = [publish("placed", 0, 7000, service="web", to="orders", attributes={"shop.order.id": 17})]
    quick = [publish("placed", 0, 20, service="web", to="orders", attributes={"shop.order.id": "SO-1 b"})]
    keep(recent(slow, key="slow", salt="s"), recent(quick, key="quick", salt="q"))

    def shown(query: str) -> set[str]:
        text = get(f"/flows/?{query}")
        return {key for key in ("slow", "quick") if f"/flows/{key}/" in text}

    assert shown("q=duration%3E5s") == shown("min=5s") == shown("min=5000ms&max=1m") == {"slow"}
    assert shown("q=duration:10ms..1s") == shown("q=duration%3C5s") == {"quick"}
    assert shown("q=shop.order.id%3D17") == shown("attr=shop.order.id%3D17") == {"slow"}
    assert shown('q=shop.order.id%3D"SO-1+b"') == {"quick"}
    assert shown("attr=shop.order.id%3D17&service=web&min=5s") == {"slow"}
    assert shown("attr=shop.order.id%3D17&max=5s") == set()
    assert "Flows are not found by <code>shop.paid</code>" in get("/flows/?q=shop.paid%3Dtrue")


@pytest.mark.django_db
def test_what_matches_is_counted_and_every_count_is_a_link():
    keep(recent(failed_order()), *(recent(calm(), key=f"calm-{n}", salt=str(n), ago=200 + n) for n in range(3)))
    text = get("/flows/?range=6h")
    assert "4 flows match" in text
    assert '<a class="chip" href="?status=failed&amp;range=6h">' in text
    assert '<a class="chip" href="?service=web&amp;range=6h"><span class="n">web</span><b>3</b></a>' in text
    bar = text.partition('<a href="?range=6h&amp;min=1s&amp;max=3s">')[2].partition("</a>")[0]
    assert "3<span" in bar
    chosen = get("/flows/?range=6h&min=1s&max=3s")
    assert '<a href="?range=6h" aria-current="true">' in chosen
    assert "3 flows match" in chosen


@pytest.mark.django_db
def test_the_part_above_the_list_is_asked_for_by_itself_and_says_when_it_is_not_of_all(monkeypatch):
    keep(*(recent(calm(), key=f"calm-{n}", salt=str(n), ago=200 + n) for n in range(5)))
    monkeypatch.setattr(flow_search, "COUNTED", 2)
    part = client().get("/flows/?part=found", headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<section")
    assert "2 of the newest 2 flows match; older ones are not counted" in part
    assert "flow-rows" not in part


@pytest.mark.django_db
def test_hostile_names_stay_text_above_the_list():
    keep(recent([publish("x", 0, 1, service="<script>alert(1)</script>", to='a"><b>')]))
    text = get("/flows/?attr=%3Cscript%3E.a%3D%3Cscript%3E&service=%3Cscript%3E")
    assert "<script>alert" not in text + get("/flows/")
    assert "<script>.a" not in text


def calm() -> list[Span]:
    return [publish("placed", 0, 2000, service="web", to="orders")]


@pytest.mark.django_db
def test_older_flows_are_a_link_away_and_a_broken_cursor_is_the_first_page():
    one = [publish("placed", 0, 1, service="web", to="orders")]
    keep(*(recent(one, key=f"flow-{n}", salt=str(n), ago=100 + n) for n in range(60)))
    first = get("/flows/")
    assert 'rel="next"' in first
    older = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = get(f"/flows/{older}")
    assert "/flows/flow-59/" in second
    assert "/flows/flow-0/" not in second
    assert 'data-live="flows"' not in second
    assert client().get("/flows/?cursor=broken").status_code == 302


@pytest.mark.django_db
def test_twenty_rows_cost_no_more_queries_than_ten():
    one = [publish("placed", 0, 1, service="web", to="orders")]
    asking = client()
    counts = []
    for begin, end in ((0, 10), (10, 20)):
        keep(*(recent(one, key=f"flow-{n}", salt=str(n)) for n in range(begin, end)))
        asking.get("/flows/")
        with CaptureQueriesContext(connection) as asked:
            assert asking.get("/flows/").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert counts[0] <= 25


def test_a_question_survives_its_way_through_the_address():
    asked = flow_list.asked(QueryDict("service=a%26b&status=failed&range=6h&q=abc+event:orders.placed&cursor=x"))
    assert (asked.text, asked.event, asked.cursor) == ("abc", "orders.placed", "x")
    again = flow_list.asked(QueryDict(asked.url()[1:]))
    assert (again.service, again.status, again.range, again.text) == ("a&b", "failed", "6h", "abc")
    assert again.cursor == ""


def test_attributes_and_durations_survive_their_way_through_the_address():
    asked = flow_list.asked(QueryDict('q=a.b%3D1+tenant%3D"x y"+duration:300ms..2m+YWJj%3D%3D'), ["tenant"])
    assert (asked.attributes, asked.min, asked.max) == (("a.b=1", "tenant=x y"), "300ms", "2m")
    assert (asked.text, asked.range) == ("YWJj==", "all")
    again = flow_list.asked(QueryDict(asked.url()[1:]))
    assert again == asked
    query = again.query(timezone.now())
    assert query.attributes == (("a.b", "1"), ("tenant", "x y"))
    assert (query.min_duration_ns, query.max_duration_ns) == (300_000_000, 120_000_000_000)
    assert [one[:3] for one in asked.filters][:2] == [("a.b", "=", "1"), ("tenant", "=", "x y")]
    assert ("duration", "is", "300 ms to 2 min") in [one[:3] for one in asked.filters]
    without = flow_list.asked(QueryDict(asked.filters[0][3][1:]))
    assert without.attributes == ("tenant=x y",)
    assert flow_list.asked(QueryDict(asked.url(range="1h")[1:])).range == "1h"


def test_nonsense_in_the_address_is_as_if_it_were_not_there():
    asked = flow_list.asked(QueryDict("status=odd&range=1000y&since=yesterday"))
    assert (asked.status, asked.range, asked.since) == ("", "1h", "")
    odd = flow_list.asked(QueryDict("min=soon&max=-1&attr=&attr=x&attr=%3D&min=" + "9" * 400))
    assert (odd.min, odd.max, odd.attributes) == ("", "", ())


def test_an_id_is_looked_for_at_any_time_and_filters_in_the_chosen_one():
    now = timezone.now()
    assert flow_list.asked(QueryDict("q=abc")).query(now).since_ns is None
    assert flow_list.asked(QueryDict("service=a")).query(now).since_ns == nanoseconds(now - timedelta(hours=1))


def test_every_status_has_a_mark():
    assert set(flow_list.MARKS) == set(FlowStatus)


def test_bars_lie_within_the_axis_and_lengths_read_as_people_write_them():
    found = flow(replayed_order(), [letter()], [replay()])
    line = timeline(found, nanoseconds(at(120_000)))
    drawn = view(found, line, None)
    assert all(0 <= mark.left <= 100 and mark.left + mark.width <= 100.001 for row in drawn.rows for mark in row.marks)
    assert [length(ns) for ns in (38_000_000, 1_600_000_000, 27_000_000_000, 332_000_000_000)] == [
        "38 ms",
        "1.6 s",
        "27.0 s",
        "5 m 32 s",
    ]


def test_the_critical_path_leads_to_what_failed_and_adds_up():
    line = timeline(flow(letters=[letter()]), nanoseconds(at(120_000)))
    path = [row for row in line.rows if row.on_path]
    assert [row.service for row in path] == ["checkout", "payment-service"]
    assert line.path.total_ns == line.path.waiting_ns + line.path.working_ns + line.path.backoff_ns
    assert summarise(flow()).failed == 1


def test_every_row_has_an_id_of_its_own():
    spans = [publish(f"send {n}", n, n + 1, service="web", to="orders") for n in range(3)]
    spans.append(
        consume("batch", 9, 10, service="pay", from_="orders", links=[link("order", f"send {n}") for n in range(3)])
    )
    line = timeline(flow(spans), nanoseconds(at(120_000)))
    ids = [row.id for row in line.rows]
    assert len(ids) == len(set(ids))


def test_the_sequence_tells_the_same_in_order_of_time():
    drawn = sequence(timeline(flow(replayed_order(), [letter()], [replay()]), nanoseconds(at(120_000))))
    assert [lane.name for lane in drawn.lanes][:3] == ["checkout", "orders.placed", "inventory-service"]
    labels = [message.label for message in drawn.messages]
    assert labels[:2] == ["publish", "after 618 ms"]
    assert "attempt 4 failed, GiftCardBalanceError" in labels
    assert labels.index("dead letter") < labels.index("replay by mona")
    assert drawn.left_out == 0
