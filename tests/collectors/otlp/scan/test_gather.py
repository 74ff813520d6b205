"""Spans gathered out of several requests: the same spans, by their resources, scopes and schemas, written short."""

import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.otlp.scan.fields_py import message
from tests.collectors.otlp.samples import request, span
from tests.collectors.otlp.scan import agreement
from tests.collectors.otlp.scan.agreement import KEYS, SEARCH, check
from tests.collectors.otlp.scan.ways import every, made


@every
@given(st.lists(agreement.requests(), min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_gathered_spans_are_the_same_spans(way: str, bodies: list[bytes], chance: random.Random) -> None:
    format_ = made(way, KEYS, SEARCH)
    scanned = [(body, columns) for body in bodies if (columns := agreement.scanned(format_, body)) is not None]
    wanted = [(r, s) for r, (_, columns) in enumerate(scanned) for s in range(columns.count)]
    chance.shuffle(wanted)
    wanted = wanted[: len(wanted) * 3 // 4]
    # As they lie in memory that two processes have.
    views = [memoryview(bytearray(body)).toreadonly() for body, _ in scanned]
    one, same = (
        format_.gather(
            some,
            [columns for _, columns in scanned],
            array("I", [r for r, _ in wanted]).tobytes(),
            array("I", [s for _, s in wanted]).tobytes(),
        )
        for some in ([body for body, _ in scanned], views)
    )
    assert one == same
    whole = [format_.read(body, columns, range(columns.count)) for body, columns in scanned]
    for view, (_, columns), spans in zip(views, scanned, whole, strict=True):
        assert list(map(repr, format_.read(view, columns, range(columns.count)))) == list(map(repr, spans))
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
