"""An OTLP trace export, protobuf or JSON → whole spans, and the protobuf body a store keeps.

Pure. A span that breaks a rule is left out of both, counted, and the first one named with the rule; odd but usable
things are kept as sent and counted in `warnings`. Raises only BadRequestError, for what is no export.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from collectors.conventions import correlation
from collectors.conventions.messaging import messaging, text
from collectors.otlp import json_request
from collectors.receiving.errors import BadRequestError
from eventflow.domain.observations import (
    Attributes,
    AttributeValue,
    Span,
    SpanEvent,
    SpanKind,
    SpanLink,
    SpanStatus,
)

KINDS = {
    1: SpanKind.INTERNAL,
    2: SpanKind.SERVER,
    3: SpanKind.CLIENT,
    4: SpanKind.PRODUCER,
    5: SpanKind.CONSUMER,
}
STATUSES = {1: SpanStatus.OK, 2: SpanStatus.ERROR}
NO_SERVICE = "unknown_service"
LAST_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Parsed:
    """One request, understood. `body` is protobuf and holds exactly `spans`; `message` tells why some are missing."""

    body: bytes
    spans: tuple[Span, ...]
    rejected: int
    message: str
    warnings: Mapping[str, int]


def from_protobuf(body: bytes, correlation_keys: Sequence[str] = ()) -> Parsed:
    """Parse an ExportTraceServiceRequest. The body comes back unchanged unless spans had to be left out."""
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise BadRequestError("the body is no ExportTraceServiceRequest in protobuf") from error
    return _read(request, body, correlation_keys, Counter())


def from_json(body: bytes, correlation_keys: Sequence[str] = ()) -> Parsed:
    """Parse an ExportTraceServiceRequest in OTLP/JSON, leniently; the body comes back as protobuf."""
    warnings: Counter[str] = Counter()
    request = json_request.read(body, warnings)
    return _read(request, None, correlation_keys, warnings)


def _read(
    request: ExportTraceServiceRequest, body: bytes | None, correlation_keys: Sequence[str], warnings: Counter[str]
) -> Parsed:
    spans: list[Span] = []
    rejected = 0
    first_bad = ""
    for resource_spans in request.resource_spans:
        resource, service = owner(resource_spans.resource)
        for scope_spans in resource_spans.scope_spans:
            reader = SpanReader(resource, service, scope_spans.scope, correlation_keys, warnings)
            good: list[trace_pb2.Span] = []
            for sent in scope_spans.spans:
                broken = _broken_rule(sent)
                if broken is None:
                    good.append(sent)
                    spans.append(reader.read(sent))
                else:
                    first_bad = first_bad or f"{broken} (span {_printable(sent.name)} of {_printable(service)})"
            if bad := len(scope_spans.spans) - len(good):
                rejected += bad
                kept = trace_pb2.ScopeSpans(spans=good)
                del scope_spans.spans[:]
                scope_spans.spans.MergeFrom(kept.spans)
    if body is None or rejected:
        body = request.SerializeToString()
    message = f"{rejected} rejected; the first because {first_bad}" if rejected else ""
    return Parsed(body, tuple(spans), rejected, message, warnings)


def _broken_rule(span: trace_pb2.Span) -> str | None:
    if len(span.trace_id) != 16:
        return f"trace_id must be 16 bytes and has {len(span.trace_id)}"
    if len(span.span_id) != 8:
        return f"span_id must be 8 bytes and has {len(span.span_id)}"
    if not any(span.trace_id):
        return "trace_id must not be all zeros"
    if not any(span.span_id):
        return "span_id must not be all zeros"
    if not span.start_time_unix_nano:
        return "start_time_unix_nano is missing"
    if span.start_time_unix_nano > LAST_NS or span.end_time_unix_nano > LAST_NS:
        return "its time lies after the year 2262"
    return None


def _printable(name: str) -> str:
    """A name for an error message: hostile and of any length, so quoted and cut."""
    return repr(name if len(name) <= 80 else f"{name[:79]}…")


def owner(resource: Resource) -> tuple[Attributes, str]:
    """A resource's attributes and the service they name."""
    attributes = _attributes(resource.attributes)
    return attributes, text(attributes.get("service.name")) or NO_SERVICE


class SpanReader:
    """Reads the spans of one scope."""

    def __init__(
        self,
        resource: Attributes,
        service: str,
        scope: InstrumentationScope,
        correlation_keys: Sequence[str],
        warnings: Counter[str],
    ) -> None:
        self.resource = resource
        self.service = service
        self.scope = _clean(scope.name)
        self.scope_version = _clean(scope.version)
        self.correlation_keys = correlation_keys
        self.warnings = warnings

    def read(self, sent: trace_pb2.Span) -> Span:
        """One span that broke no rule."""
        name = _clean(sent.name)
        kind = KINDS.get(sent.kind, SpanKind.UNSPECIFIED)
        attributes = _attributes(sent.attributes)
        found = correlation.find(attributes, self.correlation_keys)
        if sent.end_time_unix_nano < sent.start_time_unix_nano:
            self.warnings["a span ends before it starts"] += 1
        return Span(
            trace_id=sent.trace_id.hex(),
            span_id=sent.span_id.hex(),
            parent_id=self._parent(sent.parent_span_id),
            name=name,
            kind=kind,
            start_ns=sent.start_time_unix_nano,
            end_ns=sent.end_time_unix_nano,
            service=self.service,
            status=STATUSES.get(sent.status.code, SpanStatus.UNSET),
            status_message=_clean(sent.status.message),
            attributes=attributes,
            events=tuple(self._events(sent.events)),
            links=tuple(self._links(sent.links)),
            resource=self.resource,
            scope=self.scope,
            scope_version=self.scope_version,
            messaging=messaging(name, kind, attributes, self.scope),
            correlation_id=found[0] if found else None,
            correlation_rule=found[1] if found else None,
        )

    def _parent(self, parent: bytes) -> str | None:
        if not any(parent):
            return None
        if len(parent) != 8:
            self.warnings["parent_span_id is not 8 bytes; read as none"] += 1
            return None
        return parent.hex()

    def _events(self, events: Iterable[trace_pb2.Span.Event]) -> Iterable[SpanEvent]:
        for event in events:
            if event.time_unix_nano > LAST_NS:
                self.warnings["an event lies after the year 2262; left out"] += 1
                continue
            yield SpanEvent(_clean(event.name), event.time_unix_nano, _attributes(event.attributes))

    def _links(self, links: Iterable[trace_pb2.Span.Link]) -> Iterable[SpanLink]:
        for link in links:
            if len(link.trace_id) != 16 or len(link.span_id) != 8 or not any(link.trace_id) or not any(link.span_id):
                self.warnings["a link's ids are not 16 and 8 bytes or all zeros; left out"] += 1
                continue
            yield SpanLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))


def _clean(sent: str) -> str:
    return sent.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in sent else sent  # PostgreSQL's text has no NUL


def _attributes(sent: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    for pair in sent:
        value = pair.value
        # Nine in ten are text, which to look at costs less than to ask what they are.
        found[pair.key] = value.string_value or _value(value, value.WhichOneof("value"))
    return found


def _value(sent: AnyValue, which: str | None) -> AttributeValue:
    if which == "array_value":
        return [_value(item, item.WhichOneof("value")) for item in sent.array_value.values]
    if which == "kvlist_value":
        return _attributes(sent.kvlist_value.values)
    if which is None or which == "string_value_strindex":  # an index into a table that only profiles have
        return None
    value: AttributeValue = getattr(sent, which)
    return value
