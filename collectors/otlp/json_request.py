"""OTLP/JSON → the same request as a protobuf message, leniently: the mistakes seen in the wild are read and counted.

Ids as hex or base64 (told by length), snake_case keys, enums by name, 64-bit numbers as text or number, the
`instrumentationLibrarySpans` of before 2022; unknown fields are ignored. Raises BadRequestError, and nothing else.
"""

import base64
import binascii
import math
from collections import Counter
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from collectors.receiving.errors import BadRequestError

SNAKE = {
    "resourceSpans": "resource_spans",
    "scopeSpans": "scope_spans",
    "schemaUrl": "schema_url",
    "traceId": "trace_id",
    "spanId": "span_id",
    "parentSpanId": "parent_span_id",
    "traceState": "trace_state",
    "startTimeUnixNano": "start_time_unix_nano",
    "endTimeUnixNano": "end_time_unix_nano",
    "timeUnixNano": "time_unix_nano",
    "droppedAttributesCount": "dropped_attributes_count",
    "droppedEventsCount": "dropped_events_count",
    "droppedLinksCount": "dropped_links_count",
    "stringValue": "string_value",
    "boolValue": "bool_value",
    "intValue": "int_value",
    "doubleValue": "double_value",
    "bytesValue": "bytes_value",
    "arrayValue": "array_value",
    "kvlistValue": "kvlist_value",
    "instrumentationLibrarySpans": "instrumentation_library_spans",
    "instrumentationLibrary": "instrumentation_library",
}
KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5, "UNSPECIFIED": 0}
STATUS_CODES = {"UNSET": 0, "OK": 1, "ERROR": 2}
DEEPEST = 24
"""How deep attribute values may nest. A level is up to three messages, and protobuf reads no more than 100 deep."""


def read(body: bytes, warnings: Counter[str]) -> ExportTraceServiceRequest:
    """The request in `body`; what had to be guessed or dropped is counted in `warnings`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(document, dict):
        raise BadRequestError("the body must be a JSON object with resourceSpans")
    return _Reader(warnings).request(document)


class _Reader:
    def __init__(self, warnings: Counter[str]) -> None:
        self.warnings = warnings

    def request(self, document: dict[str, Any]) -> ExportTraceServiceRequest:
        """The whole request. Its skeleton must be right; inside a span anything odd is left out and counted."""
        request = ExportTraceServiceRequest()
        for sent in self._objects(document, "resourceSpans"):
            target = request.resource_spans.add(schema_url=self._text(sent, "schemaUrl"))
            resource = self._get(sent, "resource")
            if isinstance(resource, dict):
                target.resource.attributes.extend(self._attributes(resource))
                target.resource.dropped_attributes_count = self._count(resource, "droppedAttributesCount")
            for scope_spans in self._objects(sent, "scopeSpans"):
                self._scope_spans(target, scope_spans, self._get(scope_spans, "scope"))
            for old in self._objects(sent, "instrumentationLibrarySpans"):
                self.warnings["JSON: instrumentationLibrarySpans of before 2022"] += 1
                self._scope_spans(target, old, self._get(old, "instrumentationLibrary"))
        return request

    def _scope_spans(self, into: trace_pb2.ResourceSpans, sent: dict[str, Any], scope: object) -> None:
        target = into.scope_spans.add(schema_url=self._text(sent, "schemaUrl"))
        if isinstance(scope, dict):
            target.scope.CopyFrom(
                InstrumentationScope(
                    name=self._text(scope, "name"),
                    version=self._text(scope, "version"),
                    attributes=self._attributes(scope),
                    dropped_attributes_count=self._count(scope, "droppedAttributesCount"),
                )
            )
        for span in self._list(sent, "spans"):
            # What is no object becomes a span without ids: rejected by that rule like any other.
            self._span(target.spans.add(), span if isinstance(span, dict) else {})

    def _span(self, target: trace_pb2.Span, sent: dict[str, Any]) -> None:
        target.trace_id = self._id(sent, "traceId", 16)
        target.span_id = self._id(sent, "spanId", 8)
        target.parent_span_id = self._id(sent, "parentSpanId", 8)
        target.name = self._text(sent, "name")
        target.trace_state = self._text(sent, "traceState")
        target.kind = trace_pb2.Span.SpanKind.ValueType(self._enum(sent, "kind", "SPAN_KIND_", KINDS))
        target.flags = self._count(sent, "flags")
        target.start_time_unix_nano = self._nanoseconds(sent, "startTimeUnixNano")
        target.end_time_unix_nano = self._nanoseconds(sent, "endTimeUnixNano")
        target.attributes.extend(self._attributes(sent))
        target.dropped_attributes_count = self._count(sent, "droppedAttributesCount")
        target.dropped_events_count = self._count(sent, "droppedEventsCount")
        target.dropped_links_count = self._count(sent, "droppedLinksCount")
        for event in self._inner_objects(sent, "events"):
            target.events.add(
                time_unix_nano=self._nanoseconds(event, "timeUnixNano"),
                name=self._text(event, "name"),
                attributes=self._attributes(event),
                dropped_attributes_count=self._count(event, "droppedAttributesCount"),
            )
        for link in self._inner_objects(sent, "links"):
            target.links.add(
                trace_id=self._id(link, "traceId", 16),
                span_id=self._id(link, "spanId", 8),
                trace_state=self._text(link, "traceState"),
                attributes=self._attributes(link),
                dropped_attributes_count=self._count(link, "droppedAttributesCount"),
                flags=self._count(link, "flags"),
            )
        status = self._get(sent, "status")
        if isinstance(status, dict):
            code = self._enum(status, "code", "STATUS_CODE_", STATUS_CODES)
            target.status.code = trace_pb2.Status.StatusCode.ValueType(code)
            target.status.message = self._text(status, "message")

    def _get(self, sent: dict[str, Any], key: str) -> Any:
        value = sent.get(key)
        if value is None and (snake := SNAKE.get(key)) is not None:
            value = sent.get(snake)
            if value is not None:
                self.warnings["JSON: keys in snake_case"] += 1
        return value

    def _list(self, sent: dict[str, Any], key: str) -> list[Any]:
        value = self._get(sent, key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadRequestError(f"{key} must be a list")
        return value

    def _objects(self, sent: dict[str, Any], key: str) -> list[dict[str, Any]]:
        values = self._list(sent, key)
        if not all(isinstance(value, dict) for value in values):
            raise BadRequestError(f"{key} must be a list of objects")
        return values

    def _inner_objects(self, sent: dict[str, Any], key: str) -> list[dict[str, Any]]:
        value = self._get(sent, key)
        if value is None:
            return []
        if isinstance(value, list):
            objects = [item for item in value if isinstance(item, dict)]
            if len(objects) == len(value):
                return objects
        else:
            objects = []
        self.warnings[f"JSON: {key} that are no objects in a list; left out"] += 1
        return objects

    def _text(self, sent: dict[str, Any], key: str) -> str:
        value = self._get(sent, key)
        if isinstance(value, str):
            return value
        if value is None:
            return ""
        self.warnings[f"JSON: {key} that is no text; left out"] += 1
        return ""

    def _integer(self, value: Any) -> int | None:
        """A whole number, sent as number or text."""
        if isinstance(value, str):
            text = value.strip()
            if text.removeprefix("-").isdigit() and text.isascii() and len(text) <= 20:
                return int(text)
            try:
                value = float(text)
            except ValueError:
                return None
        if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**64:
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def _nanoseconds(self, sent: dict[str, Any], key: str) -> int:
        value = self._get(sent, key)
        if value is None:
            return 0
        if isinstance(value, float):
            self.warnings["JSON: times as floating point, precision is lost"] += 1
        number = self._integer(value)
        if number is None or not 0 <= number < 2**64:
            self.warnings[f"JSON: {key} that is no time; read as missing"] += 1
            return 0
        return number

    def _count(self, sent: dict[str, Any], key: str) -> int:
        number = self._integer(self._get(sent, key))
        return number if number is not None and 0 <= number < 2**32 else 0

    def _enum(self, sent: dict[str, Any], key: str, prefix: str, names: dict[str, int]) -> int:
        value = self._get(sent, key)
        if isinstance(value, str) and (by_name := names.get(value.strip().upper().removeprefix(prefix))) is not None:
            self.warnings["JSON: enums by name"] += 1
            return by_name
        number = self._integer(value)
        return number if number is not None and number in names.values() else 0

    def _id(self, sent: dict[str, Any], key: str, size: int) -> bytes:
        """An id in hex or in the base64 of protobuf's own JSON; anything else as empty, which breaks a rule."""
        value = self._get(sent, key)
        if not isinstance(value, str) or not value:
            return b""
        try:
            if len(value) == 2 * size:
                return bytes.fromhex(value)
            if len(value) == 4 * math.ceil(size / 3) and value.endswith("="):
                decoded = base64.b64decode(value, validate=True)
                self.warnings["JSON: ids in base64"] += 1
                return decoded
        except ValueError:  # binascii.Error is one
            return b""
        self.warnings[f"JSON: {key} of a wrong length"] += 1
        return b""

    def _attributes(self, sent: dict[str, Any], depth: int = 0) -> list[KeyValue]:
        return [pair for item in self._inner_objects(sent, "attributes") if (pair := self._pair(item, depth))]

    def _pair(self, sent: dict[str, Any], depth: int) -> KeyValue | None:
        key = self._get(sent, "key")
        if not isinstance(key, str):
            self.warnings["JSON: an attribute without a key; left out"] += 1
            return None
        return KeyValue(key=key, value=self._value(self._get(sent, "value"), depth))

    def _value(self, sent: Any, depth: int) -> AnyValue:
        if not isinstance(sent, dict):
            if sent is not None:
                self.warnings["JSON: an attribute's value that is no object"] += 1
            return AnyValue(string_value=sent) if isinstance(sent, str) else AnyValue()
        if (value := self._get(sent, "stringValue")) is not None:
            return AnyValue(string_value=value if isinstance(value, str) else orjson.dumps(value).decode())
        if (value := self._get(sent, "boolValue")) is not None:
            return AnyValue(bool_value=value if isinstance(value, bool) else str(value).lower() == "true")
        if (value := self._get(sent, "intValue")) is not None:
            number = self._integer(value)
            if number is not None and -(2**63) <= number < 2**63:
                return AnyValue(int_value=number)
            return AnyValue(string_value=str(value))
        if (value := self._get(sent, "doubleValue")) is not None:
            return self._double(value)
        if (value := self._get(sent, "bytesValue")) is not None:
            return self._bytes(value)
        return self._collection(sent, depth)

    def _double(self, value: Any) -> AnyValue:
        try:
            return AnyValue(double_value=float(value))
        except (TypeError, ValueError, OverflowError):
            self.warnings["JSON: a doubleValue that is no number; left out"] += 1
            return AnyValue()

    def _bytes(self, value: Any) -> AnyValue:
        try:
            return AnyValue(bytes_value=base64.b64decode(value, validate=True))
        except (TypeError, ValueError, binascii.Error):
            self.warnings["JSON: a bytesValue that is no base64; left out"] += 1
            return AnyValue()

    def _collection(self, sent: dict[str, Any], depth: int) -> AnyValue:
        found = AnyValue()
        for key in ("arrayValue", "kvlistValue"):
            holder = self._get(sent, key)
            if not isinstance(holder, dict):
                continue
            if depth >= DEEPEST:
                raise BadRequestError(f"attribute values nest deeper than {DEEPEST}")
            values = self._inner_objects(holder, "values")
            if key == "arrayValue":
                found.array_value.SetInParent()
                found.array_value.values.extend(self._value(value, depth + 1) for value in values)
            else:
                found.kvlist_value.SetInParent()
                pairs = (self._pair(value, depth + 1) for value in values)
                found.kvlist_value.values.extend(pair for pair in pairs if pair is not None)
            break
        return found
