"""One span ↔ the bytes of its row: orjson, compressed with zstd and a fixed dictionary of what spans usually say.

`decode(encode(span)) == span` for every span, whatever stands in its attributes (bytes, NaN, huge integers, broken
text). The first byte is the format's version: a reader refuses what it does not know instead of guessing.
"""

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from threading import local
from typing import Any

import orjson
import zstandard

from eventflow.domain.observations import (
    AttributeValue,
    Messaging,
    Operation,
    Span,
    SpanEvent,
    SpanKind,
    SpanLink,
    SpanStatus,
)

_VERSION = b"\x01"
_KINDS = {kind.value: kind for kind in SpanKind}
_STATUSES = {status.value: status for status in SpanStatus}
_MARK = "\0"
"""An object with this one name holds a value JSON has no word for; a sent map with that name is wrapped itself."""

# Part of format 1: a changed dictionary is a new version. What is commonest stands last, where zstd finds it nearest.
_DICTIONARY = b"""
"exception",{"exception.type":"","exception.message":"",
"exception.stacktrace":"Traceback (most recent call last):\\n  File \\"
"http.request.method":"POST","http.route":"/","http.response.status_code":200,"url.path":"/",
"server.address":"127.0.0.1","server.port":
"db.system":"postgresql","db.statement":"SELECT ","net.peer.name":"localhost","net.peer.port":"thread.id":,
"thread.name":"MainThread"
"os.type":"linux","host.name":"","host.arch":"amd64","process.pid":,"process.command":"",
"process.runtime.name":"cpython","container.id":"
"telemetry.sdk.language":"java","telemetry.sdk.language":"nodejs","telemetry.sdk.language":"go",
"telemetry.sdk.language":"dotnet"
"messaging.system":"kafka","messaging.kafka.consumer.group":"","messaging.kafka.message.offset":,
"messaging.kafka.message.key":"
"messaging.system":"rabbitmq","messaging.rabbitmq.destination.routing_key":"","messaging.destination.partition.id":"0"
"messaging.operation":"publish","messaging.operation":"receive","messaging.operation":"settle",
"messaging.message.delivery_attempt":
"messaging.system":"nats","messaging.destination.name":"orders.placed","messaging.operation.name":"process",
"messaging.operation.type":"process"
"messaging.operation.name":"publish","messaging.operation.type":"send","messaging.message.id":"",
"messaging.message.conversation_id":""
"messaging.consumer.group.name":"","messaging.message.body.size":,"messaging.batch.message_count":,
"messaging.client.id":"
"server","client","internal","consumer","producer","unset","error","ok","opentelemetry.instrumentation.
{"system":"messaging.system","operation":"messaging.operation.type","operation_name":"messaging.operation.name",
"destination":"messaging.destination.name","group":"messaging.consumer.group.name",
"message_id":"messaging.message.id","correlation_id":"messaging.message.conversation_id"}
{"telemetry.sdk.language":"python","telemetry.sdk.name":"opentelemetry","telemetry.sdk.version":"1.",
"service.name":"","service.version":"","service.instance.id":"","service.namespace":"","deployment.environment.name":"
"""
_DICT = zstandard.ZstdCompressionDict(_DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
_tools = local()


def encode(span: Span) -> bytes:
    """The bytes of a span's row."""
    try:
        text = orjson.dumps(_fields(span, _map))
    except TypeError:
        text = orjson.dumps(_plain(_fields(span, dict)))
    compressor: zstandard.ZstdCompressor | None = getattr(_tools, "compressor", None)
    if compressor is None:
        compressor = _tools.compressor = zstandard.ZstdCompressor(level=3, dict_data=_DICT, write_checksum=False)
    return _VERSION + compressor.compress(text)


def decode(row: bytes) -> Span:
    """The span of a row. Raises ValueError for bytes of another version."""
    row = bytes(row)
    if row[:1] != _VERSION:
        raise ValueError("a span's row has an unknown version")
    decompressor: zstandard.ZstdDecompressor | None = getattr(_tools, "decompressor", None)
    if decompressor is None:
        decompressor = _tools.decompressor = zstandard.ZstdDecompressor(dict_data=_DICT)
    text = decompressor.decompress(row[1:])
    fields = orjson.loads(text)
    if b"\\u0000" in text:
        fields = _rich(fields)
    return _span(fields)


def _fields(span: Span, as_map: Callable[[Mapping[str, AttributeValue]], Any]) -> list[Any]:
    return [
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind.value,
        span.start_ns,
        span.end_ns,
        span.service,
        span.status.value,
        span.status_message,
        as_map(span.attributes),
        [[event.name, event.at_ns, as_map(event.attributes)] for event in span.events],
        [[link.trace_id, link.span_id, as_map(link.attributes)] for link in span.links],
        as_map(span.resource),
        span.scope,
        span.scope_version,
        _messaging(span.messaging) if span.messaging else None,
        span.correlation_id,
        span.correlation_rule,
    ]


def _span(fields: list[Any]) -> Span:
    (trace_id, span_id, parent_id, name, kind, start_ns, end_ns, service, status, status_message) = fields[:10]
    (attributes, events, links, resource, scope, scope_version, messaging, correlation_id, correlation_rule) = fields[
        10:
    ]
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        kind=_KINDS[kind],
        start_ns=start_ns,
        end_ns=end_ns,
        service=service,
        status=_STATUSES[status],
        status_message=status_message,
        attributes=attributes,
        events=tuple(SpanEvent(*event) for event in events),
        links=tuple(SpanLink(*link) for link in links),
        resource=resource,
        scope=scope,
        scope_version=scope_version,
        messaging=_read_messaging(messaging) if messaging else None,
        correlation_id=correlation_id,
        correlation_rule=correlation_rule,
    )


_MESSAGING_FIELDS = tuple(name for name in Messaging.__dataclass_fields__ if name != "rules")


def _messaging(messaging: Messaging) -> dict[str, Any]:
    """Only what is known: most of it is not."""
    known: dict[str, Any] = {
        name: value for name in _MESSAGING_FIELDS if (value := getattr(messaging, name)) is not None
    }
    if messaging.operation is not None:
        known["operation"] = messaging.operation.value
    known["rules"] = dict(messaging.rules)
    return known


def _read_messaging(known: dict[str, Any]) -> Messaging:
    if "operation" in known:
        known = {**known, "operation": Operation(known["operation"])}
    return Messaging(**known)


def _map(attributes: Mapping[str, AttributeValue]) -> Any:
    """The attributes as JSON can hold them; copied only if something needs another form."""
    if _MARK in attributes:
        return _plain(dict(attributes))
    for value in attributes.values():
        if type(value) not in (str, int, bool) and not (type(value) is float and math.isfinite(value)):
            return _plain(dict(attributes))
    return attributes if type(attributes) is dict else dict(attributes)


def _plain(value: Any) -> Any:
    """A value JSON can hold. Broken text, bytes and odd numbers become an object with one name, `_MARK`."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {_MARK: "text", "value": b64encode(value.encode("utf-8", "surrogatepass")).decode()}
        return value
    if isinstance(value, bytes):
        return {_MARK: "bytes", "value": b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {_MARK: "float", "value": str(value)}
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return {_MARK: "int", "value": str(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if _MARK in value or any(not name.isascii() for name in value):
            return {_MARK: "map", "value": [[_plain(name), _plain(item)] for name, item in value.items()]}
        return {name: _plain(item) for name, item in value.items()}
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "text": lambda value: b64decode(value).decode("utf-8", "surrogatepass"),
    "bytes": b64decode,
    "float": float,
    "int": int,
    "map": lambda pairs: {_rich(name): _rich(item) for name, item in pairs},
}


def _rich(value: Any) -> Any:
    """The opposite of `_plain`."""
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if isinstance(value, dict):
        if _MARK in value:
            return _READERS[value[_MARK]](value["value"])
        return {name: _rich(item) for name, item in value.items()}
    return value
