"""The digester: readable within a quarter of a second, told to the pages, alive after whatever happens."""

import threading
import time
from collections.abc import Iterable
from itertools import chain, count, repeat

import pytest
from django.db import connection
from django.utils import timezone
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from eventflow.domain.observations import SpanBatch
from eventflow.store import spans
from eventflow.store.models import ConsumerGroup, FlowRow, IndexRun
from eventflow.store.spans.digest import STEP_REQUESTS, STEP_SPANS
from eventflow.store.spans.runs import FAN_IN
from eventflow.worker.digest import (
    FLOOD_RATE,
    FLOOD_REQUESTS,
    FLOODED,
    NO_PRESSURE,
    STRAINED,
    STRAINED_RATE,
    STRAINED_SECONDS,
    STRAINED_SHARE,
    Digester,
    Pressure,
    Strain,
)
from tests.running import until


def request(correlation_id: str, number: int = 0) -> SpanBatch:
    """One consumer span as OTLP, in a trace of its own number."""
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="payment-service")))
    span = resource.scope_spans.add().spans.add()
    span.trace_id, span.span_id = b"trace id" + number.to_bytes(8, "big"), b"s" * 8
    span.name, span.kind = "process orders.placed", 5
    span.start_time_unix_nano = time.time_ns()
    span.end_time_unix_nano = span.start_time_unix_nano + 1000
    for name, value in {
        "messaging.system": "nats",
        "messaging.destination.name": "orders.placed",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": "payment",
        "messaging.message.conversation_id": correlation_id,
    }.items():
        span.attributes.append(KeyValue(key=name, value=AnyValue(string_value=value)))
    return SpanBatch(message.SerializeToString(), timezone.now())


class Listener:
    """Remembers the news and tells when some topic came."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self._news = threading.Condition()

    def publish(self, topics: Iterable[str]) -> None:
        with self._news:
            self.topics.update(topics)
            self._news.notify_all()

    def wait_for(self, topic: str) -> bool:
        with self._news:
            return self._news.wait_for(lambda: topic in self.topics, timeout=10)


@pytest.mark.django_db(transaction=True)
def test_what_was_there_before_the_start_is_digested_and_told() -> None:
    ConsumerGroup.objects.create(
        source="nats", system="nats", destination="orders.>", name="payment", seen_at=timezone.now()
    )
    spans.append([request("order-1")])
    listener = Listener()
    digester = Digester(publish=listener.publish)
    digester.start()
    try:
        assert listener.wait_for("flow:order-1")
    finally:
        digester.stop()
    assert {"flows", "topology"} <= listener.topics
    assert FlowRow.objects.get().key == "order-1"
    assert ConsumerGroup.objects.get().service == "payment-service"


@pytest.mark.django_db(transaction=True)
def test_a_failing_step_is_survived_and_what_failed_is_digested_later() -> None:
    spans.append([request("order-2")])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE store_chunk RENAME TO away")
    listener = Listener()
    digester = Digester(publish=listener.publish)
    digester.start()
    try:
        time.sleep(0.2)
        assert spans.inbox_depth() == 1
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE away RENAME TO store_chunk")
        assert listener.wait_for("flow:order-2")
    finally:
        digester.stop()
    assert spans.inbox_depth() == 0


@pytest.mark.django_db(transaction=True)
def test_a_stopped_digester_leaves_the_inbox_for_the_next() -> None:
    digester = Digester(publish=Listener().publish)
    digester.start()
    digester.stop()
    spans.append([request("order-3")])
    digester.wake()
    assert spans.inbox_depth() == 1


@pytest.mark.django_db(transaction=True)
def test_what_waits_after_a_full_step_does_not_keep_flows_from_their_lines() -> None:
    for number in range(STEP_REQUESTS + FLOOD_REQUESTS):
        spans.append([request(f"order-{number}", number)])
    listed: list[int] = []

    def publish(topics: Iterable[str]) -> None:
        if "flows" in set(topics):
            listed.append(FlowRow.objects.count())

    digester = Digester(publish)
    digester.start()
    try:
        until(lambda: len(listed) > 1, 20, "the lines of all")
    finally:
        digester.stop()
    assert listed == [STEP_REQUESTS, STEP_REQUESTS + FLOOD_REQUESTS]


def many_spans(number: int) -> SpanBatch:
    """A request with a thousand spans, one a trace."""
    requests = [request(f"order-{number}-{each}", number * 1000 + each) for each in range(1000)]
    return SpanBatch(b"".join(one.body for one in requests), timezone.now())


def strain(share: float, rate: float) -> Strain:
    """After STRAINED_SECONDS in which so much of a core was used for so many spans a second."""
    clock = chain([0.0, 0.0], repeat(STRAINED_SECONDS)).__next__
    found = Strain(cpu=chain([0.0], repeat(share * STRAINED_SECONDS)).__next__, clock=clock)
    found.felt(int(rate * STRAINED_SECONDS))
    return found


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("share", "rate", "listed"),
    [
        (STRAINED_SHARE * 1.2, STRAINED_RATE * 1.2, False),
        (STRAINED_SHARE * 0.8, STRAINED_RATE * 1.2, True),
        (STRAINED_SHARE * 1.2, STRAINED_RATE * 0.8, True),
    ],
)
def test_lines_wait_for_spans_while_many_come_and_use_up_a_core(share: float, rate: float, listed: bool) -> None:
    digester = Digester(Listener().publish, strain(share, rate), count().__next__)
    digester._judging_took = 1
    spans.append([request("order-1")])
    assert not digester.step()
    assert FlowRow.objects.exists() is listed
    while digester.step() or spans.waiting():
        pass
    assert FlowRow.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("at_once", "lines"), [(100, [1, 1, 1, 4]), (1, [1, 2, 3, 4])])
def test_lines_that_took_long_wait_as_long_unless_many_do(
    at_once: int, lines: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "LINES_AT_ONCE", at_once)
    # The start; whether lines are due; when they were begun and ended: they take four seconds.
    looks = iter([0, 1, 1, 5, 6, 8, 9, 9, 13] if at_once > 1 else [0, 1, 1, 5, 6, 6, 10, 11, 11, 15, 16, 16, 20])
    digester = Digester(Listener().publish, clock=looks.__next__)
    listed = []
    for number in range(4):
        spans.append([request(f"order-{number}", number)])
        digester.step()
        listed.append(FlowRow.objects.count())
    assert listed == lines


@pytest.mark.parametrize("pressure", [STRAINED, FLOODED])
def test_while_spans_press_lines_wait_many_times_as_long_as_they_took(pressure: Pressure) -> None:
    digester = Digester(Listener().publish, clock=iter([0, pressure.times - 1, pressure.times]).__next__)
    digester._judging_took = 1
    assert not digester._lines_due(pressure)
    assert digester._lines_due(pressure)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("waiting", "listed"), [(FLOOD_REQUESTS, True), (FLOOD_REQUESTS + 1, False)])
def test_in_a_flood_lines_wait_longer_than_in_mere_strain(waiting: int, listed: bool) -> None:
    looks = iter([0] + [STRAINED.times] * 3)
    digester = Digester(Listener().publish, strain(1, 2 * STRAINED_RATE), looks.__next__)
    digester._judging_took = 1
    spans.append([many_spans(number) for number in range(-(-STEP_SPANS // 1000))])
    spans.append([request(f"order-{number}", number) for number in range(waiting)])
    digester.step()
    assert FlowRow.objects.exists() is listed


@pytest.mark.django_db(transaction=True)
def test_in_a_flood_the_lines_of_one_step_are_written_at_a_time() -> None:
    digester = Digester(Listener().publish, clock=iter([0] * 3 + [FLOODED.times] * 3).__next__)
    digester._judging_took = 1
    step = -(-STEP_SPANS // 1000)
    spans.append([many_spans(number) for number in range(3 * step)])
    spans.append([request(f"order-{number}", number) for number in range(FLOOD_REQUESTS + 1)])
    assert [digester.step() for _ in range(2)] == [True, True]
    assert not FlowRow.objects.exists()
    digester.step()
    assert FlowRow.objects.count() == step * 1000


def test_what_lines_use_of_a_core_is_not_counted_for_spans() -> None:
    digester = Digester(Listener().publish)
    before = digester._strain._cpu()
    digester._judging_cpu += 5
    assert digester._strain._cpu() < before - 4


def test_a_core_is_used_up_by_spans_when_it_is_for_a_second() -> None:
    now, used = [0.0], [0.0]
    felt = []
    strain = Strain(clock=lambda: now[0], cpu=lambda: used[0])
    many = int(STRAINED_RATE * 1.5)
    for seconds, busy, spans_more in (
        (0.5, 0.5, many),
        (0.5, 0, many),
        (0.5, 0.5, many),
        (0.5, 0.2, many),
        (1, 0.9, 1),
    ):
        now[0] += seconds
        used[0] += busy
        felt.append(strain.felt(spans_more))
    assert felt == [NO_PRESSURE, NO_PRESSURE, NO_PRESSURE, STRAINED, NO_PRESSURE]


@pytest.mark.parametrize(("rate", "pressure"), [(FLOOD_RATE * 1.2, FLOODED), (FLOOD_RATE * 0.8, STRAINED)])
def test_more_spans_a_second_than_lines_keep_pace_with_are_a_flood_however_few_wait(
    rate: float, pressure: Pressure
) -> None:
    assert strain(1, rate).felt(0) is pressure


@pytest.mark.django_db
def test_a_flood_is_not_waited_for_to_grow() -> None:
    digester = Digester(Listener().publish)
    end = time.monotonic() + 60
    spans.append([request(f"order-{number}", number) for number in range(FLOOD_REQUESTS + 1)])
    digester._gather(end)
    assert time.monotonic() < end


@pytest.mark.django_db
def test_the_index_stays_in_few_runs_however_many_steps_are_taken() -> None:
    digester = Digester(Listener().publish)
    for number in range(2 * FAN_IN * FAN_IN):
        spans.append([request(f"order-{number}", number)])
        digester.step()
    assert IndexRun.objects.count() < 2 * FAN_IN
