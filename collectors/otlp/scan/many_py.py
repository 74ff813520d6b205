"""An ExportTraceServiceRequest with many spans → columns, without native code: numpy looks at all spans at once.

Does what `wire_py` does, several times as fast, for what spans usually are; all else it leaves to that. Protobuf's own
parser says first whether the bytes are sound. Raises UnscannableError and nothing else.
"""

from collections import defaultdict

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.otlp.parse import LAST_NS
from collectors.otlp.scan.classes_py import Numbers, classes, pairs, searched, texts
from collectors.otlp.scan.groups_py import Groups, groups
from collectors.otlp.scan.links_py import event, link
from collectors.otlp.scan.names import Names, UnscannableError
from collectors.otlp.scan.shapes_py import Sent, Shapes, Told
from collectors.otlp.scan.table_py import U64, Array, Ints, Octets, Table, UnusualError, table
from collectors.otlp.scan.wire_py import PythonScanner
from eventflow.domain.columns import SpanColumns

FEWEST_BYTES, FEWEST_SPANS = 96 * 1024, 200
"""From so many on it is faster than span by span."""
PORTION = 2048
"""Spans looked at together: what is known of them fits the processor's caches."""
ATTRIBUTE, EVENT, LINK = 0x4A, 0x5A, 0x6A
TRACE_ID, SPAN_ID, PARENT, NAME, KIND, START, END, STATUS = range(8)
"""Rows of `Table.alone`."""
NUMBERS = "link_spans", "ident_", "value_"
"""How the names of columns begin that hold indexes, offsets and lengths."""
Columns = defaultdict[str, list[Array]]


class Scanner:
    """Scans requests with what `names` knows."""

    def __init__(self, names: Names, fewest_bytes: int = FEWEST_BYTES, fewest_spans: int = FEWEST_SPANS) -> None:
        self.names = names
        self.fewest_bytes, self.fewest_spans = fewest_bytes, fewest_spans
        self.few = PythonScanner(names)
        self.shapes = Shapes(names, self.few.attributes, self.few.seen)
        self.numbers = Numbers()

    def scan(self, body: bytes) -> SpanColumns:
        """The spans of `body` as columns."""
        if not self.fewest_bytes <= len(body) < 2**31:
            return self.few.scan(body)
        try:
            ExportTraceServiceRequest.FromString(body)
        except DecodeError as error:
            raise UnscannableError("no ExportTraceServiceRequest in protobuf") from error
        found = groups(body, self.names)
        if len(found.places) >= self.fewest_spans:
            try:
                return self._many(body, found)
            except UnusualError:
                pass
        return self.few.scan(body)

    def _many(self, body: bytes, found: Groups) -> SpanColumns:
        octets, columns = Octets(body), Columns(list)
        places, lengths, scopes = np.array((found.places, found.lengths, found.scopes))
        tokens = np.array(found.tokens, np.uint64)
        if self.numbers.full():
            self.numbers = Numbers()
        numbers = self.numbers
        for first in range(0, len(places), PORTION):
            some = slice(first, first + PORTION)
            if not lengths[some].all():
                raise UnusualError
            spans = table(octets, places[some], lengths[some])
            portion = _Portion(octets, spans, first, columns)
            portion.fixed()
            portion.add_events()
            portion.add_links(self.names)
            portion.add_shapes(self.shapes, tokens[scopes[some]], numbers)
        return _columns(found, columns)


class _Portion:
    """Some spans of a request, from the `first` on; what is told of them goes into `columns`."""

    def __init__(self, octets: Octets, spans: Table, first: int, columns: Columns) -> None:
        self.octets, self.spans = octets, spans
        self.first = first
        self.made = columns
        count = spans.alone.shape[1]
        self.flags = np.zeros(count, np.int64)
        """All that a shape depends on besides attributes and name."""
        self.odd = np.zeros(count, bool)

    def add(self, **columns: Array) -> None:
        """Add to the columns of these names."""
        for name, column in columns.items():
            self.made[name].append(column)

    def fixed(self) -> None:
        """Ids, times, kind and status. What breaks a rule is left to those who say so."""
        one, eight, alone = self.octets.one, self.octets.eight, self.spans.alone
        trace_at, span_at, parent_at = alone[TRACE_ID], alone[SPAN_ID], alone[PARENT]
        trace_ids = np.stack((eight[trace_at + 2], eight[trace_at + 10]), axis=1)
        span_ids = eight[span_at + 2]
        parent_size = np.where(parent_at > 0, one.take(parent_at + 1), 0)
        parents = np.where(parent_size == 8, eight[parent_at + 2], 0)
        start, end = (np.where(at > 0, eight[at + 1], 0) for at in (alone[START], alone[END]))
        if not (
            alone[[TRACE_ID, SPAN_ID]].all()
            and (one.take(trace_at + 1) == 16).all()
            and (one.take(span_at + 1) == 8).all()
            and ((parent_size == 8) | (parent_size == 0)).all()
            and trace_ids.any(axis=1).all()
            and span_ids.all()
            and start.all()
            and max(start.max(), end.max()) <= LAST_NS
        ):
            raise UnusualError
        self.odd |= (end < start) | (parents == span_ids)
        kind = np.where(alone[KIND] > 0, one.take(alone[KIND] + 1), 0).astype(np.int64)
        status = self._status(alone[STATUS])
        self.flags |= np.where(kind < 6, kind, 0) | np.where(status < 3, status, 0) << 3 | (parents != 0) << 5
        self.add(trace_ids=trace_ids, span_ids=span_ids, parent_ids=parents, start_ns=start, end_ns=end)
        self.add(errors=(status == 2).astype(np.uint8))

    def _status(self, at: Ints) -> Ints:
        """The codes of statuses that have no more than a message and then a code."""
        found = np.zeros(len(at), np.int64)
        mine = np.flatnonzero(at)
        one, at = self.octets.one, at[mine]
        begin = self.octets.begins(at)
        to = begin + self.octets.sized(at + 1)
        told = (begin < to) & (one.take(begin) == 0x12)
        begin = np.where(told, self.octets.begins(begin) + self.octets.sized(begin + 1), begin)
        coded = (begin + 2 == to) & (one.take(begin) == 0x18) & (one.take(begin + 1) < 128)
        if not (coded | (begin == to)).all():
            raise UnusualError
        found[mine] = np.where(coded, one.take(begin + 1), 0)
        return found

    def add_events(self) -> None:
        """What exceptions add to flags; most spans have none."""
        _, spans, at, ends = self.spans.each(EVENT)
        for span, begin, to in zip(spans.tolist(), self.octets.begins(at).tolist(), ends.tolist(), strict=True):
            happened, wrong = event(self.octets.body[begin:to])
            self.flags[span] |= happened << 10
            self.odd[span] |= wrong

    def add_links(self, names: Names) -> None:
        """Where spans lead."""
        _, span, at, to = self.spans.each(LINK)
        at = self.octets.begins(at)
        one, eight = self.octets.one, self.octets.eight
        usual = (to - at == 28) | (to - at == 33) & (one.take(at + 28) == 0x35)
        for offset, byte in ((0, 0x0A), (1, 16), (18, 0x12), (19, 8)):
            usual &= one.take(at + offset) == byte
        ids = np.stack((eight[at + 2], eight[at + 10], eight[at + 20]), axis=1)
        self.flags |= np.minimum(np.bincount(span, minlength=len(self.flags)), 2) << 6
        said: list[tuple[int, int, int, int, int]] = []
        for number, whose, begin, end in zip(
            *(column[~usual].tolist() for column in (np.arange(len(at)), span, at, to)), strict=True
        ):
            found = link(self.octets.body[begin:end], names)
            ids[number] = np.frombuffer(b"".join(found.ids), "<u8") if found.ids else 0
            self.flags[whose] |= found.said << 8
            self.odd[whose] |= found.odd
            said += [(whose, index, begin + text, size, number) for index, text, size in found.identities]
        known = (ids[:, 0] | ids[:, 1] != 0) & (ids[:, 2] != 0)
        self.odd[span[~known]] = True
        before = sum(map(len, self.made["link_spans"]))
        self.add(link_spans=span[known] + self.first, link_trace_ids=ids[known, :2], link_span_ids=ids[known, 2])
        owner, index, text, size, row = np.array(said, np.int64).reshape(-1, 5).T
        self._add_identities(owner, index, text, size, before + np.cumsum(known)[row])

    def _add_identities(self, span: Ints, name: Ints, at: Ints, size: Ints, in_link: Ints) -> None:
        self.add(ident_spans=span + self.first, ident_names=name, ident_offsets=at, ident_lengths=size)
        self.add(ident_links=in_link)

    def add_shapes(self, shapes: Shapes, tokens: U64, numbers: Numbers) -> None:
        """What attributes say, and with it the shapes."""
        place, owner, at, to = self.spans.each(ATTRIBUTE)
        every = pairs(self.octets, at, to, numbers, shapes.names)
        seen = np.flatnonzero(every.code)
        looked, span = every.of(seen), owner[seen]
        text = texts(self.octets, looked)
        mine = np.flatnonzero(text)
        self._add_identities(span[mine], looked.name(mine), text[mine], looked.to[mine] - text[mine], 0 * mine)
        mine = np.flatnonzero(searched(self.octets, looked))
        at, to = looked.value[mine], looked.to[mine]
        self.add(value_spans=span[mine] + self.first, value_names=looked.name(mine))
        self.add(value_offsets=at, value_lengths=to - at)
        rows = np.zeros(len(self.flags) * self.spans.width, np.int64)
        rows[place[seen]] = classes(self.octets, looked, text, numbers)
        spans = Told(rows.reshape(len(self.flags), -1), self.flags, tokens)
        sent = Sent(self.octets, owner, every.begin, every.to)
        shape, odd = shapes.of(spans, sent, self.spans.alone[NAME], numbers)
        self.odd |= odd
        self.add(shapes=shape, odd=self.odd.astype(np.uint8))


def _columns(found: Groups, columns: Columns) -> SpanColumns:
    """Each column as bytes; those of `NUMBERS` hold four a number."""
    made = {
        name: b"".join([(one.astype("<u4") if name.startswith(NUMBERS) else one).tobytes() for one in parts])
        for name, parts in columns.items()
    }
    return SpanColumns(
        count=len(found.places),
        offsets=np.array(found.places, "<u4").tobytes(),
        lengths=np.array(found.lengths, "<u4").tobytes(),
        scopes=np.array(found.scopes, "<u4").tobytes(),
        scope_ranges=tuple(found.ranges),
        **made,
    )
