"""An ExportTraceServiceRequest → columns, in plain Python: protobuf's own parser says whether the bytes are sound and
splits them; of a span, no more is looked at than a judgement needs.

Does the same as `_wire.pyx`; a change here is one there. Raises UnscannableError and nothing else.
"""

import struct
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.conventions.roles import Role
from collectors.otlp.parse import LAST_NS
from collectors.otlp.scan.names import ODD, Names, UnscannableError
from collectors.otlp.scan.raw import RawScopeSpans
from eventflow.domain.columns import SpanColumns

OURS, TEXT, NUMBER, VALUE, IDENTITY = (
    int(role) for role in (Role.OURS, Role.TEXT, Role.NUMBER, Role.VALUE, Role.IDENTITY)
)
NO_TRACE, NO_SPAN = bytes(16), bytes(8)
LONGEST_TEXT = 300
NOT_DUE = b"KafkaBackoffException"
"""What `failure.put_back` looks for in exceptions."""
STRING, INTEGER = 0x0A, 0x18
"""AnyValue's tags for text and for whole numbers."""
MOST_ATTRIBUTES = 8192
LONGEST_ATTRIBUTE = 128
_ODD_ATTRIBUTE = (ODD, b"", 0)

Known = tuple[int, bytes, int]
"""An attribute's code, its key, and where in it its value begins."""


class PythonScanner:
    """Scans requests with what `names` knows."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.seen: dict[bytes, Known | None] = {}
        """Whole attributes that came by and whose value nobody needs by itself; None where nobody looks at them."""

    def scan(self, body: bytes) -> SpanColumns:
        """The spans of `body` as columns."""
        if len(body) >= 2**31:
            raise UnscannableError("too long")
        try:
            ExportTraceServiceRequest.FromString(body)
        except DecodeError as error:
            raise UnscannableError("no ExportTraceServiceRequest in protobuf") from error
        walk = _Walk(body, self.names, self.seen)
        for tag, start, end in fields(body, 0, len(body)):
            if tag == 0x0A:
                walk.resource_spans(start, end)
        return walk.columns()


class _Walk:
    """One walk through one sound body."""

    def __init__(self, body: bytes, names: Names, seen: dict[bytes, Known | None]) -> None:
        self.body = body
        self.names = names
        self.seen = seen
        self.ids: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.errors = bytearray()
        self.odd = bytearray()
        self.shapes: list[int] = []
        self.places: list[int] = []
        self.lengths: list[int] = []
        self.scopes: list[int] = []
        self.scope_ranges: list[tuple[int, int, int, int]] = []
        self.link_spans: list[int] = []
        self.link_ids: tuple[list[bytes], list[bytes]] = ([], [])
        self.idents: list[int] = []
        """Five numbers a row: span, name, offset, length, link."""

    def resource_spans(self, start: int, end: int) -> None:
        """One service's spans."""
        body = self.body
        resource = _only(body, start, end)
        service = self.names.service(body[resource[0] : sum(resource)])
        for tag, at, to in fields(body, start, end):
            if tag == 0x12:
                scope = _only(body, at, to)
                token = self.names.scope(service, body[scope[0] : sum(scope)])
                first = len(self.places)
                self._find_spans(at, to)
                if count := len(self.places) - first:
                    self.scopes.extend([len(self.scope_ranges)] * count)
                    self.scope_ranges.append((*resource, *scope))
                    for number, span in enumerate(RawScopeSpans.FromString(body[at:to]).spans, first):
                        self._span(number, span, token)

    def _find_spans(self, i: int, end: int) -> None:
        s, places, lengths = self.body, self.places, self.lengths
        while i < end:
            if s[i] == 0x12:
                size, i = varint(s, i + 1)
                places.append(i)
                lengths.append(size)
                i += size
            else:
                _, _, i = next(fields(s, i, end))

    def _span(self, number: int, span: Any, token: int) -> None:
        trace_id, span_id, parent = span.trace_id, span.span_id, span.parent
        started, ended = span.start, span.end
        if (
            len(trace_id) != 16
            or len(span_id) != 8
            or trace_id == NO_TRACE
            or span_id == NO_SPAN
            or not 0 < started <= LAST_NS
            or ended > LAST_NS
        ):
            raise UnscannableError("a span breaks a rule")
        odd = ended < started
        if not parent or len(parent) != 8:
            odd |= any(parent)
            parent = NO_SPAN
        elif parent == span_id:
            odd = True
        kind, name, status = span.kind, span.name, 0
        for sent in span.status:
            status = _status(sent, status)
        exception, linked, links = False, 0, 0
        for event in span.events:
            happened, wrong = _event(event)
            exception |= happened
            odd |= wrong
        for link in span.links:
            said, wrong = self._link(number, link)
            links += 1
            linked |= said
            odd |= wrong
        wrong, ours, parts, identities = self._attributes(number, span.attributes)
        for column, value in zip(self.ids, (trace_id, span_id, parent), strict=True):
            column.append(value)
        self.starts.append(started)
        self.ends.append(ended)
        self.errors.append(status == 2)
        self.odd.append(odd or wrong)
        kind = kind if 0 < kind < 6 else 0
        status = status if status in (1, 2) else 0
        flags = kind | status << 3 | (parent != NO_SPAN) << 5 | min(links, 2) << 6 | linked << 8 | exception << 10
        if ours:
            self.shapes.append(hash((token, flags, name, *parts)))
        else:
            self.shapes.append(hash((token, flags, name if kind > 3 else b"", 0, *identities)))

    def _attributes(self, number: int, attributes: Any) -> tuple[bool, int, list[bytes | int], list[bytes]]:
        """Whether they are odd, whether any is of messages, their part of the shape, and the identities' names."""
        seen = self.seen
        odd = False
        ours = 0
        parts: list[bytes | int] = []
        keys: list[bytes] = []
        identities: list[bytes] = []
        for attribute in attributes:
            found = seen.get(attribute, _ODD_ATTRIBUTE)
            if found is None:
                continue
            if found is _ODD_ATTRIBUTE:
                found = self._attribute(attribute)
                if found is None:
                    continue
            code, key, at = found
            if code & ODD:
                odd = True
                continue
            keys.append(key)
            ours |= code & OURS
            if code & VALUE:
                parts.append(attribute)
            else:
                parts.append(key)
                if code & TEXT:
                    parts.append(_text(attribute, at))
                elif code & NUMBER:
                    parts.append(_number(attribute, at))
            if code & IDENTITY:
                identities.append(key)
                odd |= self._identity(number, code >> 8, attribute, at, 0)
        return odd or len(keys) != len(set(keys)), ours, parts, identities

    def _attribute(self, sent: bytes) -> Known | None:
        """An attribute's code, None when nobody looks at it; odd unless it is of the usual form."""
        at = _usual(sent)
        if not at:
            return _ODD_ATTRIBUTE
        key = sent[2 : 2 + sent[1]]
        code = self.names.codes.get(key)
        if code is None:
            code = self.names.code(key)
        found = (code, key, at) if code else None
        if len(sent) <= LONGEST_ATTRIBUTE and not code & (TEXT | NUMBER | IDENTITY | ODD):
            if len(self.seen) >= MOST_ATTRIBUTES:
                self.seen.clear()
            self.seen[sent] = found
        return found

    def _identity(self, span: int, name: int, attribute: bytes, at: int, link: int) -> bool:
        """Write down where the text of an identity lies. True when it is not that simple."""
        to = len(attribute)
        if at == to or attribute[at] != STRING:
            return True
        size, at = varint(attribute, at + 1)
        if at + size != to or not size or b"\0" in attribute[at:]:
            return True
        if not (0x20 < attribute[at] < 0x7F and 0x20 < attribute[-1] < 0x7F and size <= LONGEST_TEXT):
            text = attribute[at:].decode()
            if len(text) > LONGEST_TEXT or text != text.strip():
                return True
        place = self.places[span]
        place = self.body.find(attribute, place, place + self.lengths[span])
        self.idents += (span, name, place + at, size, link)
        return False

    def _link(self, span: int, link: bytes) -> tuple[int, bool]:
        """Write a link down. Which identities it has, as bits, and whether only whole reading can judge it."""
        trace_id = span_id = b""
        said = 0
        odd = False
        row, before = len(self.link_spans) + 1, len(self.idents)
        for tag, at, to in fields(link, 0, len(link)):
            if tag == 0x0A:
                trace_id = link[at:to]
            elif tag == 0x12:
                span_id = link[at:to]
            elif tag == 0x22:
                attribute = link[at:to]
                if not (value := _usual(attribute)):
                    odd = True
                elif (index := self.names.link_identities.get(attribute[2 : 2 + attribute[1]])) is not None:
                    odd |= bool(said & 1 << index) or self._identity(span, index, attribute, value, row)
                    said |= 1 << index
        if len(trace_id) != 16 or len(span_id) != 8 or trace_id == NO_TRACE or span_id == NO_SPAN:
            del self.idents[before:]
            return said, True
        self.link_spans.append(span)
        self.link_ids[0].append(trace_id)
        self.link_ids[1].append(span_id)
        return said, odd

    def columns(self) -> SpanColumns:
        """What was found."""
        count = len(self.places)
        return SpanColumns(
            count=count,
            trace_ids=b"".join(self.ids[0]),
            span_ids=b"".join(self.ids[1]),
            parent_ids=b"".join(self.ids[2]),
            start_ns=struct.pack(f"<{count}Q", *self.starts),
            end_ns=struct.pack(f"<{count}Q", *self.ends),
            errors=bytes(self.errors),
            shapes=struct.pack(f"<{count}q", *self.shapes),
            odd=bytes(self.odd),
            offsets=_u32(self.places),
            lengths=_u32(self.lengths),
            scopes=_u32(self.scopes),
            scope_ranges=tuple(self.scope_ranges),
            link_spans=_u32(self.link_spans),
            link_trace_ids=b"".join(self.link_ids[0]),
            link_span_ids=b"".join(self.link_ids[1]),
            ident_spans=_u32(self.idents[0::5]),
            ident_names=_u32(self.idents[1::5]),
            ident_offsets=_u32(self.idents[2::5]),
            ident_lengths=_u32(self.idents[3::5]),
            ident_links=_u32(self.idents[4::5]),
        )


def varint(s: bytes, i: int) -> tuple[int, int]:
    """The number at `i`, and where it ends."""
    value = s[i]
    i += 1
    if value < 128:
        return value, i
    value &= 127
    shift = 7
    while True:
        byte = s[i]
        i += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, i
        shift += 7


def fields(s: bytes, i: int, end: int) -> Iterator[tuple[int, int, int]]:
    """A sound message's fields: tag, and where the value lies."""
    while i < end:
        tag, i = varint(s, i)
        to = _end(s, i, tag)
        if tag & 7 == 2:
            _, i = varint(s, i)
        yield tag, i, to
        i = to


def _end(s: bytes, i: int, tag: int) -> int:
    """Where the value of a field ends that begins at `i`."""
    wire = tag & 7
    if wire == 2:
        size, i = varint(s, i)
        return i + size
    if wire == 0:
        return varint(s, i)[1]
    if wire == 3:  # a group, which nobody has sent for fifteen years, ends where its own end tag stands
        while True:
            inner, i = varint(s, i)
            if inner & 7 == 4:
                return i
            i = _end(s, i, inner)
    return i + (8 if wire == 1 else 4)


def _only(s: bytes, start: int, end: int) -> tuple[int, int]:
    """Offset and length of a message's first field, which may be there once."""
    found = [(at, to - at) for tag, at, to in fields(s, start, end) if tag == 0x0A]
    if len(found) > 1:
        raise UnscannableError("a resource or scope in several parts")
    return found[0] if found else (0, 0)


def _status(sent: bytes, code: int) -> int:
    for tag, at, _ in fields(sent, 0, len(sent)):
        if tag == 0x18:
            code = varint(sent, at)[0] & 0xFFFFFFFF
    return code


def _event(sent: bytes) -> tuple[bool, bool]:
    """Whether an event is an exception, and whether only whole reading can judge it."""
    name = b""
    odd = False
    for tag, at, to in fields(sent, 0, len(sent)):
        if tag == 0x12:
            name = sent[at:to]
        elif tag == 0x09:
            odd = int.from_bytes(sent[at:to], "little") > LAST_NS
    exception = name == b"exception"
    return exception, odd or (exception and NOT_DUE in sent)


def _usual(sent: bytes) -> int:
    """Where the value of an attribute begins; 0 unless it is a key of at most 127 bytes and a value, once each."""
    size = len(sent)
    if size < 4 or sent[0] != 0x0A:
        return 0
    at = 2 + sent[1]
    if at > 129 or at + 1 >= size or sent[at] != 0x12:
        return 0
    length, at = varint(sent, at + 1)
    return at if length == size - at else 0


def _text(attribute: bytes, at: int) -> bytes | int:
    """1 for what certainly is text, 2 for a whole number, and the value itself for all else."""
    to = len(attribute)
    if at < to:
        if attribute[at] == STRING:
            size, begin = varint(attribute, at + 1)
            if size and begin + size == to and 0x20 < attribute[begin] < 0x7F:
                return 1
        elif attribute[at] == INTEGER and _positive(attribute, at + 1):
            return 2
    return attribute[at:]


def _number(attribute: bytes, at: int) -> bytes | int:
    """2 for a number from 1 on, and the value itself for all else."""
    if at < len(attribute) and attribute[at] == INTEGER and _positive(attribute, at + 1):
        return 2
    return attribute[at:]


def _positive(s: bytes, at: int) -> bool:
    """One number above zero without needless bytes, of at most 63 bits, and nothing behind it."""
    size = len(s) - at
    return 0 < size < 10 and 0 < s[-1] < 128 and (size == 1 or all(byte > 127 for byte in s[at:-1]))


def _u32(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)
