"""Shapes: spans of one shape are one to every judgement, and what no judgement looks at makes none."""

from array import array
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from tests.collectors.otlp.samples import START, attribute, request, span
from tests.collectors.otlp.scan import agreement
from tests.collectors.otlp.scan.agreement import KEYS, SEARCH, check
from tests.collectors.otlp.scan.ways import MESSAGE, every, made, with_attribute


def shapes_of(way: str, *requests: ExportTraceServiceRequest) -> list[int]:
    format_ = made(way)
    return [shape for one in requests for shape in array("Q", format_.scan(one.SerializeToString()).shapes)]


@every
@pytest.mark.parametrize(
    "change",
    (
        lambda sent: sent.attributes[1].value.__init__(string_value="payments"),
        lambda sent: sent.attributes.pop(3),
        lambda sent: setattr(sent, "kind", 4),
        lambda sent: setattr(sent, "name", "orders settle"),
        lambda sent: setattr(sent.status, "code", 2),
        lambda sent: setattr(sent, "parent_span_id", b"parent00"),
        lambda sent: sent.links.add(trace_id=b"t" * 16, span_id=b"s" * 8),
        lambda sent: sent.events.add(name="exception"),
    ),
)
def test_what_a_judgement_looks_at_makes_another_shape(way: str, change: Callable[[Any], None]) -> None:
    other = span(attributes=MESSAGE, kind=5)
    change(other)
    one, two = shapes_of(way, request(span(attributes=MESSAGE, kind=5)), request(other))
    assert one != two


@every
def test_ids_times_sizes_and_pods_make_no_shape(way: str) -> None:
    def sent(number: int) -> ExportTraceServiceRequest:
        made = request(
            span(
                trace_id=bytes([number]) * 16,
                span_id=bytes([number]) * 8,
                start_time_unix_nano=START + number,
                end_time_unix_nano=START + 2 * number,
                attributes=[
                    *with_attribute("messaging.message.id", string_value=f"m-{number}"),
                    KeyValue(key="messaging.kafka.message.offset", value=AnyValue(int_value=number)),
                    KeyValue(key="messaging.message.body.size", value=AnyValue(int_value=100 * number)),
                    attribute("user.name", f"n{number}"),
                ],
            )
        )
        made.resource_spans[0].resource.attributes.append(attribute("k8s.pod.name", f"pod-{number}"))
        return made

    assert len(set(shapes_of(way, *map(sent, range(1, 9))))) == 1


@every
def test_a_name_with_an_id_in_it_makes_no_shape_where_nobody_looks_at_it(way: str) -> None:
    web = [attribute("http.request.method", "GET"), attribute("correlation.id", "order-1")]
    sent = [request(span(name=f"GET /orders/{n}", kind=2, attributes=web)) for n in range(3)]
    assert len(set(shapes_of(way, *sent))) == 1


@every
@given(st.lists(agreement.requests(), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_spans_of_one_shape_are_judged_alike(way: str, bodies: list[bytes]) -> None:
    format_ = made(way, KEYS, SEARCH)
    judged: dict[int, object] = {}
    for body in bodies:
        columns = check(format_, body)
        if columns is not None:
            agreement.check_odd_warnings(format_, body, columns)
            for shape, proof in agreement.proofs_by_shape(format_, body, columns):
                assert judged.setdefault(shape, proof) == proof
