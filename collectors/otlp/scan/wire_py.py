"""An ExportTraceServiceRequest → columns, in plain Python: protobuf's own parser says whether the bytes are sound and
splits them; of a span, no more is looked at than a judgement needs.

Does the same as `_wire.pyx` and `many_py`; a change here is one there. Raises UnscannableError and nothing else.
"""

from array import array
from collections.abc import Sequence
from itertools import chain, compress
from operator import attrgetter, eq, itemgetter, lt
from typing import Any

from google.protobuf.message import DecodeError

from collectors.otlp.parse import LAST_NS
from collectors.otlp.scan.attributes_py import LONGEST_VALUE, SEARCHED, Attributes, sound, usual
from collectors.otlp.scan.groups_py import Groups, groups
from collectors.otlp.scan.links_py import NO_SPAN, NO_TRACE, USUAL_LINK, event, link
from collectors.otlp.scan.names import Names, UnscannableError
from collectors.otlp.scan.raw import RawRequest
from collectors.otlp.scan.seen_py import Key, Seen, judged
from eventflow.domain.columns import SpanColumns

FIXED = attrgetter("trace_id", "span_id", "parent", "start", "end")
JUDGED = attrgetter("name", "kind", "status.code")
ATTRIBUTES, EVENTS, LINKS = (attrgetter(name) for name in ("attributes", "events", "links"))
ALL = itemgetter(slice(None))
"""A slice, because an iteration over protobuf's lists ends in an IndexError with a message, made and dropped."""


class PythonScanner:
    """Scans requests with what `names` knows."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.attributes = Attributes(names)
        self.seen: dict[Key, Seen] = {}

    def scan(self, body: bytes) -> SpanColumns:
        """The spans of `body` as columns."""
        if len(body) >= 2**31:
            raise UnscannableError("too long")
        try:
            request = RawRequest.FromString(body)
        except DecodeError as error:
            raise UnscannableError("no ExportTraceServiceRequest in protobuf") from error
        walk = _Walk(body, self.names, self.attributes, self.seen)
        spans = [group.spans for owner in request.resource_spans[:] for group in owner.scope_spans[:]]
        walk.groups(groups(body, self.names), spans)
        return walk.columns()


class _Walk:
    """One walk through one body, which is sound but for attributes, events and links."""

    def __init__(self, body: bytes, names: Names, attributes: Attributes, seen: dict[Key, Seen]) -> None:
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

    def groups(self, found: Groups, sent: Sequence[Any]) -> None:
        """All spans; `sent`: those of each scope, as protobuf's parser splits them."""
        self.places, self.lengths = found.places, found.lengths
        self.scopes, self.scope_ranges = found.scopes, found.ranges
        tokens = iter(found.tokens)
        first = 0
        for size, of_scope in zip(found.sizes, sent, strict=True):
            if size:
                spans = of_scope[:]
                self._fixed(spans, first)
                self._judged(spans, first, next(tokens))
                first += size

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
                seen = judged(key, self.seen)
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

    def _events_and_links(self, spans: Sequence[Any], first: int) -> list[int]:
        """What they add to each span's flags."""
        flags = [0] * len(spans)
        for number in compress(range(len(spans)), map(len, map(EVENTS, spans))):
            for sent in spans[number].events[:]:
                sound(0x5A, sent)
                happened, wrong = event(sent)
                flags[number] |= happened << 10
                self.odd[first + number] |= wrong
        for number in compress(range(len(spans)), map(len, map(LINKS, spans))):
            links = spans[number].links[:]
            flags[number] |= min(len(links), 2) << 6
            for sent in links:
                flags[number] |= self._link(first + number, sent) << 8
        return flags

    def _link(self, span: int, sent: bytes) -> int:
        """Write down what a link says; which identities it has."""
        if not USUAL_LINK(sent):
            sound(0x6A, sent)
        found = link(sent, self.names)
        self.odd[span] |= found.odd
        if found.identities:
            place = self.body.find(sent, self.places[span])
            for index, at, size in found.identities:
                self.idents += (span, index, place + at, size, len(self.link_spans) + 1)
        if found.ids is not None:
            self.link_spans.append(span)
            self.link_ids[0].append(found.ids[0])
            self.link_ids[1].append(found.ids[1])
        return found.said

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


def _u32(values: list[int]) -> bytes:
    return array("I", values).tobytes()
