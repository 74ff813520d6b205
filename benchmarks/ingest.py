"""How fast spans become readable: append and digest rate in this process, and how long an acknowledgement takes.

    python benchmarks/ingest.py [--spans 20000] [--per-request 100] [--rate 1000]

Uses the database of the settings in a folder of its own (or DATABASE_URL, which must be empty: its spans are deleted).
Prints tables and checks afterwards that spans and sums equal what was sent.
"""

# ruff: noqa: PLC0415  # Eventflow's settings read the folder that `main` makes
import argparse
import asyncio
import cProfile
import os
import pstats
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
from django.core.management import call_command
from django.db import connection
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from eventflow.domain.observations import SpanBatch

NOW = datetime.now(UTC)
CONSUMERS = ("payment", "inventory", "fraud-check", "email", "shipping", "audit")


def attribute(name: str, value: str | int) -> KeyValue:
    typed = AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
    return KeyValue(key=name, value=typed)


def order(chance: random.Random, started_ns: int) -> Iterator[tuple[str, Span]]:
    """One order: a request, its publish, six consumers in traces of their own, each with some work inside."""
    trace, request, sent = chance.randbytes(16), chance.randbytes(8), chance.randbytes(8)
    key, message = f"order-{chance.getrandbits(48):x}", f"msg-{chance.getrandbits(48):x}"
    common = [
        attribute("messaging.system", "nats"),
        attribute("messaging.destination.name", "orders.placed"),
        attribute("messaging.message.id", message),
        attribute("messaging.message.conversation_id", key),
        attribute("messaging.message.body.size", chance.randint(200, 900)),
    ]
    yield (
        "checkout",
        Span(
            trace_id=trace,
            span_id=request,
            name="POST /orders",
            kind=2,
            start_time_unix_nano=started_ns,
            end_time_unix_nano=started_ns + 9_000_000,
            attributes=[attribute("http.request.method", "POST"), attribute("http.response.status_code", 201)],
        ),
    )
    published = [attribute("messaging.operation.type", "send"), attribute("messaging.operation.name", "publish")]
    yield (
        "checkout",
        Span(
            trace_id=trace,
            span_id=sent,
            parent_span_id=request,
            name="publish orders.placed",
            kind=4,
            start_time_unix_nano=started_ns + 3_000_000,
            end_time_unix_nano=started_ns + 4_000_000,
            attributes=[*published, *common],
        ),
    )
    for name in CONSUMERS:
        received = started_ns + chance.randint(5, 400) * 1_000_000
        own, work = chance.randbytes(16), chance.randbytes(8)
        handled = [
            attribute("messaging.operation.type", "process"),
            attribute("messaging.operation.name", "process"),
            attribute("messaging.consumer.group.name", name),
        ]
        yield (
            name,
            Span(
                trace_id=own,
                span_id=work,
                name="process orders.placed",
                kind=5,
                start_time_unix_nano=received,
                end_time_unix_nano=received + chance.randint(1, 90) * 1_000_000,
                attributes=[*handled, *common],
                links=[Span.Link(trace_id=trace, span_id=sent)],
            ),
        )
        yield (
            name,
            Span(
                trace_id=own,
                span_id=chance.randbytes(8),
                parent_span_id=work,
                name="SELECT",
                kind=3,
                start_time_unix_nano=received + 100_000,
                end_time_unix_nano=received + 800_000,
                attributes=[attribute("db.system.name", "postgresql"), attribute("db.query.text", "SELECT 1")],
            ),
        )


def requests(spans: int, per_request: int) -> list[bytes]:
    """Export requests as a collector batches them: spans of many orders, grouped by service."""
    chance = random.Random(1)
    made: list[tuple[str, Span]] = []
    started = int((NOW - timedelta(minutes=5)).timestamp() * 1e9)
    while len(made) < spans:
        made.extend(order(chance, started))
        started += 5_000_000
    made = made[:spans]
    made.sort(key=lambda pair: pair[1].end_time_unix_nano)
    bodies = []
    for at in range(0, spans, per_request):
        by_service: dict[str, ResourceSpans] = {}
        for service, span in made[at : at + per_request]:
            group = by_service.setdefault(service, ResourceSpans())
            if not group.scope_spans:
                group.resource.attributes.append(attribute("service.name", service))
                group.scope_spans.add().scope.name = "opentelemetry.instrumentation.shop"
            group.scope_spans[0].spans.append(span)
        bodies.append(ExportTraceServiceRequest(resource_spans=by_service.values()).SerializeToString())
    return bodies


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--spans", type=int, default=20_000)
    options.add_argument("--per-request", type=int, default=100)
    options.add_argument("--rate", type=float, default=1_000, help="spans a second of the second part")
    options.add_argument("--profile", action="store_true", help="say where a digest spends its time")
    wanted = options.parse_args()
    folder = tempfile.mkdtemp(prefix="eventflow-bench-")
    os.environ["EVENTFLOW_DATA"] = folder
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventflow.settings")
    try:
        django.setup()
        call_command("migrate", verbosity=0)
        bodies = requests(wanted.spans, wanted.per_request)
        half = len(bodies) // 2 or 1
        fill_and_digest(bodies[:half], profile=wanted.profile)
        asyncio.run(steady(bodies[half:], wanted.per_request, wanted.rate))
        check(bodies)
    finally:
        shutil.rmtree(folder)


def fill_and_digest(bodies: list[bytes], *, profile: bool) -> None:
    """Everything at once: the inbox filled, then emptied as fast as one thread can."""
    from eventflow.store import spans
    from eventflow.store.models import StoredSpan
    from eventflow.worker.digest import decode

    acks = []
    for body in bodies:
        begun = time.perf_counter()
        spans.append([SpanBatch(body, NOW)])
        acks.append(time.perf_counter() - begun)
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    begun, used = time.perf_counter(), time.process_time()
    steps = []
    while True:
        step = time.perf_counter()
        if not spans.digest(NOW, decode=decode).requests:
            break
        steps.append(time.perf_counter() - step)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    if profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    stored = StoredSpan.objects.count()
    print(table(acks))
    print(f"| digest spans/s, {connection.vendor} | {stored / seconds:,.0f} |")
    print(f"| digest spans per CPU second | {stored / used:,.0f} |")
    print(f"| slowest step ms | {max(steps) * 1000:.0f} |")


async def steady(bodies: list[bytes], per_request: int, rate: float) -> None:
    """Requests one after another while the digester runs beside: acknowledgements, and how soon spans can be read."""
    from eventflow.store import spans
    from eventflow.worker.digest import Digester

    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    digester = Digester(publish=lambda topics: loop.call_soon_threadsafe(told.set))
    commit = spans.GroupCommit(digester.wake)
    digester.start()
    acks, seen = [], []
    begun = time.perf_counter()
    for number, body in enumerate(bodies):
        await asyncio.sleep(max(0.0, begun + number * per_request / rate - time.perf_counter()))
        sent = time.perf_counter()
        told.clear()
        await commit.submit([SpanBatch(body, NOW)])
        acks.append(time.perf_counter() - sent)
        await told.wait()
        seen.append(time.perf_counter() - sent)
    seconds = time.perf_counter() - begun
    await asyncio.to_thread(commit.close)
    await asyncio.to_thread(digester.stop)
    number = len(bodies) * per_request
    print(f"{table(acks)}\n| readable p95 ms | {quantiles(seen, n=20)[18] * 1000:.0f} |")
    print(f"| steady spans/s | {number / seconds:,.0f} |")


def table(acks: list[float]) -> str:
    """The head of a table, with its first lines."""
    marks = quantiles(acks, n=100) if len(acks) > 1 else [acks[0]] * 99
    p50, p99 = marks[49] * 1000, marks[98] * 1000
    return f"\n| figure | value |\n|---|---|\n| acknowledged p50 ms | {p50:.1f} |\n| acknowledged p99 ms | {p99:.1f} |"


def check(bodies: list[bytes]) -> None:
    """What is stored and summed up equals what was sent; how long reading takes."""
    from eventflow.domain.flow_query import FlowQuery
    from eventflow.store.models import StoredSpan
    from eventflow.store.queries import flows, topology
    from eventflow.worker.digest import decode

    sent = [span for body in bodies for span in decode(body)]
    sums = topology.edges(NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    found = StoredSpan.objects.count(), sum(stats.count for stats in sums)
    expected = len(sent), sum(1 for span in sent if span.messaging)
    if found != expected:
        sys.exit(f"wrong: (spans, messages) are {found}, sent were {expected}")
    page = flows.page(FlowQuery(), None, 20, NOW).rows
    reads = {
        "one flow": lambda: flows.flow(page[0].key, NOW),
        "a page of 50 flows": lambda: flows.page(FlowQuery(), None, 50, NOW),
        "a page of one service": lambda: flows.page(FlowQuery(service="email"), None, 50, NOW),
        "topology of 15 min": lambda: topology.edges(NOW - timedelta(minutes=15), NOW),
    }
    print("\n| read | p50 ms | p95 ms |")
    print("|---|---|---|")
    for name, read in reads.items():
        times = []
        for _ in range(40):
            begun = time.perf_counter()
            read()
            times.append((time.perf_counter() - begun) * 1000)
        print(f"| {name} | {quantiles(times, n=20)[9]:.1f} | {quantiles(times, n=20)[18]:.1f} |")


if __name__ == "__main__":
    main()
