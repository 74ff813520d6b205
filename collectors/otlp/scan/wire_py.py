"""An ExportTraceServiceRequest → columns, in plain Python: protobuf's own parser says whether the bytes are sound and
splits them; of a span, no more is looked at than a judgement needs.

Does the same as `_wire.pyx`; a change here is one there. Raises UnscannableError and nothing else.
"""

import struct
from collections.abc import Iterator, Sequence
from operator import eq, lt
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.conventions.roles import Role
from collectors.otlp.parse import LAST_NS
from collectors.otlp.scan.names import INDEX_SHIFT, MOST_KEYS, ODD, Names, UnscannableError
from collectors.otlp.scan.raw import RawScopeSpans
from eventflow.domain.columns import SpanColumns

OURS, TEXT, NUMBER, VALUE, IDENTITY, SEARCH = (
    int(role) for role in (Role.OURS, Role.TEXT, Role.NUMBER, Role.VALUE, Role.IDENTITY, Role.SEARCH)
)
NO_TRACE, NO_SPAN = bytes(16), bytes(8)
LONGEST_TEXT = 300
NOT_DUE = b"KafkaBackoffException"
"""What `failure.put_back` looks for in exceptions."""
STRING, INTEGER = 0x0A, 0x18
"""AnyValue's tags for text and for whole numbers."""
SEARCHED = b"\x0a\x10\x18\x21"
"""The tags of values that flows are found by: text, true or false, whole numbers, others."""
LONGEST_VALUE = 256
"""Bytes of such a value with its tag. Longer ones are texts to read, none to look for."""
MOST_ATTRIBUTES = 8192
LONGEST_ATTRIBUTE = 128
MOST_SEEN = 8192
MOST_IN_SPAN = 64
LONGEST_SPAN = 2048


Known = tuple[int, bytes, bytes, int]
"""An attribute that somebody looks at: its code, what of it the shape depends on, all of it, and where its text begins
if it is an identity; 0 when that is not plain text."""

_ODD: Known = (ODD, b"", b"", 0)


class _Attributes(dict[bytes, Known | None]):
    """Attribute, whole → what it is, None where nobody looks at it. Those that come often are found without Python."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.names = names
        self.heads: dict[bytes, tuple[int, bytes]] = {}
        """An attribute up to its key's end → the code and what says in the shape that it is there."""
        self.missed = 0

    def __missing__(self, sent: bytes) -> Known | None:
        size = len(sent)
        if size < 4:
            return _ODD
        at = sent[1] + 4
        head = self.heads.get(sent[: at - 2])
        # Key and value once each, both short: nine in ten.
        if head is None or at > size or sent[at - 2] != 0x12 or not sent[at - 1] == size - at < 128:
            if not (at := _usual(sent)):
                return _ODD
            head = self._head(sent)
        code, part = head
        if code & ODD:
            return _ODD
        if not code:
            found = None
        else:
            if code & VALUE:
                part = sent
            elif code & TEXT:
                part += _text(sent, at)
            elif code & NUMBER:
                part += _number(sent, at)
            found = code, part, sent, _plain_text(sent, at) if code & IDENTITY else 0
        # Most that miss are the only ones of their kind and not worth keeping. What comes again and again is soon kept.
        self.missed += 1
        if not self.missed & 7 and size <= LONGEST_ATTRIBUTE:
            if len(self) >= MOST_ATTRIBUTES:
                self.clear()
            self[sent] = found
        return found

    def _head(self, sent: bytes) -> tuple[int, bytes]:
        head = sent[: 2 + sent[1]]
        found = self.heads.get(head)
        if found is None:
            found = self.names.code(head[2:]), b"\1" + head[1:]
            if not found[0] & ODD:
                if len(self.heads) >= MOST_KEYS:
                    self.heads.clear()
                self.heads[head] = found
        return found


class _Seen(NamedTuple):
    """What spans with the same attributes, but for what no shape depends on, have in common."""

    shape: int
    named: bool
    """Whether the span's name is part of the shape."""
    odd: bool
    identities: tuple[int, ...]
    """Which of the attributes looked at are identities."""
    searched: tuple[int, ...]
    """Which of them flows are found by."""


class PythonScanner:
    """Scans requests with what `names` knows."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.attributes = _Attributes(names)
        self.seen: dict[tuple[int | bytes, ...], _Seen] = {}

    def scan(self, body: bytes) -> SpanColumns:
        """The spans of `body` as columns."""
        if len(body) >= 2**31:
            raise UnscannableError("too long")
        try:
            ExportTraceServiceRequest.FromString(body)
        except DecodeError as error:
            raise UnscannableError("no ExportTraceServiceRequest in protobuf") from error
        walk = _Walk(body, self.names, self.attributes, self.seen)
        for tag, start, end in fields(body, 0, len(body)):
            if tag == 0x0A:
                walk.resource_spans(start, end)
        return walk.columns()


class _Walk:
    """One walk through one sound body."""

    def __init__(
        self, body: bytes, names: Names, attributes: _Attributes, seen: dict[tuple[int | bytes, ...], _Seen]
    ) -> None:
        self.body = body
        self.names = names
        self.seen = seen
        self.attribute = attributes.__getitem__
        self.trace_ids: list[bytes] = []
        self.span_ids: list[bytes] = []
        self.parents: list[bytes] = []
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
        self.values: list[int] = []
        """Four: span, name, offset, length."""

    def resource_spans(self, start: int, end: int) -> None:
        """One service's spans."""
        body = self.body
        resource = _only(body, start, end)
        service = self.names.service(body[resource[0] : sum(resource)])
        for tag, at, to in fields(body, start, end):
            if tag == 0x12 and at < to:
                scope = _only(body, at, to)
                token = self.names.scope(service, body[scope[0] : sum(scope)])
                first = len(self.places)
                self._find_spans(at, to)
                if count := len(self.places) - first:
                    self.scopes.extend([len(self.scope_ranges)] * count)
                    self.scope_ranges.append((*resource, *scope))
                    spans = RawScopeSpans.FromString(body[at:to]).spans[:]
                    self._fixed(spans, first)
                    self._judged(spans, first, token)

    def _find_spans(self, i: int, end: int) -> None:
        s, places, lengths = self.body, self.places, self.lengths
        while i < end:
            if s[i] == 0x12:
                i += 1
                size = s[i]
                if size < 128:
                    i += 1
                elif s[i + 1] < 128:
                    size += (s[i + 1] - 1) << 7
                    i += 2
                else:
                    size, i = varint(s, i)
                places.append(i)
                lengths.append(size)
                i += size
            else:
                _, _, i = next(fields(s, i, end))

    def _fixed(self, spans: Sequence[Any], first: int) -> None:
        """The columns of ids and times, and what is odd or wrong about them, a column at a time."""
        trace_ids, span_ids = [span.trace_id for span in spans], [span.span_id for span in spans]
        starts, ends = [span.start for span in spans], [span.end for span in spans]
        if (
            {*map(len, trace_ids)} != {16}
            or {*map(len, span_ids)} != {8}
            or NO_TRACE in trace_ids
            or NO_SPAN in span_ids
            or not 0 < min(starts) <= max(starts) <= LAST_NS
            or max(ends) > LAST_NS
        ):
            raise UnscannableError("a span breaks a rule")
        parents = [span.parent or NO_SPAN for span in spans]
        self.odd += bytes(map(lt, ends, starts))
        if not {*map(len, parents)} <= {8}:
            for number, parent in enumerate(parents):
                if len(parent) != 8:
                    self.odd[first + number] |= any(parent)
                    parents[number] = NO_SPAN
        if any(map(eq, parents, span_ids)):
            for number, (parent, span_id) in enumerate(zip(parents, span_ids, strict=True)):
                self.odd[first + number] |= parent == span_id
        self.trace_ids += trace_ids
        self.span_ids += span_ids
        self.parents += parents
        self.starts += starts
        self.ends += ends

    def _judged(self, spans: Sequence[Any], first: int, token: int) -> None:  # noqa: PLR0912  # calls cost too much here
        """What judgements depend on: shapes, errors, links and identities."""
        lookup, known, odd, shapes, parents = self.attribute, self.seen.get, self.odd, self.shapes, self.parents
        find, places, lengths, idents = self.body.find, self.places, self.lengths, self.idents
        for number, span in enumerate(spans, first):
            # Slices, because an iteration over protobuf's lists ends in an IndexError with a message, made and dropped.
            kind, status, events, links, linked = span.kind, 0, False, 0, 0
            if sent := span.status:
                for part in sent[:]:
                    status = _status(part, status)
            if sent := span.events:
                for event in sent[:]:
                    happened, wrong = _event(event)
                    events |= happened
                    odd[number] |= wrong
            if sent := span.links:
                for link in sent[:]:
                    said, wrong = self._link(number, link)
                    links += 1
                    linked |= said
                    odd[number] |= wrong
            self.errors.append(status == 2)
            if not 0 < kind < 6:
                kind = 0
            if not 0 < status < 3:
                status = 0
            above = parents[number] != NO_SPAN
            flags = kind | status << 3 | above << 5 | (links if links < 2 else 2) << 6 | linked << 8 | events << 10
            found = [*filter(None, map(lookup, span.attributes[:]))]
            key = (token, flags, *[one[1] for one in found])
            seen = known(key)
            if seen is None:
                seen = self._first(key, kind > 3, found)
            shapes.append(hash((seen.shape, span.name)) if seen.named else seen.shape)
            if seen.odd:
                odd[number] = 1
            for index in seen.identities:
                code, _, attribute, at = found[index]
                if at:
                    place = places[number]
                    place = find(attribute, place, place + lengths[number]) + at
                    idents += (number, code >> INDEX_SHIFT, place, len(attribute) - at, 0)
                else:
                    odd[number] = 1
            for index in seen.searched:
                self._value(number, *found[index])

    def _value(self, number: int, code: int, _: bytes, attribute: bytes, __: int) -> None:
        """Write down where the value of a searched key lies."""
        at = _usual(attribute)
        size = len(attribute) - at
        if at and 0 < size <= LONGEST_VALUE and attribute[at] in SEARCHED:
            place = self.places[number]
            place = self.body.find(attribute, place, place + self.lengths[number]) + at
            self.values += (number, code >> INDEX_SHIFT, place, size)

    def _first(self, key: tuple[int | bytes, ...], named: bool, found: list[Known]) -> _Seen:
        """What is to be known of spans like this one; `named`: its kind alone makes its name part of the shape."""
        codes = 0
        for one in found:
            codes |= one[0]
        heads = {one[2][: 2 + one[2][1]] if one[2] else b"" for one in found}
        identities = tuple(index for index, one in enumerate(found) if one[0] & IDENTITY)
        if codes & OURS:
            shape, named = hash(key), True
        else:
            shape = hash((key[0], key[1], 0, *[found[index][2][: 2 + found[index][2][1]] for index in identities]))
        searched = tuple(index for index, one in enumerate(found) if one[0] & SEARCH) if codes & SEARCH else ()
        seen = _Seen(shape, named, bool(codes & ODD) or len(heads) != len(found), identities, searched)
        if len(found) <= MOST_IN_SPAN and sum(len(one[1]) for one in found) <= LONGEST_SPAN:
            if len(self.seen) >= MOST_SEEN:
                self.seen.clear()
            self.seen[key] = seen
        return seen

    def _link(self, span: int, link: bytes) -> tuple[int, bool]:
        """Write a link down. Which identities it has, as bits, and whether only whole reading can judge it."""
        said, odd, before = 0, False, len(self.idents)
        trace_id, span_id = link[2:18], link[20:28]
        # Two ids and perhaps flags: nearly all.
        if not (
            len(link) in (28, 33)
            and link[:2] == b"\x0a\x10"
            and link[18:20] == b"\x12\x08"
            and link[28:29] in (b"", b"\x35")
        ):
            trace_id = span_id = b""
            for tag, at, to in fields(link, 0, len(link)):
                if tag == 0x0A:
                    trace_id = link[at:to]
                elif tag == 0x12:
                    span_id = link[at:to]
                elif tag == 0x22:
                    name, wrong = self._link_identity(span, link[at:to])
                    odd |= wrong or bool(said & name)
                    said |= name
        if len(trace_id) != 16 or len(span_id) != 8 or trace_id == NO_TRACE or span_id == NO_SPAN:
            del self.idents[before:]
            return said, True
        self.link_spans.append(span)
        self.link_ids[0].append(trace_id)
        self.link_ids[1].append(span_id)
        return said, odd

    def _link_identity(self, span: int, attribute: bytes) -> tuple[int, bool]:
        """Write down an identity of the link being read: as a bit, 0 for any other attribute; and whether it is odd."""
        at = _usual(attribute)
        if not at:
            return 0, True
        index = self.names.link_identities.get(attribute[2 : 2 + attribute[1]])
        if index is None:
            return 0, False
        at = _plain_text(attribute, at)
        if not at:
            return 1 << index, True
        place = self.places[span]
        place = self.body.find(attribute, place, place + self.lengths[span]) + at
        self.idents += (span, index, place, len(attribute) - at, len(self.link_spans) + 1)
        return 1 << index, False

    def columns(self) -> SpanColumns:
        """What was found."""
        count = len(self.places)
        return SpanColumns(
            count=count,
            trace_ids=b"".join(self.trace_ids),
            span_ids=b"".join(self.span_ids),
            parent_ids=b"".join(self.parents),
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
            value_spans=_u32(self.values[0::4]),
            value_names=_u32(self.values[1::4]),
            value_offsets=_u32(self.values[2::4]),
            value_lengths=_u32(self.values[3::4]),
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


def _plain_text(attribute: bytes, at: int) -> int:
    """Where the text of an identity begins, whose value begins at `at`; 0 unless it names something as it is."""
    to = len(attribute)
    if at == to or attribute[at] != STRING:
        return 0
    size, at = varint(attribute, at + 1)
    if at + size != to or not size:
        return 0
    text = attribute[at:]
    if b"\0" in text:
        return 0
    if 0x20 < text[0] < 0x7F and 0x20 < text[-1] < 0x7F and size <= LONGEST_TEXT:
        return at
    found = text.decode()
    return at if len(found) <= LONGEST_TEXT and found == found.strip() else 0


def _text(attribute: bytes, at: int) -> bytes:
    """One byte for what certainly is text, another for a whole number, and the value itself for all else."""
    to = len(attribute)
    if at < to:
        if attribute[at] == STRING:
            size, begin = varint(attribute, at + 1)
            if size and begin + size == to and 0x20 < attribute[begin] < 0x7F:
                return b"\1"
        elif attribute[at] == INTEGER and _positive(attribute, at + 1):
            return b"\2"
    return b"\3" + attribute[at:]


def _number(attribute: bytes, at: int) -> bytes:
    """One byte for a number from 1 on, and the value itself for all else."""
    if at < len(attribute) and attribute[at] == INTEGER and _positive(attribute, at + 1):
        return b"\2"
    return b"\3" + attribute[at:]


def _positive(s: bytes, at: int) -> bool:
    """One number above zero without needless bytes, of at most 63 bits, and nothing behind it."""
    size = len(s) - at
    return 0 < size < 10 and 0 < s[-1] < 128 and (size == 1 or min(s[at:-1]) > 127)


def _u32(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)
