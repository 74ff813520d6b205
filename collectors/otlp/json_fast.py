"""OTLP/JSON as the specification has it → the request in protobuf, without a message object in between.

Anything else, however slightly, is None: `json_request` then reads it leniently. Pure; never raises for what is sent.
"""

from base64 import b64decode
from struct import Struct

import msgspec
from msgspec import UNSET, UnsetType

from collectors.otlp.scan.fields_py import encoded

Snake = UnsetType | msgspec.Raw
"""A field that only mistaken clients send; its presence is what counts."""
LAST = 2**64
_DOUBLE = Struct("<d")
_FIXED64 = Struct("<Q")
_FIXED32 = Struct("<I")
_SIZES = tuple(encoded(size) for size in range(1 << 14))


class _Value(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Any other field, in snake_case for one, is for the lenient reader: most of a request is values."""

    stringValue: str | None = None  # noqa: N815  # the names are OTLP's, here and below
    intValue: str | int | None = None  # noqa: N815
    boolValue: bool | None = None  # noqa: N815
    doubleValue: float | None = None  # noqa: N815
    bytesValue: str | None = None  # noqa: N815
    arrayValue: "_Values | None" = None  # noqa: N815
    kvlistValue: "_Pairs | None" = None  # noqa: N815


class _Values(msgspec.Struct, gc=False):
    values: list[_Value] | None = None


class _Pair(msgspec.Struct, gc=False):
    key: str
    value: _Value | None = None


class _Pairs(msgspec.Struct, gc=False):
    values: list[_Pair] | None = None


class _Owner(msgspec.Struct, gc=False):
    """A resource or a scope."""

    name: str | None = None
    version: str | None = None
    attributes: list[_Pair] | None = None
    droppedAttributesCount: int | None = None  # noqa: N815
    dropped_attributes_count: Snake = UNSET


class _Event(msgspec.Struct, gc=False):
    timeUnixNano: str | int | None = None  # noqa: N815
    name: str | None = None
    attributes: list[_Pair] | None = None
    droppedAttributesCount: int | None = None  # noqa: N815
    time_unix_nano: Snake = UNSET
    dropped_attributes_count: Snake = UNSET


class _Link(msgspec.Struct, gc=False):
    traceId: str = ""  # noqa: N815
    spanId: str = ""  # noqa: N815
    traceState: str | None = None  # noqa: N815
    attributes: list[_Pair] | None = None
    droppedAttributesCount: int | None = None  # noqa: N815
    flags: int | None = None
    trace_id: Snake = UNSET
    span_id: Snake = UNSET
    trace_state: Snake = UNSET
    dropped_attributes_count: Snake = UNSET


class _Status(msgspec.Struct, gc=False):
    message: str | None = None
    code: int | None = None


class _Span(msgspec.Struct, gc=False):
    traceId: str = ""  # noqa: N815
    spanId: str = ""  # noqa: N815
    parentSpanId: str | None = None  # noqa: N815
    traceState: str | None = None  # noqa: N815
    name: str | None = None
    kind: int | None = None
    startTimeUnixNano: str | int | None = None  # noqa: N815
    endTimeUnixNano: str | int | None = None  # noqa: N815
    attributes: list[_Pair] | None = None
    droppedAttributesCount: int | None = None  # noqa: N815
    events: list[_Event] | None = None
    droppedEventsCount: int | None = None  # noqa: N815
    links: list[_Link] | None = None
    droppedLinksCount: int | None = None  # noqa: N815
    status: _Status | None = None
    flags: int | None = None
    trace_id: Snake = UNSET
    span_id: Snake = UNSET
    parent_span_id: Snake = UNSET
    trace_state: Snake = UNSET
    start_time_unix_nano: Snake = UNSET
    end_time_unix_nano: Snake = UNSET
    dropped_attributes_count: Snake = UNSET
    dropped_events_count: Snake = UNSET
    dropped_links_count: Snake = UNSET


class _ScopeSpans(msgspec.Struct, gc=False):
    scope: _Owner | None = None
    spans: list[_Span] | None = None
    schemaUrl: str | None = None  # noqa: N815
    schema_url: Snake = UNSET


class _ResourceSpans(msgspec.Struct, gc=False):
    resource: _Owner | None = None
    scopeSpans: list[_ScopeSpans] | None = None  # noqa: N815
    schemaUrl: str | None = None  # noqa: N815
    scope_spans: Snake = UNSET
    schema_url: Snake = UNSET
    instrumentationLibrarySpans: Snake = UNSET  # noqa: N815
    instrumentation_library_spans: Snake = UNSET


class _Request(msgspec.Struct, gc=False):
    resourceSpans: list[_ResourceSpans] | None = None  # noqa: N815
    resource_spans: Snake = UNSET


_decode = msgspec.json.Decoder(_Request).decode


class _UnusualError(Exception):
    """For the lenient reader."""


def to_protobuf(body: bytes) -> bytes | None:
    """The request in protobuf; None for the lenient reader to see to."""
    try:
        if not body.isascii():
            body.decode()  # the decoder below does not look at what it skips
        return _request(_decode(body))
    except (_UnusualError, msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
        return None  # ValueError: also text that is no UTF-8, and ids that are no hex


def _request(sent: _Request) -> bytes:
    _none(sent.resource_spans)
    out: list[bytes] = []
    for group in sent.resourceSpans or ():
        _none(
            group.scope_spans, group.schema_url, group.instrumentationLibrarySpans, group.instrumentation_library_spans
        )
        inside = [] if group.resource is None else [b"\x0a", *_sized(_resource(group.resource))]
        for scope_spans in group.scopeSpans or ():
            inside += (b"\x12", *_sized(_scope_spans(scope_spans)))
        _text(inside, b"\x1a", group.schemaUrl)
        out += (b"\x0a", *_sized(b"".join(inside)))
    return b"".join(out)


def _none(*fields: Snake) -> None:
    for field in fields:
        if field is not UNSET:
            raise _UnusualError


def _sized(content: bytes) -> tuple[bytes, bytes]:
    size = len(content)
    return (_SIZES[size] if size < 16384 else encoded(size)), content


def _text(out: list[bytes], tag: bytes, text: str | None) -> None:
    if text:
        out += (tag, *_sized(text.encode()))


def _count(out: list[bytes], tag: bytes, number: int | None) -> None:
    if number:
        if not 0 < number < 2**32:
            raise _UnusualError
        out += (tag, encoded(number))


def _resource(sent: _Owner) -> bytes:
    _none(sent.dropped_attributes_count)
    out: list[bytes] = []
    for pair in sent.attributes or ():
        out += (b"\x0a", *_sized(_pair(pair)))
    _count(out, b"\x10", sent.droppedAttributesCount)
    return b"".join(out)


def _scope_spans(sent: _ScopeSpans) -> bytes:
    _none(sent.schema_url)
    out: list[bytes] = []
    if sent.scope is not None:
        _none(sent.scope.dropped_attributes_count)
        inside: list[bytes] = []
        _text(inside, b"\x0a", sent.scope.name)
        _text(inside, b"\x12", sent.scope.version)
        for pair in sent.scope.attributes or ():
            inside += (b"\x1a", *_sized(_pair(pair)))
        _count(inside, b"\x20", sent.scope.droppedAttributesCount)
        out += (b"\x0a", *_sized(b"".join(inside)))
    for span in sent.spans or ():
        out += (b"\x12", *_sized(_span(span)))
    _text(out, b"\x1a", sent.schemaUrl)
    return b"".join(out)


def _span(sent: _Span) -> bytes:
    if (
        len(sent.traceId) != 32
        or len(sent.spanId) != 16
        or sent.trace_id is not UNSET
        or sent.span_id is not UNSET
        or sent.parent_span_id is not UNSET
        or sent.trace_state is not UNSET
        or sent.start_time_unix_nano is not UNSET
        or sent.end_time_unix_nano is not UNSET
        or sent.dropped_attributes_count is not UNSET
        or sent.dropped_events_count is not UNSET
        or sent.dropped_links_count is not UNSET
    ):
        raise _UnusualError
    out = [b"\x0a\x10", _id(sent.traceId), b"\x12\x08", _id(sent.spanId)]
    _text(out, b"\x1a", sent.traceState)
    if sent.parentSpanId:
        if len(sent.parentSpanId) != 16:
            raise _UnusualError
        out += (b"\x22\x08", _id(sent.parentSpanId))
    _text(out, b"\x2a", sent.name)
    if kind := sent.kind:
        if not 0 < kind < 6:
            raise _UnusualError
        out += (b"\x30", _SIZES[kind])
    out += (b"\x39", _time(sent.startTimeUnixNano), b"\x41", _time(sent.endTimeUnixNano))
    _attributes(out, b"\x4a", sent.attributes)
    _count(out, b"\x50", sent.droppedAttributesCount)
    for event in sent.events or ():
        out += (b"\x5a", *_sized(_event(event)))
    _count(out, b"\x60", sent.droppedEventsCount)
    for link in sent.links or ():
        out += (b"\x6a", *_sized(_link(link)))
    _count(out, b"\x70", sent.droppedLinksCount)
    if (status := sent.status) is not None:
        inside: list[bytes] = []
        _text(inside, b"\x12", status.message)
        if status.code:
            if not 0 < status.code < 3:
                raise _UnusualError
            inside += (b"\x18", _SIZES[status.code])
        out += (b"\x7a", *_sized(b"".join(inside)))
    if sent.flags:
        if not 0 < sent.flags < 2**32:
            raise _UnusualError
        out += (b"\x85\x01", _FIXED32.pack(sent.flags))
    return b"".join(out)


def _id(text: str) -> bytes:
    found = bytes.fromhex(text)
    if 2 * len(found) != len(text):  # fromhex reads over spaces
        raise _UnusualError
    return found


def _time(sent: str | int | None) -> bytes:
    if isinstance(sent, str):
        if not (sent.isascii() and sent.isdigit() and len(sent) < 20):
            raise _UnusualError
        sent = int(sent)
    sent = sent or 0
    if not 0 <= sent < LAST:
        raise _UnusualError
    return _FIXED64.pack(sent)


def _event(sent: _Event) -> bytes:
    _none(sent.time_unix_nano, sent.dropped_attributes_count)
    out = [b"\x09", _time(sent.timeUnixNano)]
    _text(out, b"\x12", sent.name)
    _attributes(out, b"\x1a", sent.attributes)
    _count(out, b"\x20", sent.droppedAttributesCount)
    return b"".join(out)


def _link(sent: _Link) -> bytes:
    _none(sent.trace_id, sent.span_id, sent.trace_state, sent.dropped_attributes_count)
    if len(sent.traceId) != 32 or len(sent.spanId) != 16:
        raise _UnusualError
    out = [b"\x0a\x10", _id(sent.traceId), b"\x12\x08", _id(sent.spanId)]
    _text(out, b"\x1a", sent.traceState)
    _attributes(out, b"\x22", sent.attributes)
    _count(out, b"\x28", sent.droppedAttributesCount)
    if sent.flags:
        if not 0 < sent.flags < 2**32:
            raise _UnusualError
        out += (b"\x35", _FIXED32.pack(sent.flags))
    return b"".join(out)


def _attributes(out: list[bytes], tag: bytes, sent: list[_Pair] | None) -> None:
    """Nearly all of the work, so nearly all of it stands here and not in functions of its own."""
    for pair in sent or ():
        value = pair.value
        if value is not None and (text := value.stringValue) is not None:
            content = text.encode()
            inner = len(content)
            head = _heads.get(pair.key) or _head(pair.key)
            if inner < 126 and head:
                out += (tag, _SIZES[len(head) + inner + 4], head, _STRINGS[inner], content)
                continue
        content = _pair(pair)
        out += (tag, *_sized(content))


_heads: dict[str, bytes] = {}
"""Keys as they begin an attribute."""


def _head(key: str) -> bytes:
    """A key of at most 127 bytes with tag and length; nothing for a longer one."""
    encoded = key.encode()
    if len(encoded) > 127:
        return b""
    if len(_heads) >= 4096:  # hostile ones shall not fill the memory
        _heads.clear()
    head = _heads[key] = b"\x0a" + _SIZES[len(encoded)] + encoded
    return head


_STRINGS = tuple(bytes((0x12, size + 2, 0x0A, size)) for size in range(126))
"""A value's head, when it is text of this length."""


def _pair(sent: _Pair) -> bytes:
    content = b"" if sent.value is None else _value(sent.value, 0)
    return b"".join((b"\x0a", *_sized(sent.key.encode()), b"\x12", *_sized(content)))


def _value(sent: _Value, depth: int) -> bytes:
    """An AnyValue."""
    if sent.stringValue is not None:
        return b"".join((b"\x0a", *_sized(sent.stringValue.encode())))
    if sent.boolValue is not None:
        return b"\x10\x01" if sent.boolValue else b"\x10\x00"
    if (number := sent.intValue) is not None:
        if isinstance(number, str):
            if not (number.isascii() and number.removeprefix("-").isdigit() and len(number) < 19):
                raise _UnusualError
            number = int(number)
        if not -(2**63) <= number < 2**63:
            raise _UnusualError
        return b"\x18" + encoded(number & 0xFFFFFFFFFFFFFFFF)
    if sent.doubleValue is not None:
        return b"\x21" + _DOUBLE.pack(sent.doubleValue)
    return _rare(sent, depth)


def _rare(sent: _Value, depth: int) -> bytes:
    if sent.bytesValue is not None:
        return b"".join((b"\x3a", *_sized(b64decode(sent.bytesValue, validate=True))))
    if depth > 20:
        raise _UnusualError
    out: list[bytes] = []
    if sent.arrayValue is not None:
        for value in sent.arrayValue.values or ():
            out += (b"\x0a", *_sized(_value(value, depth + 1)))
        return b"".join((b"\x2a", *_sized(b"".join(out))))
    if sent.kvlistValue is not None:
        for pair in sent.kvlistValue.values or ():
            content = b"" if pair.value is None else _value(pair.value, depth + 1)
            inside = b"".join((b"\x0a", *_sized(pair.key.encode()), b"\x12", *_sized(content)))
            out += (b"\x0a", *_sized(inside))
        return b"".join((b"\x32", *_sized(b"".join(out))))
    return b""
