"""The quick ways from OTLP/JSON to protobuf, compiled and not, say what the lenient reader says, or leave it to it."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.otlp import json_fast, json_request
from collectors.otlp.scan import OtlpFormat
from collectors.receiving.errors import BadRequestError
from tests.collectors.otlp.samples import SPAN, START, TRACE, json_span
from tests.collectors.otlp.samples import json_request as document
from tests.collectors.otlp.scan import agreement
from tests.required import missing

Quick = Callable[[bytes], bytes | None]


@pytest.fixture(scope="session", params=("native", "python"))
def quick(request: pytest.FixtureRequest) -> Quick:
    if request.param == "python":
        return json_fast.to_protobuf
    try:
        return OtlpFormat(native=True).from_json
    except ImportError as error:
        missing("native-scanner", f"build it with `python -P collectors/otlp/scan/build.py` ({error})")


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


def agree(quick: Quick, body: bytes) -> bool:
    """Whether the quick way took it, and then as the other did."""
    found = quick(body)
    if found is None:
        return False
    warnings: Counter[str] = Counter()
    assert ExportTraceServiceRequest.FromString(found) == json_request.read(body, warnings)
    assert not warnings
    return True


def as_body(sent: Any) -> bytes:
    return json.dumps(sent).encode()


@given(st.lists(SPANS, max_size=3), ODD_FIELDS, st.sampled_from(("resource", "scope", "schemaUrl", "other")), SCALARS)
@settings(max_examples=500, deadline=None)
def test_it_says_the_same_or_nothing(quick: Quick, spans: list[Any], odd: Any, where: str, value: Any) -> None:
    sent = document(*spans)
    for target in (sent["resourceSpans"][0], sent["resourceSpans"][0]["scopeSpans"][0]):
        target[where] = odd if where in ("resource", "scope") else value
    agree(quick, as_body(sent))


@given(st.lists(SPANS, max_size=2), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_damaged_document_is_read_rightly_or_not_at_all(quick: Quick, spans: list[Any], seed: int) -> None:
    chance = random.Random(seed)
    body = as_body(document(*spans))
    for _ in range(10):
        damaged = agreement.mutated(body, chance)
        try:
            agree(quick, damaged)
        except BadRequestError:
            pytest.fail(f"taken, and refused by the lenient reader: {damaged!r}")


@pytest.fixture
def rich() -> dict[str, Any]:
    """A request with every field that the specification has."""
    attributes = [
        {"key": "text", "value": {"stringValue": "a"}},
        {"key": "escaped", "value": {"stringValue": 'é"\\/\b\f\n\r\t\N{GRINNING FACE}\0' * 20}},
        {"key": "count", "value": {"intValue": "-3"}},
        {"key": "number", "value": {"intValue": 3}},
        {"key": "yes", "value": {"boolValue": True}},
        {"key": "no", "value": {"boolValue": False}},
        *(
            {"key": "share", "value": {"doubleValue": share}}
            for share in (0.5, -1.25, 0.1, 1e300, 3, 0.30000000000000004)
        ),
        *({"key": "raw", "value": {"bytesValue": raw}} for raw in ("/w==", "+/8=", "AAAA", "")),
        {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "b"}, {}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "c", "value": {"intValue": "1"}}]}}},
        {"key": "nothing", "value": {}},
        {"key": "null", "value": None},
        {"key": "bare"},
    ]
    link = {"traceId": TRACE, "spanId": SPAN, "traceState": "a=b", "flags": 1, "attributes": attributes}
    event = {"timeUnixNano": str(START), "name": "exception", "attributes": attributes, "droppedAttributesCount": 2}
    status = {"code": 2, "message": "refused"}
    more = {"flags": 257, "parentSpanId": SPAN.upper(), "traceState": "c=d", "droppedLinksCount": 1}
    late = {"endTimeUnixNano": START + 7, "droppedEventsCount": 3, "droppedAttributesCount": 300}
    sent = document(
        json_span(attributes=attributes, links=[link], events=[event, event], status=status, **more, **late)
    )
    sent["resourceSpans"][0] |= {"schemaUrl": "https://one", "new": [1.5, {"a": [None, True]}, -3, "\n"]}
    sent["resourceSpans"][0]["resource"] |= {"droppedAttributesCount": 1}
    sent["resourceSpans"][0]["scopeSpans"][0] |= {"schemaUrl": "https://two"}
    sent["resourceSpans"][0]["scopeSpans"][0]["scope"] = {"name": "n", "version": "1", "attributes": attributes}
    return sent


def test_what_the_specification_shows_goes_the_quick_way(quick: Quick, rich: dict[str, Any]) -> None:
    assert agree(quick, as_body(rich))


def test_however_it_is_set_out_and_written_it_goes_the_quick_way(quick: Quick, rich: dict[str, Any]) -> None:
    assert agree(quick, json.dumps(rich, indent=2).encode())
    assert agree(quick, json.dumps(rich, ensure_ascii=False).encode())
    assert agree(quick, json.dumps(rich, sort_keys=True, separators=(" ,\r\n", "\t: ")).encode() + b" \n")
    assert agree(
        quick,
        as_body(rich)
        .replace(b"/", b"\\/")
        .replace(b'"bytesValue": "\\/w=="', b'"bytesValue": "/w=="')
        .replace(b'"bytesValue": "+\\/8="', b'"bytesValue": "+/8="'),
    )


def test_a_document_cut_off_anywhere_is_left_to_the_lenient_reader(quick: Quick, rich: dict[str, Any]) -> None:
    body = as_body(rich)
    for end in range(len(body)):
        assert quick(body[:end]) is None


def test_long_texts_go_the_quick_way(quick: Quick) -> None:
    for size in (100, 16_000, 17_000, 3_000_000):
        pair = {"key": "k" * size, "value": {"stringValue": "v" * size}}
        assert agree(quick, as_body(document(json_span(name="n" * size, attributes=[pair]))))


@pytest.mark.parametrize(
    "number",
    (
        "0",
        "5e-324",
        "1.7976931348623157e308",
        "123456789012345678",
        "0.1e1",
        "9007199254740993",
        "0.000001234567890123456",
    ),
)
def test_numbers_are_read_to_the_last_bit(quick: Quick, number: str) -> None:
    pair = {"key": "k", "value": {"doubleValue": "?"}}
    assert agree(quick, as_body(document(json_span(attributes=[pair]))).replace(b'"?"', number.encode()))


@pytest.mark.parametrize(
    ("sent", "instead"),
    (
        (b'"flags": 1', b'"flags": 01'),
        (b'"flags": 1', b'"flags": true'),
        (b'"flags": 1', b'"flags": "1"'),
        (b'"flags": 1', b'"flags": 1.0'),
        (b'"flags": 1', b'"flags": 1,'),
        (b'"flags": 1', b'"other": NaN'),
        (b'"flags": 1', b'"other": 1.'),
        (b'"flags": 1', b'"other": "\\x"'),
        (b'"flags": 1', b'"other": "\\ud800"'),
        (b'"flags": 1', b'"other": "\\udc00\\ud800"'),
        (b'"flags": 1', b'"other": "\n"'),
        (b'"flags": 1', b'"other": "\xff"'),
        (b'"flags": 1', b'"trace_state": "a"'),
        (TRACE.encode(), TRACE[:31].encode() + b"g"),
        (TRACE.encode(), b" " + TRACE[1:].encode()),
        (TRACE.encode(), b"EjRWeJCrze8SNFZ4kKvN7w=="),
        (b'"flags": 1', b'"kind": "SPAN_KIND_CONSUMER"'),
    ),
)
def test_what_is_odd_is_left_to_the_lenient_reader(quick: Quick, sent: bytes, instead: bytes) -> None:
    body = as_body(document(json_span(flags=1)))
    assert sent in body
    assert quick(body) is not None
    assert quick(body.replace(sent, instead)) is None


@pytest.mark.parametrize(
    ("sent", "instead"),
    (
        (b'"flags": 1', b'"flags": 1, "flags": 2'),
        (b'"flags": 1', b'"flags": 1, "flags": null'),
        (b'"flags": 1', b'"flags": -0'),
        (b'"flags": 1', b'"other": 1e300'),
        (b'"flags": 1', b'"other": ' + b"1" * 25),
        (TRACE.encode(), b"\\u0061" + TRACE[1:].encode()),
    ),
)
def test_what_is_allowed_but_unheard_of_is_read_alike(quick: Quick, sent: bytes, instead: bytes) -> None:
    body = as_body(document(json_span(flags=1))).replace(sent, instead)
    assert instead in body
    agree(quick, body)


def test_what_is_no_json_is_left_to_the_lenient_reader(quick: Quick) -> None:
    deep = b'{"a":' * 100_000
    for body in (b"", b"{", b"[]", b'{"resourceSpans": [{"scopeSpans": 1}]}', b'"\xff"', b"[" * 100_000, deep, b"{}x"):
        assert quick(body) is None
    assert quick(b"{}") == quick(b' {"resourceSpans": null} ') == b""
