"""A trace as Jaeger's UI saves it: references, tags with types, logs, processes."""

from typing import Any

import pytest

from collectors.jaeger.parse import convert
from collectors.otlp import parse as otlp
from collectors.receiving.errors import BadRequestError
from eventflow.domain.observations import Span, SpanKind, SpanStatus

TRACE = "0af7651916cd43dd8448eb211c80319c"
US = 1_780_000_000_000_000


def tag(key: str, value: Any, kind: str = "string") -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def span(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "traceID": TRACE,
        "spanID": "000000000000000a",
        "operationName": "process orders",
        "references": [],
        "startTime": US,
        "duration": 5,
        "tags": [
            tag("span.kind", "consumer"),
            tag("messaging.system", "kafka"),
            tag("messaging.destination", "orders"),
        ],
        "logs": [],
        "processID": "p1",
        "warnings": None,
    }
    return fields | changes


def document(*spans: Any) -> dict[str, Any]:
    process = {"serviceName": "billing", "tags": [tag("host.name", "b1")]}
    return {
        "data": [{"traceID": TRACE, "spans": list(spans), "processes": {"p1": process}}],
        "total": 0,
        "errors": None,
    }


def only(**changes: Any) -> Span:
    [found] = otlp.from_protobuf(convert(document(span(**changes))).request.SerializeToString()).spans
    return found


def test_a_span_keeps_its_service_kind_times_and_messaging() -> None:
    found = only()
    assert (found.service, found.kind, found.name) == ("billing", SpanKind.CONSUMER, "process orders")
    assert (found.start_ns, found.end_ns) == (US * 1000, US * 1000 + 5000)
    assert found.resource["host.name"] == "b1"
    assert found.messaging is not None
    assert found.messaging.destination == "orders"


def test_the_first_child_of_is_the_parent_and_all_others_are_links() -> None:
    references = [
        {"refType": "FOLLOWS_FROM", "traceID": "ff" * 16, "spanID": "00000000000000f1"},
        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "00000000000000b1"},
        {"refType": "CHILD_OF", "traceID": TRACE, "spanID": "00000000000000b2"},
        {"refType": "CHILD_OF", "traceID": "zz", "spanID": "1"},
    ]
    found = only(references=references)
    assert found.parent_id == "00000000000000b1"
    assert [link.span_id for link in found.links] == ["00000000000000f1", "00000000000000b2"]


@pytest.mark.parametrize(
    "failed", [tag("error", True, "bool"), tag("error", "true", "bool"), tag("otel.status_code", "ERROR")]
)
def test_an_error_tag_makes_a_failed_span(failed: dict[str, Any]) -> None:
    assert only(tags=[failed]).status is SpanStatus.ERROR


def test_tags_keep_their_types_and_logs_become_events() -> None:
    log = {"timestamp": US + 1, "fields": [tag("event", "exception"), tag("exception.type", "Declined")]}
    found = only(tags=[tag("n", "7", "int64"), tag("b", "aGk=", "binary"), tag("x", "no", "int64")], logs=[log])
    assert (found.attributes["n"], found.attributes["b"], found.attributes["x"]) == (7, "hi", "no")
    [event] = found.events
    assert (event.name, event.attributes["exception.type"]) == ("exception", "Declined")


def test_what_breaks_a_rule_is_left_out_and_said_and_short_ids_are_padded() -> None:
    found = convert(document(span(), span(traceID=""), span(startTime=None), 5, span(traceID="abc", spanID="b")))
    assert found.rejected == 3
    assert found.message == "3 left out; the first because traceID must be hexadecimal and not all zeros"
    spans = otlp.from_protobuf(found.request.SerializeToString()).spans
    assert (spans[1].trace_id, spans[1].span_id) == ("abc".rjust(32, "0"), "b".rjust(16, "0"))


def test_odd_documents_are_survived_or_refused() -> None:
    odd = span(references="x", tags=[5, {"key": 1}], logs=[{"fields": 7}], processID=None, duration="long")
    assert convert({"traceID": TRACE, "spans": [odd], "processes": []}).rejected == 0
    with pytest.raises(BadRequestError):
        convert({"data": [5]})
