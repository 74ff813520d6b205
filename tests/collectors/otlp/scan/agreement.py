"""What columns promise, checked against whole reading; and requests made to break the promise."""

import random
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from collectors.conventions.roles import LINK_IDENTITIES
from collectors.otlp import parse
from collectors.otlp.scan import OtlpFormat, UnscannableError, many_py
from collectors.otlp.scan.attributes_py import LONGEST_VALUE
from eventflow.domain.columns import SpanColumns
from eventflow.domain.failure import text_of
from eventflow.domain.hop import evidence
from eventflow.domain.observations import Span, SpanStatus

START = 1_780_000_000_000_000_000
KEYS = ("shop.order", "messaging.kafka.message.key")
"""Correlation keys of an operator; one has a meaning of its own besides."""
SEARCH = ("http.route", "messaging.message.id", "shop.order", "error.type")
"""What flows are found by; some have a meaning of their own besides."""
WAYS = "native", "python", "at once"
"""To scan: compiled, span by span in plain Python, all spans at once in plain Python."""


def made(how: str, keys: Sequence[str] = (), searched: Sequence[str] = ()) -> OtlpFormat:
    """A format that scans in one of these ways, `at once` however few the spans are."""
    found = OtlpFormat(keys, how == "native", searched)
    if how != "native":
        few = {"python": sys.maxsize, "at once": 0}[how]
        found.scan = many_py.Scanner(found._known, fewest_bytes=few, fewest_spans=1).scan
    return found


def scanned(format_: OtlpFormat, body: bytes) -> SpanColumns | None:
    """The columns, or None where the scan says no; any other error is a finding."""
    try:
        return format_.scan(body)
    except UnscannableError:
        return None


def check(format_: OtlpFormat, body: bytes) -> SpanColumns | None:
    """The columns agree with whole reading on everything they tell."""
    columns = scanned(format_, body)
    if columns is None:
        return None
    parsed = parse.from_protobuf(body, format_.correlation_keys)
    assert not parsed.rejected
    assert columns.count == len(parsed.spans)
    assert format_.read(body, columns, range(columns.count)) == list(parsed.spans)
    links = _by_span(
        columns.link_spans, zip(_cut(columns.link_trace_ids, 16), _cut(columns.link_span_ids, 8), strict=True)
    )
    identities = _identities(format_, body, columns)
    searched = _searched(format_, body, columns)
    for index, span in enumerate(parsed.spans):
        if columns.odd[index]:
            continue
        assert _cut(columns.trace_ids, 16)[index] == span.trace_id
        assert _cut(columns.span_ids, 8)[index] == span.span_id
        assert _cut(columns.parent_ids, 8)[index] == (span.parent_id or "0" * 16)
        assert (array("Q", columns.start_ns)[index], array("Q", columns.end_ns)[index]) == (span.start_ns, span.end_ns)
        assert columns.errors[index] == (span.status is SpanStatus.ERROR)
        assert links.get(index, []) == [(link.trace_id, link.span_id) for link in span.links]
        _check_identities(span, identities.get(index, {}))
        at, size = array("I", columns.offsets)[index], array("I", columns.lengths)[index]
        _check_searched(format_, span, body[at : at + size], searched.get(index, {}))
    return columns


def check_odd_warnings(format_: OtlpFormat, body: bytes, columns: SpanColumns) -> None:
    """Whatever whole reading warns of stands on an odd span."""
    warnings: Counter[str] = Counter()
    format_.read_counting(body, warnings, columns, [i for i in range(columns.count) if not columns.odd[i]])
    assert not warnings


def _check_identities(span: Span, found: dict[tuple[int, str], str]) -> None:
    if span.correlation_id is not None:
        assert found[0, str(span.correlation_rule)] == span.correlation_id
    messaging = span.messaging
    if messaging is not None:
        if (rule := messaging.rules.get("message_id")) is not None:
            assert found[0, rule] == messaging.message_id
        if (rule := messaging.rules.get("correlation_id")) is not None:
            assert found[0, rule] == messaging.correlation_id
    for row, link in enumerate(span.links, 1):
        for name in LINK_IDENTITIES:
            assert found.get((row, name), "") == text_of(link.attributes, name)


def _check_searched(format_: OtlpFormat, span: Span, sent: bytes, found: dict[str, bytes]) -> None:
    """Every value that can be typed stands there, and in one of the ways to write it if its sender wrote it plainly."""
    for name in format_.searched:
        value = span.attributes.get(name)
        if not isinstance(value, str | int | float):
            continue
        told = format_.written(str(value).lower() if isinstance(value, bool) else str(value))
        plainly = [
            one
            for one in told
            if len(one) <= LONGEST_VALUE
            and KeyValue(key=name, value=AnyValue.FromString(one)).SerializeToString() in sent
        ]
        assert found.get(name) in plainly or not plainly
        if name in found and (again := AnyValue.FromString(found[name])).SerializeToString() == found[name]:
            assert getattr(again, again.WhichOneof("value") or "string_value") == value


def _searched(format_: OtlpFormat, body: bytes, columns: SpanColumns) -> dict[int, dict[str, bytes]]:
    """Span → name → value, as it was written."""
    found: dict[int, dict[str, bytes]] = {}
    rows = (columns.value_spans, columns.value_names, columns.value_offsets, columns.value_lengths)
    for span, name, at, size in zip(*(array("I", one) for one in rows), strict=True):
        found.setdefault(span, {})[format_.names[name]] = body[at : at + size]
    return found


def _identities(format_: OtlpFormat, body: bytes, columns: SpanColumns) -> dict[int, dict[tuple[int, str], str]]:
    """Span → (place among its links, name) → text."""
    found: dict[int, dict[tuple[int, str], str]] = {}
    first_link: dict[int, int] = {}
    for row, span in enumerate(array("I", columns.link_spans)):
        first_link.setdefault(span, row)
    rows = (columns.ident_spans, columns.ident_names, columns.ident_offsets, columns.ident_lengths, columns.ident_links)
    for span, name, at, size, link in zip(*(array("I", one) for one in rows), strict=True):
        place = link and link - first_link[span]
        found.setdefault(span, {})[place, format_.names[name]] = body[at : at + size].decode()
    return found


def proofs_by_shape(format_: OtlpFormat, body: bytes, columns: SpanColumns) -> Iterator[tuple[int, object]]:
    """(shape, what the judgement says but for what a shape leaves out) of every span that is not odd."""
    for shape, odd, span in zip(array("Q", columns.shapes), columns.odd, format_.read(body), strict=True):
        if not odd:
            yield shape, judged(span)


def judged(span: Span) -> object:
    """What `evidence` says of a span without ids, addresses, times and what only text tells."""
    proof = evidence(span)
    common = (span.service, span.scope, span.kind, span.status, span.correlation_rule, span.parent_id is None)
    if proof is None:
        return common
    messaging = span.messaging
    assert messaging is not None
    kept = replace(
        messaging,
        message_id=messaging.message_id and "x",
        correlation_id=messaging.correlation_id and "x",
        key=messaging.key and "x",
        offset=None,  # what some Kafka libraries write into the message id
        body_size=messaging.body_size and 1,
        client_id=messaging.client_id and "x",
        rules={field: rule for field, rule in messaging.rules.items() if field != "offset"},
    )
    rules = {field: rule for field, rule in proof.rules.items() if field != "offset"}
    told = (proof.side, proof.operation, proof.system, proof.destination, proof.group, proof.partition)
    outcome = (proof.event_type, proof.attempt, proof.outcome, proof.failed, proof.failure is None)
    return (common, kept, sorted(rules.items()), told, outcome, bool(proof.contexts), bool(proof.message_ids))


def same(body: bytes, formats: Sequence[OtlpFormat], one: SpanColumns, other: SpanColumns) -> None:
    """Two scans of one body say the same of all that is not odd; shapes may be called otherwise."""
    nothing = dict.fromkeys(
        ("shapes", *(name for name in SpanColumns.__slots__ if name.startswith(("link", "ident", "value")))), b""
    )
    assert replace(one, **nothing) == replace(other, **nothing)  # type: ignore[arg-type]  # all of them are bytes
    assert _links(one) == _links(other)
    assert _texts(body, formats[0], one) == _texts(body, formats[1], other)
    assert _even(_searched(formats[0], body, one), one) == _even(_searched(formats[1], body, other), other)
    shapes = zip(array("Q", one.shapes), array("Q", other.shapes), one.odd, strict=True)
    pairs = {(shape, called) for shape, called, odd in shapes if not odd}
    assert len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


def _even(found: dict[int, dict[str, bytes]], columns: SpanColumns) -> dict[int, dict[str, bytes]]:
    return {span: values for span, values in found.items() if not columns.odd[span]}


def _links(columns: SpanColumns) -> list[tuple[int, str, str]]:
    rows = zip(
        array("I", columns.link_spans), _cut(columns.link_trace_ids, 16), _cut(columns.link_span_ids, 8), strict=True
    )
    return [row for row in rows if not columns.odd[row[0]]]


def _texts(body: bytes, format_: OtlpFormat, columns: SpanColumns) -> list[tuple[int, int, str, bytes]]:
    """The identities; a text that stands in a span twice is one, and rows of links count within their span."""
    rows = (columns.ident_spans, columns.ident_links, columns.ident_names, columns.ident_offsets, columns.ident_lengths)
    first: dict[int, int] = {}
    for row, span in enumerate(array("I", columns.link_spans)):
        first.setdefault(span, row)
    return sorted(
        (span, link and link - first[span], format_.names[name], body[at : at + size])
        for span, link, name, at, size in zip(*(array("I", one) for one in rows), strict=True)
        if not columns.odd[span]
    )


def _cut(column: bytes, size: int) -> list[str]:
    return [column[at : at + size].hex() for at in range(0, len(column), size)]


def _by_span(spans: bytes, rows: Any) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for span, row in zip(array("I", spans), rows, strict=True):
        found.setdefault(span, []).append(row)
    return found


NAMES = (
    *("messaging.system", "messaging.destination.name", "messaging.destination", "messaging.operation.type"),
    *("messaging.operation", "messaging.operation.name", "messaging.message.id", "messaging.message_id"),
    *("messaging.message.conversation_id", "messaging.kafka.consumer.group", "messaging.consumer.group.name"),
    *("messaging.kafka.message.key", "messaging.kafka.message.offset", "messaging.client.id", "messaging.unheard.of"),
    *("messaging.message.body.size", "messaging.batch.message_count", "messaging.destination.partition.id"),
    *("messaging.rabbitmq.destination.routing_key", "messaging.message.delivery_attempt", "celery.retries"),
    *("celery.action", "celery.task_name", "faas.trigger", "peer.service", "aws.queue_url", "error.type"),
    *("nservicebus.message_id", "nservicebus.enclosed_message_types", "messaging.servicebus.disposition_status"),
    *("http.route", "correlation.id", "order.correlation_id", "shop.order", "cloudevents.event_type", "event.type"),
    *("correlation_id", "x-request-id", "ü.correlationId", "k" * 127, "k" * 128, "celery." + "x" * 200),
)
TEXTS = st.sampled_from(
    (
        *("kafka", "rabbitmq", "celery", "nats", "orders", "orders.0.17", "17", "0", "send", "process", "receive"),
        *(
            "poll",
            "ack",
            "pubsub",
            "none",
            "",
            " ",
            " padded",
            "padded\u3000",
            "n\0ul",
            "Ünïcode",
            "x" * 299,
            "é" * 300,
        ),
        *("é" * 301, "y" * 400, "amqp://h/q", "https://sqs/1/q", "a,b", "urn:message:A:B", "-5", "[1]", "\u2028"),
    )
)
VALUES: st.SearchStrategy[AnyValue] = st.one_of(
    TEXTS.map(lambda value: AnyValue(string_value=value)),
    st.sampled_from((0, 1, 2, 300, -1, 2**63 - 1)).map(lambda value: AnyValue(int_value=value)),
    st.sampled_from((True, False)).map(lambda value: AnyValue(bool_value=value)),
    st.sampled_from((0.0, 2.0, 0.5)).map(lambda value: AnyValue(double_value=value)),
    st.sampled_from((b"", b"raw", b"\xff")).map(lambda value: AnyValue(bytes_value=value)),
    st.lists(TEXTS, max_size=2).map(
        lambda values: AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=value) for value in values]))
    ),
    st.just(AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="a", value=AnyValue(int_value=1))]))),
    st.just(AnyValue()),
)
COMMON = TEXTS.map(lambda value: AnyValue(string_value=value))
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), COMMON | VALUES, max_size=9).map(
    lambda found: [KeyValue(key=key, value=value) for key, value in found.items()]
)
SPAN_NAMES = st.sampled_from(
    ("orders process", "process orders", "send", "run/tasks.pay", "GET /", "", "orders publish")
)


@st.composite
def spans(draw: st.DrawFn) -> Sent:
    """A span that breaks no rule, most of the time about messages."""
    chance = random.Random(draw(st.integers(0, 9)))
    span_id = chance.randbytes(8)
    start = START + chance.randrange(1000)
    made = Sent(
        trace_id=chance.randbytes(16),
        span_id=span_id,
        parent_span_id=draw(st.sampled_from((b"", b"", chance.randbytes(8), bytes(8), span_id, b"short", bytes(3)))),
        name=draw(SPAN_NAMES),
        kind=draw(st.sampled_from((0, 1, 2, 3, 4, 5, 5, 5, 7))),  # type: ignore[arg-type]  # senders may send any number
        start_time_unix_nano=start,
        end_time_unix_nano=draw(st.sampled_from((start, start + 5, start + 5, start - 1, 0))),
        attributes=draw(ATTRIBUTES),
        flags=0x101,
    )
    if draw(st.booleans()):
        made.status.code = draw(st.sampled_from((0, 1, 2, 3)))  # type: ignore[assignment]
        made.status.message = draw(st.sampled_from(("", "refused")))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        event = made.events.add(name=draw(st.sampled_from(("exception", "retry"))), time_unix_nano=start)
        event.attributes.add(key="exception.type").value.string_value = draw(
            st.sampled_from(("TimeoutError", "org.springframework.kafka.KafkaBackoffException", ""))
        )
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2)))):
        link = made.links.add(
            trace_id=chance.randbytes(16), span_id=draw(st.sampled_from((span_id, b"12345678", bytes(8))))
        )
        for name in draw(st.lists(st.sampled_from((*LINK_IDENTITIES, "other")), max_size=2)):
            link.attributes.add(key=name).value.CopyFrom(draw(COMMON | VALUES))
    return made


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request of a few spans in a few scopes."""
    made = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        group = made.resource_spans.add(schema_url=draw(st.sampled_from(("", "https://schema"))))
        if service := draw(st.sampled_from(("", "shop", "till"))):
            group.resource.attributes.add(key="service.name").value.string_value = service
        for _ in range(draw(st.integers(0, 2))):
            scope = group.scope_spans.add(schema_url=draw(st.sampled_from(("", "https://schema", "https://other"))))
            if name := draw(st.sampled_from(("", "otelsarama", "aio_pika", "kafka"))):
                scope.scope.name = name
            scope.spans.extend(draw(st.lists(spans(), max_size=3)))
    return made.SerializeToString()


def mutated(body: bytes, chance: random.Random) -> bytes:
    """The body with a few bytes flipped, put in, taken out, copied or cut off."""
    changed = bytearray(body)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        what = chance.randrange(7)
        if what <= 1 and at < len(changed):
            changed[at] = chance.choice((0, 1, 0x0A, 0x12, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif what == 2 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif what == 3:
            changed[at:at] = chance.choice((b"\0", b"\x80", b"\x0b\x0c", b"\xff" * 10, chance.randbytes(3)))
        elif what == 4:
            del changed[at : at + chance.randrange(1, 9)]
        elif what == 5:
            begin = chance.randrange(len(changed) + 1)
            changed[at:at] = changed[begin : begin + chance.randrange(1, 40)]
        elif chance.random() < 0.2:
            del changed[at:]
    return bytes(changed)
