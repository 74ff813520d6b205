"""Export requests by hand and a plain sender, for tests that must know exactly what was acknowledged."""

import http.client
import secrets
import time
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span


def _attributes(**values: str) -> list[KeyValue]:
    return [KeyValue(key=name.replace("__", "."), value=AnyValue(string_value=value)) for name, value in values.items()]


@dataclass
class Hop:
    """One message from one service to another: a send span and the process span of one consumer group."""

    key: str = field(default_factory=lambda: f"order-{secrets.token_hex(6)}")
    source: str = "till"
    destination: str = "sales.made"
    group: str = "ledger"
    consumer: str = "ledger-service"
    trace_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    sent: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    processed: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    at_ns: int = field(default_factory=time.time_ns)

    def request(self, *, sender: bool = True) -> bytes:
        """The export request with both spans, or with the consumer's only."""
        send = self._span(self.sent, f"send {self.destination}", Span.SPAN_KIND_PRODUCER, "send", 0)
        process = self._span(self.processed, f"process {self.destination}", Span.SPAN_KIND_CONSUMER, "process", 3)
        process.parent_span_id = self.sent
        process.attributes.extend(_attributes(messaging__consumer__group__name=self.group))
        seen = [self._of(self.source, send)] if sender else []
        return ExportTraceServiceRequest(resource_spans=[*seen, self._of(self.consumer, process)]).SerializeToString()

    def _span(self, span_id: bytes, name: str, kind: "Span.SpanKind", operation: str, later_ms: int) -> Span:
        start = self.at_ns + later_ms * 1_000_000
        return Span(
            trace_id=self.trace_id,
            span_id=span_id,
            name=name,
            kind=kind,
            start_time_unix_nano=start,
            end_time_unix_nano=start + 2_000_000,
            attributes=_attributes(
                messaging__system="nats",
                messaging__destination__name=self.destination,
                messaging__operation__name=operation,
                messaging__operation__type=operation,
                messaging__message__id=f"m-{self.key}",
                messaging__message__conversation_id=self.key,
            ),
        )

    @staticmethod
    def _of(service: str, span: Span) -> ResourceSpans:
        found = ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])
        found.resource.attributes.extend(_attributes(service__name=service))
        return found


def context(extracted: Context) -> tuple[bytes, bytes]:
    """Trace id and span id out of what a propagator extracted."""
    found = trace.get_current_span(extracted).get_span_context()
    return found.trace_id.to_bytes(16, "big"), found.span_id.to_bytes(8, "big")


def post(address: str, body: bytes, timeout: float = 10) -> bool:
    """Whether the receiver acknowledged it."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        return answer.status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
