"""Zipkin v2 JSON → an OTLP trace export, so that everything behind the receiver knows one format only.

Pure. A span that breaks a rule is left out and counted, the first one named with the rule. Raises only BadRequestError.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from collectors.receiving.errors import BadRequestError
from collectors.receiving.otlp_values import Plain, attributes, clean, microseconds, padded
from collectors.zipkin.messaging import MESSAGING_TAGS, PROCESS_NAME, messaging_attributes

KINDS = {
    "CLIENT": Span.SPAN_KIND_CLIENT,
    "SERVER": Span.SPAN_KIND_SERVER,
    "PRODUCER": Span.SPAN_KIND_PRODUCER,
    "CONSUMER": Span.SPAN_KIND_CONSUMER,
}
SCOPE_TAGS = (("otel.scope.name", "otel.scope.version"), ("otel.library.name", "otel.library.version"))
Sent = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Converted:
    """A list of Zipkin spans as OTLP protobuf. `rejected` were left out; `message` tells of the first one why."""

    body: bytes
    spans: int
    rejected: int
    message: str
    warnings: Mapping[str, int]


def convert(body: bytes) -> Converted:
    """Read a POST to /api/v2/spans."""
    try:
        document = orjson.loads(body) if body.strip() else []
    except orjson.JSONDecodeError as error:
        raise BadRequestError("the body is no JSON") from error
    if not isinstance(document, list):
        raise BadRequestError("the body must be a JSON list of Zipkin v2 spans")
    return _Batch(document).converted()


class _Batch:
    def __init__(self, document: list[Any]) -> None:
        self.warnings: Counter[str] = Counter()
        self.first_bad = ""
        self.good: list[Sent] = []
        for sent in document:
            if broken := _broken_rule(sent):
                name = sent.get("name") if isinstance(sent, dict) else None
                self.first_bad = self.first_bad or f"{broken} (span {str(name)[:80]!r})"
            else:
                self.good.append(sent)
        self.rejected = len(document) - len(self.good)
        self.by_id = {_ids(sent): sent for sent in self.good if sent.get("shared") is not True}
        self.shared = {(_ids(sent), _service(sent)) for sent in self.good if sent.get("shared") is True}

    def converted(self) -> Converted:
        groups: defaultdict[tuple[str, str, str], list[Span]] = defaultdict(list)
        for sent in self.good:
            groups[_service(sent), *_scope(sent)].append(self.span(sent))
        request = ExportTraceServiceRequest()
        for (service, scope, version), spans in groups.items():
            named = InstrumentationScope(name=scope, version=version)
            target = ResourceSpans(scope_spans=[ScopeSpans(scope=named, spans=spans)])
            if service:
                target.resource.attributes.extend(attributes({"service.name": service}))
            request.resource_spans.append(target)
        message = f"{self.rejected} left out; the first because {self.first_bad}" if self.rejected else ""
        return Converted(request.SerializeToString(), len(self.good), self.rejected, message, self.warnings)

    def span(self, sent: Sent) -> Span:
        trace_id, span_id = _ids(sent)
        parent_id = padded(sent.get("parentId"), 8) or b""
        if sent.get("shared") is True:
            # Both ends of a call under one id; here every span has its own, and the server's end is the inner one.
            parent_id, span_id = span_id, _server_end(trace_id, span_id)
        elif ((trace_id, parent_id), _service(sent)) in self.shared:
            parent_id = _server_end(trace_id, parent_id)
        parent = self.by_id.get((trace_id, parent_id))
        tags = _tags(sent)
        kind = _kind(sent)
        if (
            kind == Span.SPAN_KIND_INTERNAL
            and _name(sent) == PROCESS_NAME
            and parent is not None
            and _kind(parent) == Span.SPAN_KIND_CONSUMER
        ):
            tags = {key: value for key, value in _tags(parent).items() if key.startswith(MESSAGING_TAGS)} | tags
            kind = Span.SPAN_KIND_CONSUMER
        start = _start(sent)
        made = Span(
            trace_id=trace_id,
            span_id=span_id,
            parent_span_id=parent_id,
            name=_name(sent),
            kind=kind,
            start_time_unix_nano=start,
            end_time_unix_nano=min(start + (microseconds(sent.get("duration")) or 0), 2**63 - 1),
            attributes=attributes(tags | self.more(sent, parent, kind, tags)),
            events=self.events(sent),
        )
        if "error" in tags:
            made.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=clean(str(tags["error"]))))
        elif tags.get("otel.status_code") == "OK":
            made.status.code = Status.STATUS_CODE_OK
        return made

    def more(self, sent: Sent, parent: Sent | None, kind: int, tags: dict[str, Plain]) -> dict[str, Plain]:
        """What the endpoints and Zipkin's own messaging tags say, in OpenTelemetry's names; a tag of that name wins."""
        remote = _endpoint(sent, "remoteEndpoint") or (_endpoint(parent, "remoteEndpoint") if parent else {})
        messaging = kind in (Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER)
        found: dict[str, Plain] = {}
        name = remote.get("serviceName")
        if isinstance(name, str) and name:
            found["peer.service"] = name
        address = next((value for key in ("ipv4", "ipv6") if isinstance(value := remote.get(key), str)), None)
        port = remote.get("port")
        if address:
            found["server.address" if messaging or kind == Span.SPAN_KIND_CLIENT else "client.address"] = address
            if isinstance(port, int) and 0 < port < 65536:
                found["server.port" if messaging or kind == Span.SPAN_KIND_CLIENT else "client.port"] = port
        if messaging:
            found |= messaging_attributes(_name(sent), kind == Span.SPAN_KIND_PRODUCER, tags, found.get("peer.service"))
        return {key: value for key, value in found.items() if key not in tags}

    def events(self, sent: Sent) -> list[Span.Event]:
        annotations = sent.get("annotations")
        found = []
        for annotation in annotations if isinstance(annotations, list) else ():
            at = microseconds(annotation.get("timestamp")) if isinstance(annotation, dict) else None
            value = annotation.get("value") if isinstance(annotation, dict) else None
            if not at or not isinstance(value, str):
                self.warnings["Zipkin: an annotation without time or value; left out"] += 1
                continue
            found.append(Span.Event(time_unix_nano=at, name=clean(value)))
        return found


def _broken_rule(sent: object) -> str | None:
    if not isinstance(sent, dict):
        return "a span must be a JSON object"
    if padded(sent.get("traceId"), 16) is None:
        return "traceId must be 16 or 32 hexadecimal digits, not all zeros"
    if padded(sent.get("id"), 8) is None:
        return "id must be 16 hexadecimal digits, not all zeros"
    if not _start(sent):
        return "timestamp, in microseconds, is missing"
    return None


def _ids(sent: Sent) -> tuple[bytes, bytes]:
    trace_id, span_id = padded(sent.get("traceId"), 16), padded(sent.get("id"), 8)
    assert trace_id and span_id  # noqa: S101  # looked at by _broken_rule
    return trace_id, span_id


def _server_end(trace_id: bytes, span_id: bytes) -> bytes:
    """The id of a shared span's server half: always the same one, so that sending it again changes nothing."""
    return blake2b(trace_id + span_id, digest_size=8, person=b"zipkin shared").digest()


def _start(sent: Sent) -> int:
    """The timestamp, or the earliest annotation's when a span has only those; 0 for none."""
    if at := microseconds(sent.get("timestamp")):
        return at
    annotations = sent.get("annotations")
    times = [
        microseconds(annotation.get("timestamp")) or 0
        for annotation in (annotations if isinstance(annotations, list) else ())
        if isinstance(annotation, dict)
    ]
    return min((at for at in times if at), default=0)


def _kind(sent: Sent) -> "Span.SpanKind.ValueType":
    kind = sent.get("kind")
    return KINDS.get(kind.upper(), Span.SPAN_KIND_INTERNAL) if isinstance(kind, str) else Span.SPAN_KIND_INTERNAL


def _name(sent: Sent) -> str:
    name = sent.get("name")
    return clean(name) if isinstance(name, str) else ""


def _endpoint(sent: Sent, key: str) -> dict[str, Any]:
    found = sent.get(key)
    return found if isinstance(found, dict) else {}


def _service(sent: Sent) -> str:
    name = _endpoint(sent, "localEndpoint").get("serviceName")
    return clean(name) if isinstance(name, str) else ""


def _scope(sent: Sent) -> tuple[str, str]:
    tags = _tags(sent)
    for name, version in SCOPE_TAGS:
        if name in tags:
            return str(tags[name]), str(tags.get(version, ""))
    return "zipkin", ""


def _tags(sent: Sent) -> dict[str, Plain]:
    tags = sent.get("tags")
    if not isinstance(tags, dict):
        return {}
    return {clean(key): value for key, value in tags.items() if isinstance(value, str | bool | int | float)}
