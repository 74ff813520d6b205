"""How fast reads are with many spans stored: a flow by its id, the newest failed flows, the topology of 200 edges.

Filled by one child process (append, digest, lines), read by others, which have seen nothing of it before.
"""

# ruff: noqa: PLC0415  # Eventflow's settings read the folder made for this process
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import median

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks import child, disk
from benchmarks.figures import Figure, percentile
from benchmarks.otlp_load import REQUESTS, SPANS, Load
from benchmarks.spans_stream import ROUNDS, key_of

MODULE = "benchmarks.spans"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TOGETHER = 32
"""Requests to one commit."""
WARM, READS = 100, 400
BOUNDS = ((3_000_000, 5, 1), (30_000_000, 5, 2), (float("inf"), 20, 5))
"""Up to how many spans stored a flow must be read in how many milliseconds, and is aimed to be."""
EDGES = 200
SLOT, MINUTE, HOUR = 10, 60, 3600
TIDY_EVERY, JUDGE_EVERY = 16, 8


def measure(spans: int, repeats: int = 1) -> list[Figure]:
    """Filled once; medians of so many processes that read it, one after another."""
    with tempfile.TemporaryDirectory(prefix="eventflow-bench-") as folder:
        where = {"EVENTFLOW_DATA": folder}
        filled = child.figures(MODULE, "fill", str(spans), environment=where)
        runs = [child.figures(MODULE, "read", str(spans), environment=where) for _ in range(repeats)]
    return [*filled, *_medians(runs)]


def topology(repeats: int = 1) -> list[Figure]:
    """Medians of so many processes, each with a database of its own."""
    return _medians([child.figures(MODULE, "topology") for _ in range(repeats)])


def _medians(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    return [replace(same[0], value=median(one.value for one in same)) for same in zip(*runs, strict=True)]


def fill(spans: int) -> list[Figure]:
    """Without a receiver, in this one thread."""
    from eventflow.domain.observations import SpanBatch
    from eventflow.store import spans as store
    from eventflow.worker.formats import span_format

    form, load = span_format(), Load(ROUNDS)
    batches = (SpanBatch(body, NOW, columns=form.scan(body)) for body in map(load.body, range(_requests(spans))))
    steps, begun = 0, time.perf_counter()
    while part := list(islice(batches, TOGETHER)):
        store.append(part)
        while store.digest(NOW).requests:
            steps += 1
            if steps % TIDY_EVERY == 0:
                store.tidy()
            if steps % JUDGE_EVERY == 0:
                _judge()
    _judge()
    while store.tidy():
        pass
    seconds = time.perf_counter() - begun
    stored, number = _requests(spans) * SPANS, _number(spans)
    return [
        Figure(f"spans: {number} made, stored and listed in one process", stored / seconds, "spans/s", more=True),
        Figure(f"spans: {number} on disk", disk.used()[0] / stored, "bytes/span", 90, 75),
    ]


def _judge() -> None:
    from eventflow.store import spans as store

    while store.judge(NOW):
        pass


def _requests(spans: int) -> int:
    return -(-spans // (SPANS * REQUESTS)) * REQUESTS


def _number(spans: int) -> str:
    return f"{spans / 1_000_000:.3g} M spans"


def read(spans: int) -> list[Figure]:
    """The reads of the pages, by their functions."""
    from eventflow.domain.flow_query import FlowQuery, FlowStatus
    from eventflow.store import spans as store
    from eventflow.store.queries import flow_search, flows

    keys = _keys(spans)
    must, aim = next(bounds for most, *bounds in BOUNDS if spans <= most)
    stored = [_milliseconds(lambda: _whole(store.flow_spans(next(keys)).spans)) for _ in range(WARM + READS)]
    put_together = [_milliseconds(lambda: flows.flow(next(keys), NOW)) for _ in range(READS)]
    failed = FlowQuery(statuses=(FlowStatus.FAILED,))
    listed = [_milliseconds(lambda: flow_search.page(failed, None, 50, NOW)) for _ in range(20)]
    number = _number(spans)
    return [
        Figure(f"spans: flow by correlation id out of {number}, p95", percentile(stored[WARM:], 95), "ms", must, aim),
        Figure("spans: the same, put together for its page, p95", percentile(put_together, 95), "ms"),
        Figure(f"spans: newest 50 failed flows out of {number}, p95", percentile(listed, 95), "ms", 50, 15),
    ]


def _whole(found: "tuple[object, ...]") -> None:
    assert len(found) == REQUESTS, f"a flow has {len(found)} spans, not {REQUESTS}"


def _keys(spans: int) -> Iterator[str]:
    """At random, of all that were sent."""
    load, chance = Load(ROUNDS), random.Random(5)
    made = []
    for number in range(ROUNDS):
        sent = ExportTraceServiceRequest.FromString(load.body(number * REQUESTS))
        made += [key_of(span) for span in sent.resource_spans[0].scope_spans[0].spans]
    orders = _requests(spans) * SPANS // REQUESTS
    while True:
        again, which = divmod(chance.randrange(orders), len(made))
        yield f"{made[which][:4]}{again:04x}{made[which][8:]}"


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def read_topology() -> list[Figure]:
    """Slots as time leaves them: ten seconds in the last hour, minutes before."""
    from eventflow.store.queries import topology as queries

    _fill_edges()
    found = []
    for minutes, name, must, aim in ((15, "15 min", 5, 1), (24 * 60, "24 h", 100, 60)):
        start = NOW - timedelta(minutes=minutes)

        def ask(start: datetime = start) -> None:
            assert len(queries.edges(start, NOW)) == EDGES

        ask()
        times = [_milliseconds(ask) for _ in range(15)]
        found.append(Figure(f"spans: topology of {EDGES} edges, {name}", percentile(times, 50), "ms", must, aim))
    return found


def _fill_edges() -> None:
    from django.db import transaction

    from eventflow.domain.edge import EdgeKey, Histogram
    from eventflow.store.spans import slots
    from eventflow.store.spans.edges import Sums, cells, edge_ids

    chance = random.Random(9)
    keys = [EdgeKey("consume", f"service-{n % 40}", "kafka", f"topic-{n}", f"group-{n}") for n in range(EDGES)]
    end = int(NOW.timestamp())

    def sums(messages: int) -> Sums:
        made = Sums(messages, chance.randrange(3))
        for _ in range(messages):
            made.processing[Histogram.bucket(int(chance.lognormvariate(0, 0.6) * 22e6))] += 1
            made.wait[Histogram.bucket(int(chance.lognormvariate(0, 0.6) * 15e6))] += 1
        return made

    # Made once each: what differs from slot to slot costs a reader nothing.
    small, large = [sums(10) for _ in range(97)], [sums(60) for _ in range(97)]
    with transaction.atomic():
        ids = list(edge_ids(keys, dict.fromkeys(keys, (0, end * 1_000_000_000))).values())
        many = [cells((edge, chance.choice(large)) for edge in ids) for _ in range(23)]
        few = [cells((edge, chance.choice(small)) for edge in ids) for _ in range(23)]
        slots.store({(MINUTE, at): chance.choice(many) for at in range(end - 24 * HOUR, end - HOUR, MINUTE)})
        slots.store({(SLOT, at): chance.choice(few) for at in range(end - HOUR, end, SLOT)})


def main(what: str, spans: int) -> None:
    """In the child."""
    child.django()
    child.tell({"fill": lambda: fill(spans), "read": lambda: read(spans), "topology": read_topology}[what]())
