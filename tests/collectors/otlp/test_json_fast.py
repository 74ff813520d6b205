"""The quick way from OTLP/JSON to protobuf says what the lenient reader says, or leaves it to it."""

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.otlp import json_fast, json_request
from tests.collectors.otlp.samples import SPAN, START, TRACE, json_span
from tests.collectors.otlp.samples import json_request as document

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((0, 1, 3, 5, 7, -1, 2**32, 2**63, 2**64, 1.0, 0.5, START)),
    st.sampled_from(
        ("", "x", "5", "-5", " 5", "+5", "1e3", "²", "STATUS_CODE_ERROR", TRACE, SPAN, "é" * 70, "x" * 300)
    ),
)
VALUES = st.recursive(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("stringValue", "intValue", "boolValue", "doubleValue", "bytesValue", "string_value", "other"), SCALARS
        ),
    )
    | SCALARS,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "arrayValue": st.fixed_dictionaries({}, optional={"values": st.lists(inner, max_size=2) | SCALARS}),
            "kvlistValue": st.fixed_dictionaries(
                {}, optional={"values": st.lists(st.fixed_dictionaries({"key": SCALARS, "value": inner}), max_size=2)}
            ),
        },
    ),
    max_leaves=4,
)
PAIRS = (
    st.lists(st.fixed_dictionaries({}, optional={"key": st.just("k") | SCALARS, "value": VALUES}), max_size=2) | SCALARS
)
GOOD = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(("k", "é" * 40, "k" * 126, "k" * 127, "k" * 128)),
            "value": st.sampled_from(("", "v", "v" * 125, "v" * 126, "v" * 127, "v" * 300)).map(
                lambda text: {"stringValue": text}
            ),
        }
    ),
    max_size=3,
)
NAMES = (
    "traceId",
    "spanId",
    "parentSpanId",
    "traceState",
    "name",
    "kind",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "flags",
)
MORE = (
    "droppedAttributesCount",
    "droppedEventsCount",
    "droppedLinksCount",
    "timeUnixNano",
    "trace_id",
    "span_id",
    "kind",
)
ODD_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*NAMES, *MORE, "start_time_unix_nano", "dropped_links_count"), SCALARS),
        "attributes": PAIRS | GOOD,
        "status": st.fixed_dictionaries({}, optional={"code": SCALARS, "message": SCALARS}) | SCALARS,
    },
)
LINKS = st.lists(ODD_FIELDS.map(lambda odd: {"traceId": TRACE, "spanId": SPAN} | odd), max_size=2)
SPANS = st.builds(
    lambda odd, inner: json_span(**(odd | inner)),
    st.just({}) | ODD_FIELDS,
    st.fixed_dictionaries(
        {}, optional={"events": st.lists(ODD_FIELDS, max_size=2), "links": LINKS, "attributes": GOOD}
    ),
)


def agree(sent: Any) -> bool:
    """Whether the quick way took it, and then as the other did."""
    body = json.dumps(sent).encode()
    quick = json_fast.to_protobuf(body)
    if quick is None:
        return False
    warnings: Counter[str] = Counter()
    assert ExportTraceServiceRequest.FromString(quick) == json_request.read(body, warnings)
    assert not warnings
    return True


@given(st.lists(SPANS, max_size=3), ODD_FIELDS, st.sampled_from(("resource", "scope", "schemaUrl", "other")), SCALARS)
@settings(max_examples=500, deadline=None)
def test_it_says_the_same_or_nothing(spans: list[Any], odd: Any, where: str, value: Any) -> None:
    sent = document(*spans)
    for target in (sent["resourceSpans"][0], sent["resourceSpans"][0]["scopeSpans"][0]):
        target[where] = odd if where in ("resource", "scope") else value
    agree(sent)


def test_what_the_specification_shows_goes_the_quick_way() -> None:
    attributes = [
        {"key": "text", "value": {"stringValue": "a"}},
        {"key": "count", "value": {"intValue": "-3"}},
        {"key": "number", "value": {"intValue": 3}},
        {"key": "yes", "value": {"boolValue": True}},
        {"key": "share", "value": {"doubleValue": 0.5}},
        {"key": "raw", "value": {"bytesValue": "/w=="}},
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "b"}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "c", "value": {"intValue": "1"}}]}}},
        {"key": "nothing", "value": {}},
    ]
    link = {"traceId": TRACE, "spanId": SPAN, "traceState": "a=b", "flags": 1, "attributes": attributes}
    event = {"timeUnixNano": str(START), "name": "exception", "attributes": attributes, "droppedAttributesCount": 2}
    status = {"code": 2, "message": "refused"}
    more = {"flags": 257, "parentSpanId": SPAN, "traceState": "c=d", "droppedLinksCount": 1}
    assert agree(document(json_span(attributes=attributes, links=[link], events=[event], status=status, **more)))


def test_long_texts_go_the_quick_way() -> None:
    for size in (100, 16_000, 17_000, 3_000_000):
        pair = {"key": "k" * size, "value": {"stringValue": "v" * size}}
        assert agree(document(json_span(name="n" * size, attributes=[pair])))


def test_spaces_in_an_id_are_no_id() -> None:
    assert not agree(document(json_span(traceId=" ".join([TRACE[:15], TRACE[16:]]))))


def test_what_is_no_json_is_left_to_the_lenient_reader() -> None:
    for body in (b"", b"{", b"[]", b'{"resourceSpans": [{"scopeSpans": 1}]}', b'"\xff"', b"[" * 100_000):
        assert json_fast.to_protobuf(body) is None
