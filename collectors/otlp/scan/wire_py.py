"""An ExportTraceServiceRequest → columns, in plain Python: protobuf's own parser says whether the bytes are sound and
splits them; of a span, no more is looked at than a judgement needs.

Does the same as `_wire.pyx`; a change here is one there. Raises UnscannableError and nothing else.
"""

import re
from array import array
from collections.abc import Sequence
from itertools import chain, compress
from operator import attrgetter, eq, itemgetter, lt
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from collectors.conventions.roles import Role
from collectors.otlp.parse import LAST_NS
from collectors.otlp.scan.attributes_py import Attributes, Known, plain_text, sound, usual
from collectors.otlp.scan.fields_py import fields, varint
from collectors.otlp.scan.names import INDEX_SHIFT, ODD, Names, UnscannableError
from collectors.otlp.scan.raw import RawRequest
from eventflow.domain.columns import SpanColumns

OURS, IDENTITY, SEARCH = int(Role.OURS), int(Role.IDENTITY), int(Role.SEARCH)
NO_TRACE, NO_SPAN = bytes(16), bytes(8)
NOT_DUE = b"KafkaBackoffException"
"""What `failure.put_back` looks for in exceptions."""
SEARCHED = b"\x0a\x10\x18\x21"
"""The tags of values that flows are found by: text, true or false, whole numbers, others."""
LONGEST_VALUE = 256
"""Bytes of such a value with its tag. Longer ones are texts to read, none to look for."""
MOST_SEEN = 8192
MOST_IN_SPAN = 64
LONGEST_SPAN = 2048
FIXED = attrgetter("trace_id", "span_id", "parent", "start", "end")
JUDGED = attrgetter("name", "kind", "status.code")
ATTRIBUTES, EVENTS, LINKS = (attrgetter(name) for name in ("attributes", "events", "links"))
ALL = itemgetter(slice(None))
"""A slice, because an iteration over protobuf's lists ends in an IndexError with a message, made and dropped."""
USUAL_LINK = re.compile(rb"\x0a\x10(.{16})\x12\x08(.{8})(?:\x35.{4})?", re.DOTALL).fullmatch
"""Two ids and perhaps flags: nearly all."""
Key = tuple[int | Known, ...]
_Place = tuple[int, int]


class _Seen(NamedTuple):
    """What spans with the same attributes, but for what no shape depends on, have in common."""

    shape: int
    named: bool
    """Whether the span's name is part of the shape."""
    odd: bool
    identities: tuple[tuple[int, int, int], ...]
    """Of each: its place among the attributes, the index of its name, and where its text begins."""
    searched: tuple[tuple[int, int], ...]
    """Of those that flows are found by: place and index of the name."""


class PythonScanner:
    """Scans requests with what `names` knows."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.attributes = Attributes(names)
        self.seen: dict[Key, _Seen] = {}

    def scan(self, body: bytes) -> SpanColumns:
        """The spans of `body` as columns."""
        if len(body) >= 2**31:
            raise UnscannableError("too long")
        try:
            request = RawRequest.FromString(body)
        except DecodeError as error:
            raise UnscannableError("no ExportTraceServiceRequest in protobuf") from error
        walk = _Walk(body, self.names, self.attributes, self.seen)
        groups = iter(request.resource_spans[:])
        for tag, start, end in fields(body, 0, len(body)):
            if tag == 0x0A:
                walk.resource_spans(start, end, next(groups))
        return walk.columns()


class _Walk:
    """One walk through one body, which is sound but for attributes, events and links."""

    def __init__(self, body: bytes, names: Names, attributes: Attributes, seen: dict[Key, _Seen]) -> None:
        self.body = body
        self.names = names
        self.seen = seen
        self.attributes = attributes
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
        self.scope_ranges: list[tuple[int, ...]] = []
        self.link_spans: list[int] = []
        self.link_ids: tuple[list[bytes], list[bytes]] = ([], [])
        self.idents: list[int] = []
        """Five numbers a row: span, name, offset, length, link."""
        self.values: list[int] = []
        """Four: span, name, offset, length."""

    def resource_spans(self, start: int, end: int, sent: Any) -> None:
        """One service's spans; `sent`: as protobuf's parser splits them."""
        body = self.body
        resource, url, begins, sizes = _parts(body, start, end)
        service = self.names.service(body[resource[0] : sum(resource)])
        for group, at, size in zip(sent.scope_spans[:], begins, sizes, strict=True):
            scope, scope_url, places, lengths = _parts(body, at, at + size)
            if places:
                token = self.names.scope(service, body[scope[0] : sum(scope)])
                self.scopes.extend([len(self.scope_ranges)] * len(places))
                self.scope_ranges.append((*resource, *scope, *url, *scope_url))
                first = len(self.places)
                self.places += places
                self.lengths += lengths
                spans = group.spans[:]
                self._fixed(spans, first)
                self._judged(spans, first, token)

    def _fixed(self, spans: Sequence[Any], first: int) -> None:
        """The columns of ids and times, and what is odd or wrong about them, a column at a time."""
        trace_ids, span_ids, above, starts, ends = zip(*map(FIXED, spans), strict=True)
        if (
            {*map(len, trace_ids)} != {16}
            or {*map(len, span_ids)} != {8}
            or NO_TRACE in trace_ids
            or NO_SPAN in span_ids
            or not 0 < min(starts) <= max(starts) <= LAST_NS
            or max(ends) > LAST_NS
        ):
            raise UnscannableError("a span breaks a rule")
        parents = [parent or NO_SPAN for parent in above]
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

    def _judged(self, spans: Sequence[Any], first: int, token: int) -> None:
        """What judgements depend on: shapes, errors, links and identities."""
        known, odd, shapes = self.seen.get, self.odd, self.shapes
        find, places, idents = self.body.find, self.places, self.idents
        names, kinds, statuses = zip(*map(JUDGED, spans), strict=True)
        self.errors += bytes(map((2).__eq__, statuses))
        more = self._events_and_links(spans, first)
        all_flags = [
            (kind if 0 < kind < 6 else 0) | (status if 0 < status < 3 else 0) << 3 | (parent != NO_SPAN) << 5 | other
            for kind, status, parent, other in zip(kinds, statuses, self.parents[first:], more, strict=True)
        ]
        attributes = [*map(ALL, map(ATTRIBUTES, spans))]
        told = self.attributes.told([*chain.from_iterable(attributes)])
        to = 0
        for number, (sent, flags, name) in enumerate(zip(attributes, all_flags, names, strict=True), first):
            begin, to = to, to + len(sent)
            key = (token, flags, *told[begin:to])
            seen = known(key)
            if seen is None:
                seen = self._first(key, [*filter(None, key[2:])])
            shapes.append(hash((seen.shape, name)) if seen.named else seen.shape)
            if seen.odd:
                odd[number] = 1
            for index, identity, at in seen.identities:
                attribute = sent[index]
                idents += (number, identity, find(attribute, places[number]) + at, len(attribute) - at, 0)
            for index, key_index in seen.searched:
                self._value(number, key_index, sent[index])

    def _value(self, number: int, name: int, attribute: bytes) -> None:
        """Write down where the value of a searched key lies."""
        at = usual(attribute)
        size = len(attribute) - at
        if at and 0 < size <= LONGEST_VALUE and attribute[at] in SEARCHED:
            self.values += (number, name, self.body.find(attribute, self.places[number]) + at, size)

    def _first(self, key: tuple[Any, ...], found: list[Any]) -> _Seen:
        """What is to be known of spans like this one."""
        token, flags = key[:2]
        codes = 0
        for one in found:
            codes |= one.code
        identities = [one for one in found if one.code & IDENTITY]
        odd = (
            bool(codes & ODD) or len({one.key for one in found}) != len(found) or not all(one.at for one in identities)
        )
        if codes & OURS:
            shape, named = hash((token, flags, *(one.part for one in found))), True
        else:
            # Its kind alone may make its name part of the shape.
            shape, named = hash((token, flags, 0, *(one.key for one in identities))), flags & 7 > 3
        places = [(index, one) for index, one in enumerate(key[2:]) if isinstance(one, Known)]
        rows = tuple(
            (index, one.code >> INDEX_SHIFT, one.at) for index, one in places if one.code & IDENTITY and one.at
        )
        searched = tuple((index, one.code >> INDEX_SHIFT) for index, one in places if one.code & SEARCH)
        seen = _Seen(shape, named, odd, rows, searched)
        if len(key) <= MOST_IN_SPAN and sum(len(one.part) for one in found) <= LONGEST_SPAN:
            if len(self.seen) >= MOST_SEEN:
                self.seen.clear()
            self.seen[key] = seen
        return seen

    def _events_and_links(self, spans: Sequence[Any], first: int) -> list[int]:
        """What they add to each span's flags."""
        flags = [0] * len(spans)
        for number in compress(range(len(spans)), map(len, map(EVENTS, spans))):
            for event in spans[number].events[:]:
                sound(0x5A, event)
                happened, wrong = _event(event)
                flags[number] |= happened << 10
                self.odd[first + number] |= wrong
        for number in compress(range(len(spans)), map(len, map(LINKS, spans))):
            links = spans[number].links[:]
            flags[number] |= min(len(links), 2) << 6
            for link in links:
                usual = USUAL_LINK(link)
                ids = usual.groups() if usual else self._unusual_link(number, link, flags, first)
                if ids is None or ids[0] == NO_TRACE or ids[1] == NO_SPAN:
                    self.odd[first + number] = 1
                else:
                    self.link_spans.append(first + number)
                    self.link_ids[0].append(ids[0])
                    self.link_ids[1].append(ids[1])
        return flags

    def _unusual_link(self, number: int, link: bytes, flags: list[int], first: int) -> tuple[bytes, bytes] | None:
        """A link's ids, None if they are none; its identities are written down where `flags` and columns have them."""
        sound(0x6A, link)
        said, before = 0, len(self.idents)
        trace_id = span_id = b""
        for tag, at, to in fields(link, 0, len(link)):
            if tag == 0x0A:
                trace_id = link[at:to]
            elif tag == 0x12:
                span_id = link[at:to]
            elif tag == 0x22:
                name, wrong = self._link_identity(first + number, link[at:to])
                self.odd[first + number] |= wrong or bool(said & name)
                said |= name
        flags[number] |= said << 8
        if len(trace_id) == 16 and len(span_id) == 8 and trace_id != NO_TRACE and span_id != NO_SPAN:
            return trace_id, span_id
        del self.idents[before:]
        return None

    def _link_identity(self, span: int, attribute: bytes) -> tuple[int, bool]:
        """Write down an identity of the link being read: as a bit, 0 for any other attribute; and whether it is odd."""
        at = usual(attribute)
        if not at:
            return 0, True
        index = self.names.link_identities.get(attribute[2 : 2 + attribute[1]])
        if index is None:
            return 0, False
        at = plain_text(attribute, at)
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
            start_ns=array("Q", self.starts).tobytes(),
            end_ns=array("Q", self.ends).tobytes(),
            errors=bytes(self.errors),
            shapes=array("q", self.shapes).tobytes(),
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


def _parts(s: bytes, i: int, end: int) -> tuple[_Place, _Place, list[int], list[int]]:
    """Offset and length of a resource's or scope's description, which may be there once, and of its schema URL; then
    where all begins that is grouped under it, and the lengths."""
    first = url = (0, 0)
    begins: list[int] = []
    lengths: list[int] = []
    while i < end:
        if s[i] == 0x12:
            size = s[i + 1]
            i += 2
            if size > 127:
                if s[i] < 128:
                    size += (s[i] - 1) << 7
                    i += 1
                else:
                    size, i = varint(s, i - 1)
            begins.append(i)
            lengths.append(size)
            i += size
            continue
        tag, at, i = next(fields(s, i, end))
        if tag == 0x12:  # written with more bytes than it needs
            begins.append(at)
            lengths.append(i - at)
        elif tag == 0x0A:
            if first[0]:
                raise UnscannableError("a resource or scope in several parts")
            first = at, i - at
        elif tag == 0x1A:
            url = at, i - at
    return first, url, begins, lengths


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


def _u32(values: list[int]) -> bytes:
    return array("I", values).tobytes()
