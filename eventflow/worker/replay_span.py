"""Eventflow's own span for a message that it sent again: a PRODUCER span, linked to the trace of the failed one.

The consumer's span continues or links to it, so that the arrival is seen on the same flow. Pure.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from eventflow.domain.observations import (
    Messaging,
    Operation,
    Span,
    SpanBatch,
    SpanKind,
    SpanLink,
    SpanStatus,
)

SERVICE = "eventflow"
SCOPE = "eventflow.replay"


@dataclass(frozen=True, slots=True)
class Sending:
    """What is told of one sending."""

    trace_id: str
    span_id: str
    system: str
    destination: str
    token: str
    started_at: datetime
    ended_at: datetime
    correlation_id: str = ""
    message_id: str = ""
    failed_trace_id: str = ""
    failed_span_id: str = ""
    body_size: int | None = None
    error: str = ""
    actor: str = ""
    replay: str = ""


def new_context() -> tuple[str, str]:
    """A fresh trace id and span id."""
    return secrets.token_hex(16), secrets.token_hex(8)


def traceparent(trace_id: str, span_id: str) -> str:
    """W3C trace context, sampled."""
    return f"00-{trace_id}-{span_id}-01"


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1000


def _attributes(sending: Sending) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "messaging.system": sending.system,
        "messaging.operation.type": "send",
        "messaging.operation.name": "replay",
        "messaging.destination.name": sending.destination,
        "messaging.message.id": sending.message_id,
        "messaging.message.conversation_id": sending.correlation_id,
        "eventflow.replay.token": sending.token,
        "eventflow.replay.id": sending.replay,
        "eventflow.replay.by": sending.actor,
        "error.type": "replay_not_sent" if sending.error else "",
    }
    if sending.body_size is not None:
        found["messaging.message.body.size"] = sending.body_size
    return {name: value for name, value in found.items() if value != ""}


def replay_span(sending: Sending, now: datetime) -> SpanBatch:
    """The span, as a batch that the span engine takes."""
    attributes = _attributes(sending)
    link = None
    if len(sending.failed_trace_id) == 32 and len(sending.failed_span_id) == 16:
        link = SpanLink(sending.failed_trace_id, sending.failed_span_id, {"eventflow.link": "failed"})
    span = Span(
        trace_id=sending.trace_id,
        span_id=sending.span_id,
        parent_id=None,
        name=f"replay {sending.destination}",
        kind=SpanKind.PRODUCER,
        start_ns=_ns(sending.started_at),
        end_ns=max(_ns(sending.ended_at), _ns(sending.started_at)),
        service=SERVICE,
        status=SpanStatus.ERROR if sending.error else SpanStatus.UNSET,
        status_message=sending.error,
        attributes=attributes,
        links=(link,) if link else (),
        resource={"service.name": SERVICE},
        scope=SCOPE,
        messaging=Messaging(
            system=sending.system,
            operation=Operation.SEND,
            operation_name="replay",
            destination=sending.destination,
            message_id=sending.message_id or None,
            correlation_id=sending.correlation_id or None,
            body_size=sending.body_size,
        ),
        correlation_id=sending.correlation_id or None,
        correlation_rule="messaging.message.conversation_id" if sending.correlation_id else None,
    )
    return SpanBatch(body=_body(span), spans=(span,), received_at=now)


def _key_values(attributes: dict[str, str | int]) -> list[KeyValue]:
    return [
        KeyValue(key=name, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for name, value in attributes.items()
    ]


def _body(span: Span) -> bytes:
    """The same span as an OTLP export request: what the engine keeps."""
    wire = trace_pb2.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        name=span.name,
        kind=trace_pb2.Span.SPAN_KIND_PRODUCER,
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=_key_values(
            {name: value for name, value in span.attributes.items() if isinstance(value, str | int)}
        ),
        links=[
            trace_pb2.Span.Link(
                trace_id=bytes.fromhex(link.trace_id),
                span_id=bytes.fromhex(link.span_id),
                attributes=_key_values({name: str(value) for name, value in link.attributes.items()}),
            )
            for link in span.links
        ],
        status=trace_pb2.Status(
            code=trace_pb2.Status.STATUS_CODE_ERROR
            if span.status is SpanStatus.ERROR
            else trace_pb2.Status.STATUS_CODE_UNSET,
            message=span.status_message,
        ),
    )
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.extend(_key_values({"service.name": span.service}))
    scope = resource.scope_spans.add()
    scope.scope.name = SCOPE
    scope.spans.append(wire)
    body: bytes = request.SerializeToString()
    return body
