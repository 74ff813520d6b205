"""How fast spans become readable: append and digest rate in this process, and how long an acknowledgement takes.

    python benchmarks/ingest.py [--spans 20000] [--per-request 100]

Uses the database of the settings in a folder of its own (or DATABASE_URL, which must be empty: its spans are deleted).
Prints one line of a table and checks afterwards that spans and sums equal what was sent.
"""

import argparse
import os
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

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

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
    options.add_argument("--profile", action="store_true")
    wanted = options.parse_args()
    folder = tempfile.mkdtemp(prefix="eventflow-bench-")
    os.environ["EVENTFLOW_DATA"] = folder
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eventflow.settings")
    try:
        run(wanted.spans, wanted.per_request, profile=wanted.profile)
    finally:
        shutil.rmtree(folder)


def run(number: int, per_request: int, *, profile: bool) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from eventflow.domain.observations import SpanBatch
    from eventflow.store import spans
    from eventflow.store.models import StoredSpan
    from eventflow.store.queries import flows, topology
    from eventflow.worker.digest import decode

    call_command("migrate", verbosity=0)
    bodies = requests(number, per_request)
    acks = []
    for body in bodies:
        begun = time.perf_counter()
        spans.append([SpanBatch(body, (), NOW)])
        acks.append(time.perf_counter() - begun)
    profiler = None
    if profile:
        import cProfile

        profiler = cProfile.Profile()
        profiler.enable()
    begun, used = time.perf_counter(), time.process_time()
    steps = []
    while True:
        step = time.perf_counter()
        if not spans.digest(NOW, decode=decode).requests:
            break
        steps.append(time.perf_counter() - step)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    if profiler:
        import pstats

        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
    stored = StoredSpan.objects.count()
    sums = topology.edges(NOW - timedelta(hours=1), NOW + timedelta(hours=1))
    messages = sum(stats.count for stats in sums)
    expected = sum(len(decode(body)) for body in bodies)
    hops = sum(1 for body in bodies for span in decode(body) if span.messaging)
    assert (stored, messages) == (expected, hops), (stored, expected, messages, hops)
    key = flows.recent_failed(1) or flows.page(flows.FlowQuery(), None, 1, NOW).rows
    begun = time.perf_counter()
    for _ in range(20):
        flows.flow(key[0].key, NOW)
    flow_ms = (time.perf_counter() - begun) / 20 * 1000
    print(
        "| database | spans | digest spans/s | per CPU second | slowest step ms | append p50 ms | append p99 ms | flow ms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    marks = quantiles(acks, n=100) if len(acks) > 1 else [acks[0]] * 99
    print(
        f"| {connection.vendor} | {stored} | {stored / seconds:,.0f} | {stored / used:,.0f} | {max(steps) * 1000:.0f} "
        f"| {marks[49] * 1000:.1f} | {marks[98] * 1000:.1f} | {flow_ms:.1f} |"
    )


if __name__ == "__main__":
    main()
