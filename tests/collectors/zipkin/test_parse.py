"""Zipkin v2 JSON as OTLP: ids, times, endpoints, shared spans, Brave's messaging tags."""

from typing import Any

import orjson
import pytest

from collectors.otlp import parse as otlp
from collectors.receiving.errors import BadRequestError
from collectors.zipkin.parse import convert
from eventflow.domain.hop import Side
from eventflow.domain.hops import hops
from eventflow.domain.observations import Operation, Span, SpanKind, SpanStatus
from tests.collectors.zipkin import samples
from tests.collectors.zipkin.samples import US, span


def read(*spans: Any) -> dict[str, Span]:
    found = convert(orjson.dumps(list(spans)))
    return {one.span_id: one for one in otlp.from_protobuf(found.body).spans}


def only(**changes: Any) -> Span:
    [found] = read(span(**changes)).values()
    return found


def test_a_64_bit_trace_id_is_padded_on_the_left() -> None:
    assert only().trace_id == "0000000000000000" + samples.TRACE
    assert only(traceId="463ac35c9f6413ad48485a3953bb6124").trace_id == "463ac35c9f6413ad48485a3953bb6124"


def test_microseconds_become_nanoseconds() -> None:
    assert (only().start_ns, only().end_ns) == (US * 1000, US * 1000 + 7000)
    assert only(duration=None).end_ns == US * 1000


def test_a_span_of_annotations_only_begins_with_the_first() -> None:
    annotations = [{"timestamp": US + 9, "value": "cr"}, {"timestamp": US, "value": "cs"}]
    found = only(timestamp=None, annotations=annotations)
    assert found.start_ns == US * 1000
    assert [event.name for event in found.events] == ["cr", "cs"]


def test_an_error_tag_makes_a_failed_span() -> None:
    found = only(tags={"error": "card declined"})
    assert (found.status, found.status_message) == (SpanStatus.ERROR, "card declined")


@pytest.mark.parametrize(
    ("kind", "expected"), [(None, SpanKind.INTERNAL), ("SERVER", SpanKind.SERVER), (7, SpanKind.INTERNAL)]
)
def test_a_span_without_kind_is_a_local_one(kind: Any, expected: SpanKind) -> None:
    assert only(kind=kind).kind is expected


def test_the_scope_that_opentelemetrys_zipkin_exporter_writes_is_read_back() -> None:
    found = only(tags={"otel.scope.name": "io.kafka", "otel.scope.version": "2.1"})
    assert (found.scope, found.scope_version) == ("io.kafka", "2.1")
    assert only().scope == "zipkin"


def test_the_broker_is_the_remote_endpoint_of_a_message() -> None:
    assert {
        "server.address": "10.0.0.9",
        "server.port": 9092,
        "peer.service": "kafka",
    }.items() <= only().attributes.items()


def test_a_kafka_hop_is_one_publish_and_one_consumption_that_failed() -> None:
    found = hops(read(*samples.kafka_hop()).values())
    assert [(hop.side, hop.system, hop.destination) for hop in found] == [
        (Side.PUBLISH, "kafka", "orders"),
        (Side.CONSUME, "kafka", "orders"),
    ]
    assert found[1].span.name == "on-message"
    assert found[1].span.status is SpanStatus.ERROR


def test_a_rabbit_hop_meets_at_the_exchange_and_names_the_queue_as_reader() -> None:
    spans = read(*samples.rabbit_hop())
    found = hops(spans.values())
    assert [(hop.side, hop.destination) for hop in found] == [(Side.PUBLISH, "shop"), (Side.CONSUME, "shop")]
    assert found[1].group == "billing.orders"
    listener = spans["000000000000000c"].messaging
    assert listener is not None
    assert listener.operation is Operation.PROCESS


def test_the_two_halves_of_a_shared_span_get_ids_of_their_own_and_children_hang_on_the_server() -> None:
    spans = read(*samples.shared_call())
    client = spans["000000000000000a"]
    [server] = [one for one in spans.values() if one.kind is SpanKind.SERVER]
    child = spans["000000000000000d"]
    assert len(spans) == 3
    assert server.parent_id == client.span_id
    assert child.parent_id == server.span_id
    assert read(*samples.shared_call()).keys() == spans.keys()


@pytest.mark.parametrize(
    ("spoiled", "rule"),
    [
        ({"traceId": "xyz"}, "traceId"),
        ({"traceId": "0" * 32}, "traceId"),
        ({"id": None}, "id must"),
        ({"timestamp": None}, "timestamp"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": 2**62}, "timestamp"),
    ],
)
def test_a_span_that_breaks_a_rule_is_left_out_and_the_others_kept(spoiled: dict[str, Any], rule: str) -> None:
    found = convert(
        orjson.dumps([span(**spoiled) if "id" not in spoiled else span() | {"id": 5}, span("00000000000000ee")])
    )
    assert (found.spans, found.rejected) == (1, 1)
    assert rule in found.message
    assert "'send'" in found.message


@pytest.mark.parametrize("body", [b"{}", b"[", b'"x"', b"\xff"])
def test_what_is_no_list_of_spans_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        convert(body)


def test_odd_values_are_survived() -> None:
    found = only(
        name=7,
        tags={"a": 1, "b": None, "c": [1], "d": "x", "e": 2**70 * 1.0},
        annotations=[5, {"timestamp": "no"}, {"timestamp": US, "value": 3}],
        localEndpoint="checkout",
        remoteEndpoint={"port": "x", "serviceName": 5},
        duration="oops",
        parentId="",
        shared="yes",
    )
    assert found.attributes["d"] == "x"
    assert found.service == "unknown_service"
    assert found.parent_id is None


def test_an_empty_list_and_an_empty_body_are_no_spans() -> None:
    assert convert(b"[]").spans == convert(b"").spans == 0
