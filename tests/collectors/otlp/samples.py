"""Export requests to send: one good span, in protobuf and in JSON, to be spoiled by the tests."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
START = 1_780_000_000_000_000_000


def attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def request(*spans: Span, service: str = "checkout") -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.append(attribute("service.name", service))
    scope = group.scope_spans.add()
    scope.scope.name = "shop"
    scope.spans.extend(spans or [span()])
    return made


def span(**changes: Any) -> Span:
    fields: dict[str, Any] = {
        "trace_id": bytes.fromhex(TRACE),
        "span_id": bytes.fromhex(SPAN),
        "name": "send orders",
        "kind": Span.SPAN_KIND_PRODUCER,
        "start_time_unix_nano": START,
        "end_time_unix_nano": START + 5,
        "attributes": [attribute("messaging.system", "nats"), attribute("messaging.destination.name", "orders")],
    }
    return Span(**fields | changes)


def json_span(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "traceId": TRACE,
        "spanId": SPAN,
        "name": "send orders",
        "kind": 4,
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 5),
        "attributes": [
            {"key": "messaging.system", "value": {"stringValue": "nats"}},
            {"key": "messaging.destination.name", "value": {"stringValue": "orders"}},
        ],
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def json_request(*spans: Any) -> dict[str, Any]:
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]},
                "scopeSpans": [{"scope": {"name": "shop"}, "spans": list(spans) or [json_span()]}],
            }
        ]
    }
