"""Requests of every quality, good and bad, as bytes → spans."""

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from collectors.otlp import parse
from collectors.receiving.errors import BadRequestError
from eventflow.domain.observations import Span, SpanKind, SpanStatus
from tests.collectors.otlp.samples import SPAN, START, TRACE, json_request, json_span, request, span


def read(message: ExportTraceServiceRequest) -> parse.Parsed:
    return parse.from_protobuf(message.SerializeToString())


def read_json(document: Any) -> parse.Parsed:
    return parse.from_json(json.dumps(document).encode())


def only(parsed: parse.Parsed) -> Span:
    [found] = parsed.spans
    return found


def test_a_span_is_read_whole() -> None:
    sent = span(
        parent_span_id=bytes.fromhex("00f067aa0ba902b7"),
        status={"code": 2, "message": "refused"},
        attributes=[
            KeyValue(key="text", value=AnyValue(string_value="a")),
            KeyValue(key="yes", value=AnyValue(bool_value=True)),
            KeyValue(key="count", value=AnyValue(int_value=-3)),
            KeyValue(key="share", value=AnyValue(double_value=0.5)),
            KeyValue(key="raw", value=AnyValue(bytes_value=b"\xff")),
            KeyValue(key="list", value=AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="b")]))),
            KeyValue(
                key="map",
                value=AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="c", value=AnyValue(int_value=1))])),
            ),
            KeyValue(key="nothing"),
        ],
    )
    found = only(read(request(sent)))
    assert (found.trace_id, found.span_id, found.parent_id) == (TRACE, SPAN, "00f067aa0ba902b7")
    assert (found.kind, found.status, found.status_message) == (SpanKind.PRODUCER, SpanStatus.ERROR, "refused")
    assert (found.start_ns, found.end_ns, found.service, found.scope) == (START, START + 5, "checkout", "shop")
    assert found.attributes == {
        "text": "a",
        "yes": True,
        "count": -3,
        "share": 0.5,
        "raw": b"\xff",
        "list": ["b"],
        "map": {"c": 1},
        "nothing": None,
    }


def test_spans_of_one_resource_share_its_attributes() -> None:
    first, second = read(request(span(), span(span_id=bytes.fromhex("00f067aa0ba902b7")))).spans
    assert first.resource is second.resource


def test_a_resource_without_a_name_is_an_unknown_service() -> None:
    message = request()
    del message.resource_spans[0].resource.attributes[:]
    assert only(read(message)).service == "unknown_service"


@pytest.mark.parametrize(
    ("spoiled", "rule"),
    [
        ({"trace_id": b""}, "trace_id must be 16 bytes and has 0"),
        ({"trace_id": b"12345678"}, "trace_id must be 16 bytes and has 8"),
        ({"trace_id": bytes(16)}, "trace_id must not be all zeros"),
        ({"span_id": b"1234567"}, "span_id must be 8 bytes and has 7"),
        ({"span_id": bytes(8)}, "span_id must not be all zeros"),
        ({"start_time_unix_nano": 0}, "start_time_unix_nano is missing"),
        ({"start_time_unix_nano": 2**63}, "its time lies after the year 2262"),
        ({"end_time_unix_nano": 2**64 - 1}, "its time lies after the year 2262"),
    ],
)
def test_a_span_that_breaks_a_rule_is_left_out_and_named(spoiled: dict[str, Any], rule: str) -> None:
    parsed = read(request(span(name="bad one", **spoiled), span()))
    assert parsed.rejected == 1
    assert rule in parsed.message
    assert "'bad one' of 'checkout'" in parsed.message
    assert ExportTraceServiceRequest.FromString(parsed.body) == request()


def test_a_hostile_name_is_quoted_and_cut_in_the_message() -> None:
    parsed = read(request(span(name="\n\x1b[31m" + "x" * 10_000, trace_id=b"")))
    assert "\n" not in parsed.message
    assert "\x1b" not in parsed.message
    assert len(parsed.message) < 300


def test_the_body_is_kept_byte_for_byte_when_nothing_is_rejected() -> None:
    with_unknown_field = request().SerializeToString() + b"\xfa\x3f\x02hi"
    assert parse.from_protobuf(with_unknown_field).body == with_unknown_field


def test_an_end_before_the_start_is_kept_as_sent_and_counted() -> None:
    parsed = read(request(span(end_time_unix_nano=START - 1)))
    assert only(parsed).end_ns == START - 1
    assert parsed.warnings == {"a span ends before it starts": 1}


def test_a_parent_of_zeros_is_no_parent_and_a_broken_one_is_counted() -> None:
    assert only(read(request(span(parent_span_id=bytes(8))))).parent_id is None
    parsed = read(request(span(parent_span_id=b"123")))
    assert only(parsed).parent_id is None
    assert sum(parsed.warnings.values()) == 1


def test_a_link_without_ids_is_left_out_and_counted() -> None:
    good = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    parsed = read(request(span(links=[{"trace_id": b"", "span_id": b""}, good])))
    assert [link.trace_id for link in only(parsed).links] == [(b"t" * 16).hex()]
    assert sum(parsed.warnings.values()) == 1


def test_sampled_or_not_by_its_flags_a_span_is_kept() -> None:
    assert len(read(request(span(flags=0), span(flags=0x301))).spans) == 2


def test_nul_characters_never_reach_a_text_column() -> None:
    found = only(read(request(span(name="a\0b"), service="shop\0")))
    assert "\0" not in found.name + found.service


def test_an_operators_correlation_key_goes_before_the_default_ones() -> None:
    attributes = [
        KeyValue(key="messaging.message.conversation_id", value=AnyValue(string_value="c")),
        KeyValue(key="shop.order_no", value=AnyValue(int_value=17)),
    ]
    body = request(span(attributes=attributes)).SerializeToString()
    assert only(parse.from_protobuf(body)).correlation_id == "c"
    found = only(parse.from_protobuf(body, ["order-no"]))
    assert (found.correlation_id, found.correlation_rule) == ("17", "shop.order_no")


def test_json_is_read_as_the_same_request() -> None:
    parsed = read_json(json_request())
    assert ExportTraceServiceRequest.FromString(parsed.body) == request()
    assert parsed.warnings == {}


LENIENT: list[tuple[str, dict[str, Any]]] = [
    ("ids in base64", {"traceId": base64.b64encode(bytes.fromhex(TRACE)).decode()}),
    ("ids in base64", {"spanId": base64.b64encode(bytes.fromhex(SPAN)).decode()}),
    ("snake_case", {"traceId": None, "trace_id": TRACE}),
    ("snake_case", {"startTimeUnixNano": None, "start_time_unix_nano": str(START)}),
    ("enums by name", {"kind": "SPAN_KIND_PRODUCER"}),
    ("enums by name", {"kind": "producer"}),
    ("", {"kind": "4"}),
    ("", {"traceId": TRACE.upper()}),
    ("", {"startTimeUnixNano": START}),
    ("floating point", {"startTimeUnixNano": float(START)}),
    ("", {"unknownField": {"a": [1]}, "links": [], "events": None}),
]


@pytest.mark.parametrize(("warning", "change"), LENIENT)
def test_json_mistakes_seen_in_the_wild_are_read_and_counted(warning: str, change: dict[str, Any]) -> None:
    parsed = read_json(json_request(json_span(**change)))
    assert ExportTraceServiceRequest.FromString(parsed.body) == request()
    if warning:
        [counted] = parsed.warnings
        assert warning in counted
    else:
        assert parsed.warnings == {}


def test_json_of_before_2022_is_read() -> None:
    document = json_request()
    [group] = document["resourceSpans"]
    [scope] = group.pop("scopeSpans")
    group["instrumentationLibrarySpans"] = [{"instrumentationLibrary": scope["scope"], "spans": scope["spans"]}]
    parsed = read_json(document)
    assert ExportTraceServiceRequest.FromString(parsed.body) == request()
    assert len(parsed.warnings) == 1


def test_json_values_of_every_type_are_read() -> None:
    values = {
        "text": {"stringValue": "a"},
        "empty": {"stringValue": ""},
        "yes": {"boolValue": True},
        "no": {"boolValue": False},
        "count": {"intValue": "9223372036854775807"},
        "number": {"intValue": 5},
        "huge": {"intValue": "99999999999999999999"},
        "share": {"doubleValue": 0.5},
        "infinite": {"doubleValue": "Infinity"},
        "raw": {"bytesValue": "/w=="},
        "list": {"arrayValue": {"values": [{"stringValue": "b"}, {"intValue": "1"}]}},
        "none": {"arrayValue": {}},
        "map": {"kvlistValue": {"values": [{"key": "c", "value": {"boolValue": True}}]}},
        "nothing": {},
    }
    attributes = [{"key": key, "value": value} for key, value in values.items()]
    found = only(read_json(json_request(json_span(attributes=attributes))))
    assert found.attributes == {
        "text": "a",
        "empty": "",
        "yes": True,
        "no": False,
        "count": 2**63 - 1,
        "number": 5,
        "huge": "99999999999999999999",
        "share": 0.5,
        "infinite": float("inf"),
        "raw": b"\xff",
        "list": ["b", 1],
        "none": [],
        "map": {"c": True},
        "nothing": None,
    }


def test_json_links_events_and_status_are_read() -> None:
    sent = json_span(
        links=[{"traceId": "ab" * 16, "spanId": "cd" * 8, "attributes": [{"key": "k", "value": {"intValue": "1"}}]}],
        events=[{"name": "exception", "timeUnixNano": str(START), "attributes": []}],
        status={"code": "STATUS_CODE_ERROR", "message": "no"},
    )
    found = only(read_json(json_request(sent)))
    assert (found.links[0].trace_id, found.links[0].attributes) == ("ab" * 16, {"k": 1})
    assert (found.events[0].name, found.events[0].at_ns) == ("exception", START)
    assert (found.status, found.status_message) == (SpanStatus.ERROR, "no")


@pytest.mark.parametrize("odd", [17, "x", None, [], {"traceId": 5, "spanId": [], "kind": {}, "events": "no"}])
def test_a_json_span_that_is_none_is_rejected_alone(odd: Any) -> None:
    parsed = read_json(json_request(json_span(), odd))
    assert (len(parsed.spans), parsed.rejected) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"resourceSpans":{}}', b'{"resourceSpans":[1]}', b"\xff", b'"\\ud800"', b"[" * 5000],
)
def test_what_is_no_json_request_is_bad(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse.from_json(body)


@pytest.mark.parametrize("kind", ["arrayValue", "kvlistValue"])
@pytest.mark.parametrize("depth", [24, 25, 200])
def test_json_that_nests_is_read_as_deep_as_protobuf_can_read_it_back(kind: str, depth: int) -> None:
    value: dict[str, Any] = {"stringValue": "core"}
    for _ in range(depth):
        value = {kind: {"values": [value if kind == "arrayValue" else {"key": "k", "value": value}]}}
    attributes = [{"key": "deep", "value": value}]
    event = {"name": "e", "timeUnixNano": "1", "attributes": attributes}
    document = json_request(json_span(attributes=attributes, events=[event]))
    if depth > 24:
        with pytest.raises(BadRequestError):
            read_json(document)
        return
    parsed = read_json(document)
    assert parse.from_protobuf(parsed.body).spans == parsed.spans


def test_protobuf_that_nests_too_deep_is_bad() -> None:
    value = AnyValue(string_value="core").SerializeToString()
    for _ in range(200):
        inner = ArrayValue.DESCRIPTOR.fields_by_name["values"].number
        array = bytes([inner << 3 | 2]) + _length(value) + value
        value = bytes([AnyValue.DESCRIPTOR.fields_by_name["array_value"].number << 3 | 2]) + _length(array) + array
    pair = b"\x0a\x01k\x12" + _length(value) + value
    nested = b"\x4a" + _length(pair) + pair  # Span.attributes
    scope = b"\x12" + _length(nested) + nested
    group = b"\x12" + _length(scope) + scope
    with pytest.raises(BadRequestError):
        parse.from_protobuf(b"\x0a" + _length(group) + group)


def _length(data: bytes) -> bytes:
    size, encoded = len(data), bytearray()
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    return bytes([*encoded, size])


KEYS = (
    *("resourceSpans", "scopeSpans", "spans", "resource", "scope", "attributes", "key", "value", "kind", "name"),
    *("stringValue", "intValue", "doubleValue", "boolValue", "bytesValue", "arrayValue", "kvlistValue", "values"),
    *("traceId", "spanId", "parentSpanId", "trace_id", "links", "events", "status", "code", "message", "flags"),
    *("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "schemaUrl"),
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text() | st.sampled_from([TRACE, SPAN]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)


def _check(parse_it: Any, body: bytes) -> None:
    try:
        parsed = parse_it(body)
    except BadRequestError:
        return
    again = parse.from_protobuf(parsed.body)
    assert again.rejected == 0
    assert repr(again.spans) == repr(parsed.spans)  # repr: NaN equals itself there


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_or_read_and_never_crash(body: bytes) -> None:
    _check(parse.from_protobuf, body)
    _check(parse.from_json, body)


@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 200))
@settings(max_examples=300, deadline=None)
def test_a_damaged_request_is_refused_or_read_and_never_crashes(position: int, byte: int, cut: int) -> None:
    body = bytearray(request(span(links=[{"trace_id": b"t" * 16, "span_id": b"s" * 8}])).SerializeToString())
    body[position % len(body)] = byte
    _check(parse.from_protobuf, bytes(body[cut % 7 :]))
    _check(parse.from_protobuf, bytes(body[: len(body) - cut]))


@given(ANY_JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_is_refused_or_read_and_never_crashes(inner: Any) -> None:
    def encoded(document: Any) -> bytes:
        return orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS, default=str)

    for document in (
        inner,
        {"resourceSpans": [inner]},
        {"resourceSpans": [{"scopeSpans": [{"spans": [inner]}]}]},
        json_request(json_span(attributes=inner)),
        json_request(json_span(attributes=[{"key": "k", "value": inner}], links=inner, events=[inner], status=inner)),
    ):
        try:
            body = encoded(document)
        except orjson.JSONEncodeError:  # integers beyond 64 bits
            continue
        _check(parse.from_json, body)


def test_a_request_of_rejected_spans_only_keeps_its_frame() -> None:
    parsed = read(request(*(span(trace_id=b"") for _ in range(1000))))
    assert (parsed.rejected, parsed.spans) == (1000, ())


def test_what_protobuf_cannot_know_yet_is_ignored() -> None:
    sent = ProtoSpan.FromString(span().SerializeToString())
    sent.attributes.add(key="later")
    assert only(read(request(sent))).attributes["later"] is None
