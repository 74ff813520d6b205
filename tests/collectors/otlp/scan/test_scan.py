"""Scans against whole reading: both implementations, good requests, odd ones, broken ones and mutations of all."""

import random
import time
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collectors.otlp.scan import OtlpFormat, UnscannableError
from collectors.otlp.scan.fields_py import message
from eventflow.domain.columns import Format
from tests.collectors.otlp.samples import SPAN, START, TRACE, attribute, request, span
from tests.collectors.otlp.scan import agreement
from tests.collectors.otlp.scan.agreement import KEYS, SEARCH, WAYS, check, same
from tests.required import missing

every = pytest.mark.parametrize("way", WAYS)
MESSAGE = [
    attribute("messaging.system", "kafka"),
    attribute("messaging.destination.name", "orders"),
    attribute("messaging.operation.type", "process"),
    attribute("messaging.message.id", "m-1"),
    attribute("messaging.message.conversation_id", "order-1"),
]


def made(way: str, keys: tuple[str, ...] = (), searched: tuple[str, ...] = ()) -> OtlpFormat:
    try:
        return agreement.made(way, keys, searched)
    except ImportError as error:
        missing("native-scanner", f"build it with `python -P collectors/otlp/scan/build.py` ({error})")


def odd(way: str, **changes: Any) -> bool:
    columns = check(made(way), request(span(**changes)).SerializeToString())
    assert columns is not None
    return bool(columns.odd[0])


def with_attribute(key: str, **value: Any) -> list[KeyValue]:
    kept = [pair for pair in MESSAGE if pair.key != key]
    return [*kept, KeyValue(key=key, value=AnyValue(**value))]


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


@every
@given(st.lists(agreement.requests(), min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_gathered_spans_are_the_same_spans(way: str, bodies: list[bytes], chance: random.Random) -> None:
    format_ = made(way, KEYS, SEARCH)
    scanned = [(body, columns) for body in bodies if (columns := agreement.scanned(format_, body)) is not None]
    wanted = [(r, s) for r, (_, columns) in enumerate(scanned) for s in range(columns.count)]
    chance.shuffle(wanted)
    wanted = wanted[: len(wanted) * 3 // 4]
    one = format_.gather(
        [body for body, _ in scanned],
        [columns for _, columns in scanned],
        array("I", [r for r, _ in wanted]).tobytes(),
        array("I", [s for _, s in wanted]).tobytes(),
    )
    whole = [format_.read(body, columns, range(columns.count)) for body, columns in scanned]
    expected = [whole[r][s] for r, s in wanted]
    found = format_.read(one)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    columns = check(format_, one)
    assert columns is not None
    for scope in range(len(columns.scope_ranges)):
        inside = [found[i] for i, at in enumerate(array("I", columns.scopes)) if at == scope]
        rest = iter(expected)  # two spans may be equal but for the schema of their scope
        assert all(span in rest for span in inside), "their order has changed"


@every
@pytest.mark.parametrize("length", (b"\xff\x00", b"\xff\x80\x00", b""))
def test_gathered_spans_have_lengths_as_short_as_can_be(way: str, length: bytes) -> None:
    plain = span(attributes=[]).SerializeToString()
    if length:  # 127 bytes, as a length of two and of three bytes
        sent = plain + message(0x2A, b"n" * (125 - len(plain)))
        written = b"\x12" + length + sent
    else:  # more than three bytes can tell
        sent = span(name="n" * 2**21).SerializeToString()
        written = message(0x12, sent)
    body = message(0x0A, message(0x12, written + message(0x12, plain)))
    format_ = made(way)
    gathered = format_.gather([body], [format_.scan(body)], bytes(8), array("I", range(2)).tobytes())
    scope = message(0x0A, b"") + message(0x12, sent) + message(0x12, plain)
    assert gathered == message(0x0A, message(0x0A, b"") + message(0x12, scope))


@every
def test_gathered_spans_keep_the_schema_that_they_were_written_by(way: str) -> None:
    format_ = made(way)
    sent = []
    for number, (resource_url, scope_url) in enumerate((("a", "b"), ("a", "b"), ("a", ""), ("", "b"), ("", ""))):
        one = request(span(name=f"span {number}"))
        one.resource_spans[0].schema_url = resource_url
        one.resource_spans[0].scope_spans[0].schema_url = scope_url
        sent.append(one.SerializeToString())
    everything = array("I", range(len(sent))).tobytes()
    found = format_.gather(sent, [format_.scan(body) for body in sent], everything, bytes(len(everything)))
    urls = {
        one.name: (group.schema_url, scope.schema_url)
        for group in ExportTraceServiceRequest.FromString(found).resource_spans
        for scope in group.scope_spans
        for one in scope.spans
    }
    assert list(urls.values()) == [("a", "b"), ("a", "b"), ("a", ""), ("", "b"), ("", "")]
    assert len(format_.scan(found).scope_ranges) == 4


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
