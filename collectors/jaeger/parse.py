"""Jaeger's UI JSON → an OTLP trace export. References become the parent and links, logs become events.

Pure. A span that breaks a rule is left out and counted. Raises only BadRequestError.
"""

import base64
import binascii
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collectors.receiving.errors import BadRequestError
from collectors.receiving.otlp_values import Plain, attributes, clean, microseconds, padded

KINDS = {
    "internal": Span.SPAN_KIND_INTERNAL,
    "client": Span.SPAN_KIND_CLIENT,
    "server": Span.SPAN_KIND_SERVER,
    "producer": Span.SPAN_KIND_PRODUCER,
    "consumer": Span.SPAN_KIND_CONSUMER,
}
STATUS_CODES = {"OK": Status.STATUS_CODE_OK, "ERROR": Status.STATUS_CODE_ERROR}
SCOPE_TAGS = (("otel.scope.name", "otel.scope.version"), ("otel.library.name", "otel.library.version"))
Sent = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Converted:
    """A file's traces as one OTLP request; `rejected` spans were left out, `message` tells of the first one why."""

    request: ExportTraceServiceRequest
    rejected: int
    message: str


def is_jaeger(document: object) -> bool:
    """Whether a JSON document is what Jaeger's UI or its query API saves."""
    if not isinstance(document, dict):
        return False
    traces = document.get("data")
    if isinstance(traces, list):
        return all(isinstance(trace, dict) and "spans" in trace for trace in traces)
    return "spans" in document and "traceID" in document


def convert(document: dict[str, Any]) -> Converted:
    """Read ``{"data": [trace, …]}`` or one trace."""
    if not is_jaeger(document):
        raise BadRequestError("this is no trace as Jaeger's UI saves it: it has no data with spans")
    rejected, first_bad = 0, ""
    request = ExportTraceServiceRequest()
    for trace in _dicts(document["data"]) if isinstance(document.get("data"), list) else [document]:
        processes = trace.get("processes")
        groups: defaultdict[tuple[str, str, str], list[Span]] = defaultdict(list)
        for sent in trace["spans"] if isinstance(trace["spans"], list) else ():
            broken = _broken_rule(sent)
            if broken:
                rejected += 1
                first_bad = first_bad or broken
                continue
            groups[str(sent.get("processID")), *_scope(sent)].append(_span(sent))
        for (process_id, scope, version), spans in groups.items():
            process = processes.get(process_id) if isinstance(processes, dict) else None
            named = InstrumentationScope(name=clean(scope), version=clean(version))
            target = ResourceSpans(scope_spans=[ScopeSpans(scope=named, spans=spans)])
            target.resource.attributes.extend(attributes(_resource(process)))
            request.resource_spans.append(target)
    return Converted(request, rejected, f"{rejected} left out; the first because {first_bad}" if rejected else "")


def _broken_rule(sent: object) -> str | None:
    if not isinstance(sent, dict):
        return "a span must be a JSON object"
    if padded(sent.get("traceID"), 16) is None:
        return "traceID must be hexadecimal and not all zeros"
    if padded(sent.get("spanID"), 8) is None:
        return "spanID must be hexadecimal and not all zeros"
    if not microseconds(sent.get("startTime")):
        return "startTime, in microseconds, is missing"
    return None


def _span(sent: Sent) -> Span:
    tags = _tags(sent.get("tags"))
    start = microseconds(sent.get("startTime")) or 0
    parent, links = _references(sent)
    kind = KINDS.get(str(tags.pop("span.kind", "internal")).lower(), Span.SPAN_KIND_INTERNAL)
    code = STATUS_CODES.get(str(tags.get("otel.status_code", "")).upper(), Status.STATUS_CODE_UNSET)
    if str(tags.get("error", "")).lower() == "true":
        code = Status.STATUS_CODE_ERROR
    return Span(
        trace_id=padded(sent.get("traceID"), 16) or b"",
        span_id=padded(sent.get("spanID"), 8) or b"",
        parent_span_id=parent,
        name=clean(str(sent.get("operationName", ""))),
        kind=kind,
        start_time_unix_nano=start,
        end_time_unix_nano=min(start + (microseconds(sent.get("duration")) or 0), 2**63 - 1),
        attributes=attributes(tags),
        events=_events(sent.get("logs")),
        links=links,
        status=Status(code=code, message=clean(str(tags.get("otel.status_description", "")))),
    )


def _references(sent: Sent) -> tuple[bytes, list[Span.Link]]:
    """The first CHILD_OF in the same trace is the parent; all others are links, as OpenTelemetry's were."""
    trace_id = padded(sent.get("traceID"), 16)
    parent = padded(sent.get("parentSpanID"), 8) or b""
    links = []
    for reference in _dicts(sent.get("references")):
        to_trace, to_span = padded(reference.get("traceID"), 16), padded(reference.get("spanID"), 8)
        if to_trace is None or to_span is None:
            continue
        if reference.get("refType") == "CHILD_OF" and to_trace == trace_id and not parent:
            parent = to_span
        elif to_span != parent:
            links.append(Span.Link(trace_id=to_trace, span_id=to_span))
    return parent, links


def _events(logs: object) -> list[Span.Event]:
    found = []
    for log in _dicts(logs):
        fields = _tags(log.get("fields"))
        if at := microseconds(log.get("timestamp")):
            name = clean(str(fields.pop("event", "log")))
            found.append(Span.Event(time_unix_nano=at, name=name, attributes=attributes(fields)))
    return found


def _resource(process: object) -> dict[str, Plain]:
    if not isinstance(process, dict):
        return {}
    name = process.get("serviceName")
    return _tags(process.get("tags")) | ({"service.name": name} if isinstance(name, str) and name else {})


def _scope(sent: Sent) -> tuple[str, str]:
    tags = _tags(sent.get("tags"))
    for name, version in SCOPE_TAGS:
        if name in tags:
            return str(tags[name]), str(tags.get(version, ""))
    return "", ""


def _tags(tags: object) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    for tag in _dicts(tags):
        key, value, kind = tag.get("key"), tag.get("value"), tag.get("type")
        if not isinstance(key, str) or not isinstance(value, str | bool | int | float):
            continue
        found[clean(key)] = _typed(value, kind)
    return found


def _typed(value: Plain, kind: object) -> Plain:
    """A tag's value; numbers and truths may come as text, and binary as base64."""
    if not isinstance(value, str):
        return value
    if kind == "bool":
        return value.lower() == "true"
    try:
        if kind in ("int64", "float64"):
            return int(value) if kind == "int64" else float(value)
        return base64.b64decode(value, validate=True).decode() if kind == "binary" else value
    except (ValueError, binascii.Error):
        return value


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
