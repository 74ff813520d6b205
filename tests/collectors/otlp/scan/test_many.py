"""Scanning all spans of a request at once: what it takes, what it leaves to the other way, and what it costs."""

import random
from array import array

import numpy as np
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from collectors.otlp.scan import UnscannableError, alike_py
from collectors.otlp.scan.alike_py import alike, with_nul
from collectors.otlp.scan.fields_py import message
from collectors.otlp.scan.many_py import PORTION, Scanner
from collectors.otlp.scan.names import Names
from collectors.otlp.scan.table_py import Octets, UnusualError, table
from tests.collectors.otlp.samples import attribute, request, span
from tests.collectors.otlp.scan import agreement

USUAL = {"attributes": [attribute("messaging.system", "kafka")], "kind": 5, "name": "orders process"}


def at_once(body: bytes, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a body was scanned without the other way's help."""
    scanner = Scanner(Names(), fewest_bytes=0, fewest_spans=1)
    asked: list[bytes] = []
    one_by_one = scanner.few.scan
    monkeypatch.setattr(scanner.few, "scan", lambda body: asked.append(body) or one_by_one(body))
    scanner.scan(body)
    return not asked


@pytest.mark.parametrize(
    "changes",
    (
        USUAL,
        {**USUAL, "parent_span_id": b"parent00", "trace_state": "a=b", "flags": 0x101},
        {**USUAL, "status": {"code": 2, "message": "no answer"}},
        {**USUAL, "events": [{"name": "exception"}, {"name": "retry"}]},
        {**USUAL, "links": [{"trace_id": b"t" * 16, "span_id": b"s" * 8, "flags": 0x101}]},
        {**USUAL, "links": [{"span_id": b"s" * 8, "attributes": [attribute("messaging.message.id", "m-1")]}]},
        {**USUAL, "attributes": [attribute("http.url", "x" * 20_000), attribute("k" * 128, "v")]},
        {**USUAL, "attributes": [attribute("messaging.system", "é" * 400), KeyValue(key="messaging.message.id")]},
        {**USUAL, "attributes": [KeyValue(key="a", value=AnyValue(int_value=-1))], "dropped_attributes_count": 3},
    ),
)
def test_usual_spans_are_scanned_at_once(changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_once(request(span(**changes), span()).SerializeToString(), monkeypatch)


@pytest.mark.parametrize(
    "more",
    (
        message(0x2A, b"renamed"),
        b"\x0b\x0c",
        b"\xf8\x07\x01",
        b"\x50\xff\x01",
        b"\x30\x80\x80\x01",
        message(0x7A, b"\x18\x02\x12\x00"),
        message(0x22, b"short"),
        b"\x4a\x80\x80\x80\x00",
        message(0x4A, b"\x0a\x01k\x12\x82\x80\x80\x00\x10\x01"),
        b"\x4a\x00" * 200,
    ),
)
def test_unusual_spans_are_left_to_the_other_way_with_the_same_result(
    more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = message(0x12, message(0x12, span(**USUAL).SerializeToString() + more))
    body = message(0x0A, scope)
    assert not at_once(body, monkeypatch)
    one, other = (agreement.made(way) for way in ("at once", "python"))
    agreement.same(body, (one, other), one.scan(body), other.scan(body))


def test_of_a_span_with_hundreds_of_thousands_of_fields_only_the_first_are_looked_at() -> None:
    sent = span().SerializeToString() + b"\x4a\x00" * 300_000
    with pytest.raises(UnusualError):
        table(Octets(sent), np.array([0]), np.array([len(sent)]))
    body = message(0x0A, message(0x12, message(0x12, sent) + message(0x12, span().SerializeToString()) * 50))
    assert Scanner(Names(), fewest_bytes=0, fewest_spans=1).scan(body).count == 51


def test_spans_beyond_a_portion_come_behind_those_before_them() -> None:
    sent = [
        span(
            span_id=number.to_bytes(8, "big"),
            links=[{"trace_id": b"t" * 16, "span_id": number.to_bytes(8, "big")}],
            attributes=[attribute("messaging.system", "kafka"), attribute("messaging.message.id", f"m-{number}")],
        )
        for number in range(1, PORTION + 101)
    ]
    body = request(*sent).SerializeToString()
    one, other = (agreement.made(way) for way in ("at once", "python"))
    columns = one.scan(body)
    agreement.same(body, (one, other), columns, other.scan(body))
    assert array("I", columns.link_spans).tolist() == [*range(PORTION + 100)]
    assert len({*array("Q", columns.shapes)}) == 1


def test_a_rule_that_a_span_breaks_is_told() -> None:
    body = request(*(span(**USUAL) for _ in range(300)), span(trace_id=bytes(16))).SerializeToString()
    with pytest.raises(UnscannableError):
        Scanner(Names(), fewest_bytes=0, fewest_spans=1).scan(body)


def test_numbers_are_given_anew_when_hostile_senders_fill_them() -> None:
    scanner = Scanner(Names(), fewest_bytes=0, fewest_spans=1)
    for batch in range(3):
        names = [f"messaging.{batch}.{number}" for number in range(5000)]
        scanner.scan(request(*(span(attributes=[attribute(name, "a")]) for name in names)).SerializeToString())
    assert len(scanner.numbers.keys) <= 5000
    body = request(span(**USUAL), span(**USUAL)).SerializeToString()
    assert len({*array("Q", scanner.scan(body).shapes)}) == 1


def pieces(*texts: bytes) -> tuple[Octets, np.ndarray, np.ndarray]:
    sizes = np.array([*map(len, texts)])
    return Octets(b"".join(texts)), np.cumsum(sizes) - sizes, sizes


def test_pieces_are_alike_only_if_every_byte_is(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    texts = [chance.randbytes(chance.choice((0, 1, 7, 8, 9, 16, 40, 127, 128, 129, 300))) for _ in range(60)]
    texts += [text[:-1] + bytes([text[-1] ^ 1]) for text in texts if text] + texts[::2]
    for factors in (alike_py.FACTORS, np.zeros(256, np.uint64)):  # the second: all hashes meet
        monkeypatch.setattr(alike_py, "FACTORS", factors)
        stands, number = alike(*pieces(*texts))
        assert [texts[stands[kind]] for kind in number.tolist()] == texts
        assert len(stands) == len({*texts})


def test_a_nul_is_found_wherever_it_stands() -> None:
    texts = [
        b"",
        b"plain",
        b"\0",
        b"seven77\0",
        b"eightee\x01\0",
        b"\x80" * 9,
        b"x" * 30 + b"\0" + b"x" * 9,
        b"\x01" * 8,
    ]
    assert with_nul(*pieces(*texts)).tolist() == [b"\0" in text for text in texts]
