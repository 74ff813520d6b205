"""Scans against whole reading: every way to scan, good requests, odd ones, broken ones and mutations of all."""

import random
import time
from array import array
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collectors.otlp.scan import UnscannableError
from collectors.otlp.scan.fields_py import message
from eventflow.domain.columns import Format
from tests.collectors.otlp.samples import SPAN, START, TRACE, attribute, request, span
from tests.collectors.otlp.scan import agreement
from tests.collectors.otlp.scan.agreement import KEYS, SEARCH, WAYS, check, same
from tests.collectors.otlp.scan.ways import MESSAGE, every, made, with_attribute


def odd(way: str, **changes: Any) -> bool:
    columns = check(made(way), request(span(**changes)).SerializeToString())
    assert columns is not None
    return bool(columns.odd[0])


@every
def test_a_span_becomes_columns(way: str) -> None:
    format_: Format = made(way)
    sent = span(
        parent_span_id=b"parent00",
        status={"code": 2},
        attributes=MESSAGE,
        links=[{"trace_id": b"t" * 16, "span_id": b"s" * 8, "attributes": [attribute("messaging.message.id", "m-2")]}],
    )
    body = request(sent).SerializeToString()
    columns = format_.scan(body)
    assert (columns.count, columns.trace_ids.hex(), columns.span_ids.hex()) == (1, TRACE, SPAN)
    assert (columns.parent_ids, columns.errors, columns.odd) == (b"parent00", b"\1", b"\0")
    assert array("Q", columns.start_ns + columns.end_ns).tolist() == [START, START + 5]
    assert (columns.link_trace_ids, columns.link_span_ids) == (b"t" * 16, b"s" * 8)
    found = [
        (format_.names[name], body[at : at + size], link)
        for name, at, size, link in zip(
            *(
                array("I", c)
                for c in (columns.ident_names, columns.ident_offsets, columns.ident_lengths, columns.ident_links)
            ),
            strict=True,
        )
    ]
    assert sorted(found) == [
        ("messaging.message.conversation_id", b"order-1", 0),
        ("messaging.message.id", b"m-1", 0),
        ("messaging.message.id", b"m-2", 1),
    ]
    [place] = columns.scope_ranges
    assert body[place[0] : place[0] + place[1]].endswith(b"checkout")
    assert body[place[2] : place[2] + place[3]].endswith(b"shop")


@every
@pytest.mark.parametrize(
    "changes",
    (
        {"trace_id": b"short"},
        {"trace_id": bytes(16)},
        {"span_id": b""},
        {"span_id": bytes(8)},
        {"start_time_unix_nano": 0},
        {"end_time_unix_nano": 2**63},
    ),
)
def test_a_request_with_a_span_that_breaks_a_rule_is_left_to_whole_reading(way: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UnscannableError):
        made(way).scan(request(span(), span(**changes)).SerializeToString())


@every
@pytest.mark.parametrize("body", (b"\xff", b"\x0a", b"not protobuf at all", b"\x0a\x05\x12\x03\x12\x09\x0a"))
def test_what_is_no_request_is_refused(way: str, body: bytes) -> None:
    format_ = made(way)
    for reading in (format_.scan, format_.read):
        with pytest.raises(ValueError, match=r"."):
            reading(body)


@every
@pytest.mark.parametrize(
    "changes",
    (
        {"attributes": with_attribute("messaging.message.id", int_value=5)},
        {"attributes": with_attribute("messaging.message.id", string_value="")},
        {"attributes": with_attribute("messaging.message.id", string_value=" m-1")},
        {"attributes": with_attribute("messaging.message.id", string_value="m-1\N{NO-BREAK SPACE}")},
        {"attributes": with_attribute("messaging.message.id", string_value="m\0")},
        {"attributes": with_attribute("messaging.message.id", string_value="é" * 301)},
        {"attributes": [*MESSAGE, attribute("messaging.message.id", "m-1")]},
        {"attributes": [*MESSAGE, attribute("messaging.system", "nats")]},
        {"attributes": [*MESSAGE, KeyValue(key="messaging.kafka.consumer.group")]},
        {"attributes": [attribute("n" * 128, "a name too long to know")]},
        {"links": [{"trace_id": b"short", "span_id": b"s" * 8}]},
        {"links": [{"trace_id": b"t" * 16, "span_id": bytes(8)}]},
        {
            "links": [
                {"trace_id": b"t" * 16, "span_id": b"s" * 8, "attributes": [attribute("messaging.message.id", "")]}
            ]
        },
        {"end_time_unix_nano": START - 1},
        {"parent_span_id": b"short"},
        {"parent_span_id": bytes.fromhex(SPAN)},
        {"events": [{"name": "late", "time_unix_nano": 2**63}]},
        {"events": [{"name": "exception", "attributes": [attribute("exception.type", "x.KafkaBackoffException")]}]},
    ),
)
def test_what_columns_cannot_tell_is_odd(way: str, changes: dict[str, Any]) -> None:
    assert odd(way, **changes)


@every
@pytest.mark.parametrize(
    "changes",
    (
        {"attributes": MESSAGE},
        {"attributes": with_attribute("messaging.message.id", string_value="Ünïcode …")},
        {"attributes": with_attribute("messaging.message.id", string_value="é" * 300)},
        {"attributes": with_attribute("http.url", string_value="x" * 5000)},
        {"attributes": [attribute("http.route", "/"), attribute("http.route", "/twice")]},
        {"attributes": with_attribute("messaging.kafka.message.offset", int_value=17)},
        {"parent_span_id": bytes(3)},
        {"events": [{"name": "exception", "attributes": [attribute("exception.type", "x.TimeoutError")]}]},
    ),
)
def test_what_is_usual_is_not_odd(way: str, changes: dict[str, Any]) -> None:
    assert not odd(way, **changes)


@pytest.mark.parametrize("depth", (10, 28, 29, 30, 31, 32, 33, 34, 46, 47, 48, 49, 60, 500))
@pytest.mark.parametrize("where", ("span", "event", "link", "resource", "scope"))
def test_nested_values_are_read_as_deep_as_protobuf_reads_them(depth: int, where: str) -> None:
    value = b"\x0a\x01x"
    for _ in range(depth):
        value = message(0x2A, message(0x0A, value))
    pair = message(0x0A, b"deep") + message(0x12, value)
    good = span().SerializeToString()
    inside = {
        "span": message(0x4A, pair),
        "event": message(0x5A, message(0x1A, pair)),
        "link": message(0x6A, message(0x0A, b"t" * 16) + message(0x12, b"s" * 8) + message(0x22, pair)),
    }.get(where, b"")
    resource = message(0x0A, message(0x0A, pair)) if where == "resource" else b""
    scope = message(0x0A, message(0x1A, pair)) if where == "scope" else b""
    body = message(0x0A, resource + message(0x12, scope + message(0x12, good + inside)))
    one, other = agreement.scanned(made("python"), body), agreement.scanned(made("native"), body)
    assert (one is None) == (other is None)


@pytest.mark.parametrize(
    "body",
    (
        b"\x0b\x0c",
        b"\x0b\x00\x0c\x0a\x00\x0c\x0a\x00",
        b"\x0b\x00\x01\x0c",
        b"\x0b\x03\x04\x0c",
        b"\x00\x01",
        b"\x0b\x14",
    ),
)
def test_groups_are_read_over_as_protobuf_reads_over_them(body: bytes) -> None:
    try:
        ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        assert agreement.scanned(made("python"), body) is agreement.scanned(made("native"), body) is None
    else:
        assert agreement.scanned(made("python"), body) == agreement.scanned(made("native"), body) is not None


@every
@given(agreement.requests(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_a_damaged_request_is_scanned_rightly_or_not_at_all(way: str, body: bytes, seed: int) -> None:
    chance = random.Random(seed)
    format_ = made(way, KEYS, SEARCH)
    for _ in range(10):
        check(format_, agreement.mutated(body, chance))


@given(agreement.requests(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_all_implementations_say_the_same(body: bytes, seed: int) -> None:
    native, *others = (made(way, KEYS, SEARCH) for way in WAYS)
    chance = random.Random(seed)
    for sent in (body, *(agreement.mutated(body, chance) for _ in range(10))):
        one = agreement.scanned(native, sent)
        for python in others:
            other = agreement.scanned(python, sent)
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                same(sent, (native, python), one, other)


def test_many_scopes_without_spans_take_no_time() -> None:
    scopes = message(0x12, message(0x0A, b"")) * 200_000
    body = message(0x0A, message(0x0A, b"") + scopes) + message(0x0A, b"") * 100_000
    begun = time.process_time()
    assert made("native").scan(body).count == 0
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("where", ("scope", "resource"))
def test_what_belongs_to_no_span_is_read_strictly_too(where: str) -> None:
    # A scope's name, and an entity's type, that are no UTF-8.
    scope = message(0x0A, message(0x0A, b"\xff")) if where == "scope" else b""
    resource = message(0x0A, message(0x1A, message(0x12, b"\xff"))) if where == "resource" else b""
    body = message(0x0A, resource + message(0x12, scope))
    assert agreement.scanned(made("python"), body) is None
    assert agreement.scanned(made("native"), body) is None


@every
@pytest.mark.parametrize(
    ("value", "typed"),
    (
        ({"string_value": "SO-1"}, "SO-1"),
        ({"string_value": "17"}, "17"),
        ({"int_value": 17}, "17"),
        ({"int_value": -(2**63)}, str(-(2**63))),
        ({"bool_value": False}, "false"),
        ({"double_value": 2.5}, "2.5"),
        ({"string_value": "é" * 120}, "é" * 120),
    ),
)
def test_a_searched_value_lies_where_the_columns_say_as_text_number_or_truth(
    way: str, value: dict[str, Any], typed: str
) -> None:
    format_ = made(way, (), ("shop.order.id",))
    pair = KeyValue(key="shop.order.id", value=AnyValue(**value))
    body = request(span(), span(span_id=b"other999", attributes=[*MESSAGE, pair])).SerializeToString()
    columns = format_.scan(body)
    rows = (columns.value_spans, columns.value_names, columns.value_offsets, columns.value_lengths)
    [(row, name, at, size)] = zip(*(array("I", one) for one in rows), strict=True)
    assert (row, format_.names[name]) == (1, "shop.order.id")
    assert body[at : at + size] in format_.written(typed)
    assert body[at : at + size] not in format_.written(typed + "1")


@every
def test_what_nobody_can_look_for_has_no_place(way: str) -> None:
    format_ = made(way, (), ("shop.order.id",))
    sent = [
        span(attributes=[KeyValue(key="shop.order.id", value=value)])
        for value in (AnyValue(), AnyValue(bytes_value=b"x"), AnyValue(string_value="x" * 300))
    ]
    assert format_.scan(request(*sent).SerializeToString()).value_spans == b""
    assert made(way).scan(request(span(attributes=MESSAGE)).SerializeToString()).value_spans == b""


@every
def test_hostile_names_fill_nothing(way: str) -> None:
    format_ = made(way)
    for batch in range(40):
        names = [f"{batch}.{n}.correlation_id" for n in range(100)] + [f"messaging.{batch}.{n}" for n in range(400)]
        sent = request(*(span(attributes=[attribute(name, "a")]) for name in names))
        columns = check(format_, sent.SerializeToString())
    assert len(format_.names) <= 1024
    assert columns is not None
    assert columns.odd[0]
    again = check(format_, request(span(attributes=MESSAGE)).SerializeToString())
    assert again is not None
    assert not again.odd[0]
