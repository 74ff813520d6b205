"""Answers to the three signals; logs, and the metrics nobody here reads, are taken politely, counted, and said so.

Exporters usually send all three signals to one address; an error would fill their logs and make them send again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collectors.receiving.errors import BadRequestError

SERVICES = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
}
REJECTED = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}
RESPONSES: dict[str, type[Message]] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
NOT_USED = {
    "metrics": "of metrics Eventflow reads the lag of consumer groups and queues only; "
    "the others are not used (OTEL_METRICS_EXPORTER=none stops an SDK's)",
    "logs": "Eventflow reads no logs; these are not used (OTEL_LOGS_EXPORTER=none stops them)",
}
RECORDS = frozenset(("logRecords", "log_records"))


@dataclass(frozen=True, slots=True)
class Answer:
    """How much of a request was left out and why; 0 and empty for a full success."""

    rejected: int = 0
    message: str = ""

    def protobuf(self, signal: str) -> bytes:
        """As an Export…ServiceResponse; a full success has no partial_success at all."""
        response: Any = RESPONSES[signal]()
        if self.rejected or self.message:
            setattr(response.partial_success, REJECTED[signal], self.rejected)
            response.partial_success.error_message = self.message
        encoded: bytes = response.SerializeToString()
        return encoded

    def json(self, signal: str) -> bytes:
        """As OTLP/JSON, where 64-bit numbers are text."""
        if not (self.rejected or self.message):
            return b"{}"
        first, *others = REJECTED[signal].split("_")
        field = first + "".join(word.capitalize() for word in others)
        return orjson.dumps({"partialSuccess": {field: str(self.rejected), "errorMessage": self.message}})


def not_used(signal: str, count: int) -> Answer:
    """The answer when `count` records or points were left out."""
    return Answer(count, NOT_USED[signal]) if count else Answer()


def count_logs(body: bytes, *, as_json: bool) -> int:
    """How many log records a request holds."""
    if as_json:
        return _count_json(body)
    try:
        logs = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadRequestError("the body is no export request for logs in protobuf") from error
    return sum(len(scope.log_records) for group in logs.resource_logs for scope in group.scope_logs)


def _count_json(body: bytes) -> int:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(document, dict):
        raise BadRequestError("the body must be a JSON object")
    return sum(len(items) for items in _lists(document, RECORDS))


def _lists(document: dict[str, Any], names: frozenset[str]) -> Iterator[list[Any]]:
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if key in names and isinstance(inner, list):
                    yield inner
                else:
                    waiting.append(inner)
