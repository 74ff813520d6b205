"""A flow that was recognised as like another has the line it would get by itself; alike flows are judged once."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
from django.db import connection

from eventflow.domain.observations import Operation, Span
from eventflow.store import spans as store
from eventflow.store.models import FlowPattern, FlowRow
from eventflow.store.spans import generation
from eventflow.store.spans.handover import Handover
from eventflow.store.spans.patterns import Patterns
from eventflow.store.spans.recent import Recent
from tests.flow_factory import consume, link, publish, span, trace
from tests.store.support import NOW, digest, send

pytestmark = pytest.mark.django_db
judge = import_module("eventflow.store.spans.judge")
BROKEN = ("CardError", "no answer", "Traceback")


def order(number: int, chance: random.Random) -> list[Span]:
    """An order with a random fate: groups missing or failing, retries, a lost publisher, links or parents, no key."""
    key = None if chance.random() < 0.1 else f"order-{number}"
    name, start = f"{number}", number * 40 + chance.randint(0, 20)
    web = {"trace_name": name, "correlation": key}
    found = [
        span(f"request {name}", start, start + chance.randint(5, 90), service="web", title="request", **web),
        publish(
            f"placed {name}", start + 2, start + chance.randint(3, 9), service="web", to="orders",
            parent=f"request {name}", message_id=f"m-{name}", event_type="placed", title="placed",
            error=BROKEN if chance.random() < 0.1 else None, **web,
        ),
    ]  # fmt: skip
    if chance.random() < 0.1:
        found.pop()
    for group in chance.sample(("payment", "email", "audit"), chance.randint(0, 3)):
        fails = chance.random() < 0.3
        for attempt in range(1, chance.randint(1, 3) if fails else 2):
            found += _consumption(number, group, attempt, chance, fails=fails and attempt < 3, key=key, start=start)
    return found


def _consumption(
    number: int, group: str, attempt: int, chance: random.Random, *, fails: bool, key: str | None, start: int
) -> list[Span]:
    own_trace = chance.random() < 0.5
    name = f"{group} {number} {attempt}"
    where = {"trace_name": name if own_trace else f"{number}", "correlation": key if chance.random() < 0.9 else None}
    begun = start + 10 + 20 * attempt + chance.randint(0, 15)
    came = {"links": [link(f"{number}", f"placed {number}")]} if own_trace else {"parent": f"placed {number}"}
    return [
        consume(
            name, begun, begun + chance.randint(1, 30), service=f"{group}-service", from_="orders", group=group,
            attempt=attempt, message_id=f"m-{number}", error=BROKEN if fails else None, title=f"{group} reads",
            operation=chance.choice((Operation.PROCESS, Operation.PROCESS, Operation.RECEIVE)), **came, **where,
        ),
        publish(
            f"next {name}", begun + 1, begun + 2, service=f"{group}-service", to=f"{group}.done", parent=name,
            title=f"{group} is done", **where
        ),
    ]  # fmt: skip


def lines() -> list[tuple[object, ...]]:
    alike = [f"pattern__{field.name}" for field in FlowPattern._meta.fields if field.name != "id"]
    return sorted(FlowRow.objects.values_list("key", "started_ns", "duration_ns", "status", "plumbing", *alike))


def orders_come(seed: int, between: Callable[[], object] = bool) -> None:
    """Random orders, digested and judged in bunches; each line must be the one that the flow gets by itself."""
    chance = random.Random(seed)
    # Whoever reads was known before: what is expected of an order does not change while the orders come.
    for group in ("payment", "email", "audit"):
        send(_consumption(-99, group, 1, random.Random(1), fails=False, key="early", start=-99_000))
    digest()
    spans = [one for number in range(60) for one in order(number, chance)]
    # Nearly in order of time, as systems send, with some that come late.
    spans.sort(key=lambda one: one.end_ns + chance.choice((0, 0, 0, 400_000_000)))
    while spans:
        size = chance.randint(5, 120)
        send(spans[:size])
        spans = spans[size:]
        digest()
        between()
    expect_the_lines_that_flows_get_by_themselves()


def expect_the_lines_that_flows_get_by_themselves() -> None:
    found = lines()
    store.refresh_flows(FlowRow.objects.values_list("key", flat=True), NOW)
    assert lines() == found


@pytest.mark.parametrize("seed", range(6))
def test_every_line_is_the_line_that_the_flow_gets_by_itself(seed):
    orders_come(seed)


@pytest.mark.parametrize("bound", ["WIDE", "MORE_CHUNKS", "MORE_ROWS", "TOGETHER", "ROUNDS"])
def test_lines_are_the_same_however_far_a_step_looks_back(bound, monkeypatch):
    monkeypatch.setattr(import_module("eventflow.store.spans.window"), bound, 1)
    orders_come(seed=7)


@pytest.mark.parametrize("seed", range(3))
def test_lines_are_the_same_when_the_memory_is_made_anew_each_time(seed):
    orders_come(seed, import_module("eventflow.store.spans.digest").remember)


@pytest.mark.parametrize("seed", range(3))
def test_lines_are_the_same_when_chunks_are_packed_anew_and_the_index_is_merged_each_time(seed, monkeypatch):
    monkeypatch.setattr(import_module("eventflow.store.spans.repack"), "ENOUGH_CHUNKS", 2)
    monkeypatch.setattr(import_module("eventflow.store.spans.runs"), "FAN_IN", 2)

    def tidy() -> None:
        while store.tidy():
            pass

    orders_come(seed, tidy)


def test_lines_are_the_same_however_few_are_written_at_a_time(monkeypatch):
    monkeypatch.setattr(judge, "LINES_WRITTEN", 1)
    orders_come(seed=8)


def test_what_is_forgotten_of_a_flow_is_looked_up_again():
    memory = import_module("eventflow.store.spans.digest").memory
    for number in range(4):
        send([publish(f"p{number}", number, number + 1, service="web", to="jobs", trace_name="t", correlation="k1")])
        digest()
        if number == 1:
            memory.born = Recent(16, 1)
    assert FlowRow.objects.get().pattern.spans == 4


def test_lines_are_the_same_when_older_chunks_are_packed_anew_while_they_are_looked_up(monkeypatch):
    monkeypatch.setattr(import_module("eventflow.store.spans.window"), "opened", lambda chunks: {})
    orders_come(seed=10)


class Watched(Patterns):
    """Tells how many flows were not recognised as like others."""

    def __init__(self) -> None:
        super().__init__()
        self.others: set[str] = set()

    def judge(self, window, consumers, now):
        found = super().judge(window, consumers, now)
        self.others |= found.others
        return found


@pytest.mark.parametrize("first", ["publish", "consume"])
@pytest.mark.parametrize("joined", ["link", "parent"])
def test_flows_whose_spans_come_apart_are_like_others_too(first, joined, monkeypatch):
    patterns = Watched()
    monkeypatch.setattr(judge, "_patterns", patterns)
    came = {
        "publish": [
            publish(f"p{n}", n * 100, n * 100 + 3, service="web", to="jobs", parent="not here", trace_name=f"t{n}",
                    correlation=f"k{n}", title="send jobs")
            for n in range(20)
        ],
        "consume": [
            consume(f"c{n}", n * 100 + 9, n * 100 + 30, service="worker", from_="jobs", group="w", title="process jobs",
                    correlation=f"k{n}", **({"links": [link(f"t{n}", f"p{n}")], "trace_name": f"w{n}"}
                                            if joined == "link" else {"parent": f"p{n}", "trace_name": f"t{n}"}))
            for n in range(20)
        ],
    }  # fmt: skip
    second = "consume" if first == "publish" else "publish"
    for part in (came[first][:12], [*came[first][12:], *came[second][:15]], came[second][15:]):
        send(part)
        digest()
    assert not patterns.others
    assert FlowRow.objects.filter(pattern__spans=2, pattern__events=1).count() == 20
    expect_the_lines_that_flows_get_by_themselves()


def test_a_trace_without_a_key_that_links_to_nothing_known_is_judged_by_itself(monkeypatch):
    patterns = Watched()
    monkeypatch.setattr(judge, "_patterns", patterns)
    consumer = consume("c", 9, 30, service="worker", from_="jobs", group="w", links=[link("t", "p")], trace_name="w",
                       correlation=None)  # fmt: skip
    send([consumer])
    digest()
    assert patterns.others == {trace("w")}
    assert FlowRow.objects.get().key == trace("t"), "it is of the flow of what it links to"


def test_a_trace_that_gets_its_key_late_leaves_the_flow_it_was_of():
    send([publish("p", 0, 3, service="web", to="jobs", trace_name="t", correlation="k1")])
    digest()
    reads = consume("c", 9, 30, service="worker", from_="jobs", group="w", links=[link("t", "p")], trace_name="w",
                    correlation=None)  # fmt: skip
    send([reads])
    digest()
    assert list(FlowRow.objects.values_list("key", "pattern__spans")) == [("k1", 2)]
    send([span("last", 31, 33, service="worker", trace_name="w", correlation="k2")])
    digest()
    assert "k2" in FlowRow.objects.values_list("key", flat=True)
    expect_the_lines_that_flows_get_by_themselves()


def test_readers_of_one_message_that_is_not_here_are_told_from_readers_of_two():
    for number in range(4):
        both = {"service": "worker", "from_": "jobs", "correlation": f"k{number}", "title": "process jobs"}
        first, second = link(f"t{number}", "p"), link(f"t{number}", "p" if number % 2 else "q")
        send(
            [
                consume(f"c{number}", 9, 30, group="w", links=[first], trace_name=f"v{number}", **both),
                consume(f"d{number}", 10, 31, group="x", links=[second], trace_name=f"w{number}", **both),
            ]
        )
    digest()
    assert list(FlowRow.objects.order_by("key").values_list("pattern__events", flat=True)) == [2, 1, 2, 1]
    expect_the_lines_that_flows_get_by_themselves()


def test_what_begins_at_one_time_stands_in_the_order_of_its_addresses():
    for number in range(20):
        both = {"service": "web", "trace_name": f"t{number}", "correlation": f"k{number}"}
        send(
            [
                publish(f"a{number}", number, number + 2, to="jobs", title="a", **both),
                publish(f"b{number}", number, number + 2, to="mails", title="b", **both),
            ]
        )
    digest()
    assert FlowRow.objects.values("pattern").distinct().count() == 2
    expect_the_lines_that_flows_get_by_themselves()


def test_a_line_says_nothing_of_spans_whose_turn_comes_later(monkeypatch):
    monkeypatch.setattr(import_module("eventflow.store.spans.runs"), "FAN_IN", 2)
    for number in range(4):
        send([publish(f"p{number}", number, number + 1, service="web", to="jobs", trace_name="t", correlation="k1")])
        store.digest(NOW)
        if number == 0:
            store.judge(NOW)
    while store.tidy():
        pass
    seen = []
    while store.judge(NOW, limit=1):
        seen.append(FlowRow.objects.get().pattern.spans)
    assert seen == [2, 3, 4], "though all are found in one run of the index"


def several_orders(number: int) -> None:
    send(
        [
            publish(f"p{one}", one, one + 1, service="web", to="jobs", trace_name=f"t{one}", correlation=f"k{one}")
            for one in range(number)
        ]
    )


def test_lines_are_written_some_at_a_time(monkeypatch):
    monkeypatch.setattr(judge, "LINES_WRITTEN", 4)
    several_orders(10)
    store.digest(NOW)
    turns = []
    writing = judge.writing

    @contextmanager
    def counted() -> Iterator[None]:
        before = FlowRow.objects.count()
        with writing():
            yield
            turns.append(FlowRow.objects.count() - before)

    monkeypatch.setattr(judge, "writing", counted)
    store.judge(NOW)
    assert turns == [4, 4, 2]
    assert store.waiting() == 0


def test_what_is_interrupted_between_lines_is_done_again(monkeypatch):
    monkeypatch.setattr(judge, "LINES_WRITTEN", 4)
    several_orders(10)
    store.digest(NOW)

    def somebody_else_writes(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and params[1:2] == [generation.LINES] and FlowRow.objects.exists():
            params = [params[0], params[1], -1]
        return execute(sql, params, many, context)

    with connection.execute_wrapper(somebody_else_writes):
        assert store.judge(NOW) == frozenset()
    assert FlowRow.objects.count() == 4
    assert store.waiting() == 10
    assert len(store.judge(NOW)) == FlowRow.objects.count() == 10
    assert store.waiting() == 0


def test_a_flow_that_comes_again_before_its_line_was_made_gets_its_line(monkeypatch):
    first = [publish("p", 0, 3, service="web", to="jobs", trace_name="t", correlation="k1")]
    send(first)
    store.digest(NOW)
    # As after a kill: what was handed over is gone, what was stored is not.
    monkeypatch.setattr(judge, "handover", Handover())
    monkeypatch.setattr(import_module("eventflow.store.spans.digest"), "handover", judge.handover)
    send([*first, publish("q", 9, 12, service="web", to="jobs", trace_name="u", correlation="k2")])
    digest()
    assert set(FlowRow.objects.values_list("key", flat=True)) == {"k1", "k2"}


def test_a_span_without_a_key_that_comes_late_goes_to_the_flow_of_its_trace():
    send([publish("p", 2, 5, service="web", to="jobs", parent="root", trace_name="t", correlation="k1")])
    digest()
    # The request around it ends later, and names no key.
    send([span("root", 0, 9, service="web", trace_name="t", correlation=None)])
    digest()
    assert list(FlowRow.objects.values_list("key", "pattern__spans")) == [("k1", 2)]


def test_alike_flows_are_judged_once_whatever_their_times(monkeypatch):
    patterns = Patterns()
    monkeypatch.setattr(judge, "_patterns", patterns)
    for number in range(50):
        start, calm = number * 100, random.Random(number)
        send(
            [
                publish(f"p{number}", start, start + 3, service="web", to="jobs", trace_name=f"t{number}",
                        correlation=f"k{number}", title="send jobs"),
                consume(f"c{number}", start + calm.randint(4, 30), start + calm.randint(40, 90), service="worker",
                        from_="jobs", group="w", links=[link(f"t{number}", f"p{number}")], trace_name=f"w{number}",
                        correlation=f"k{number}", title="process jobs"),
            ]
        )  # fmt: skip
    digest()
    assert FlowRow.objects.count() == 50
    assert len(patterns) == 2, "one before and one since somebody is known to read"
    assert FlowPattern.objects.count() == 1, "both say the same"
