"""Recognises flows that are alike: the domain judges one flow of each pattern, the others get the same line.

Two flows have one pattern when everything the domain's judgement looks at is the same: the spans' meanings, how they
hang together, the order of all their times, who is expected to read, which failures are young. Flows with anything
beyond that (letters, replays, foreign traces, several keys) are none of these and are judged each by itself.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import assemble, summarise
from eventflow.domain.flow_build import RETRY_PATIENCE_NS
from eventflow.store.models import DeadLetter, ReplayItem
from eventflow.store.queries.flow_evidence import MEMORY_NS, Consumers
from eventflow.store.spans import arrays, form, ids, index
from eventflow.store.spans.columns import U64, Array, Flags, Ints, Portion, mixed, together
from eventflow.store.spans.handover import Part, parts_of
from eventflow.store.spans.keys import Keys, keys_of, read_whole
from eventflow.store.spans.lines import Line, Pattern, pattern_of
from eventflow.store.spans.load import is_trace, listed
from eventflow.store.spans.meaning import CONSUME, PUBLISH
from eventflow.store.spans.opened import opened

KNOWN_PATTERNS = 100_000
FEW_LETTERS = 5_000
"""With more dead letters than this, each flow asks for its own."""
MORE_CHUNKS = 400
"""Chunks that are read besides the new ones to have flows whole; flows spread wider are judged by themselves."""
_FAILED, _LIKE, _SIDE = 2, 8, 0


@dataclass(frozen=True, slots=True)
class Judged:
    """Lines of the flows that are alike to one already judged, and the traces of all the others.

    moved  traces of these flows that were here before: a line of their own, made when they had no key, is gone
    seen   the hashes of all traces that were looked at
    """

    rows: list[Line]
    others: set[str]
    moved: set[str]
    seen: U64


@dataclass(slots=True)
class _Window:
    """The rows of the new chunks and of those that their flows lie in besides.

    fresh  rows of the new ones
    grown  short hashes of keys and traces that have a line already
    """

    portion: Portion
    meaning: Ints
    keys: Keys
    fresh: Flags
    chunks: frozenset[int]
    grown: Ints
    texts: dict[int, str] = field(default_factory=dict)
    """Of keys whose hashes these are; more may be here than these."""


class Patterns:
    """The lines known so far, by pattern."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int], Pattern] = {}
        self._expected: dict[frozenset[tuple[str, frozenset[str]]], int] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def judge(self, new: Sequence[Part], chunks: frozenset[int], consumers: Consumers, now: datetime) -> Judged:
        """Lines for the flows of the new spans, which lie in these chunks."""
        window = _window(new, chunks)
        portion = window.portion
        if not few_letters():
            return Judged([], _hex(portion.trace_ids[window.fresh]), set(), portion.trace[:0])
        flow, keyed, texts = _flows(window)
        good = _alone(window, flow)
        chosen = np.flatnonzero(good & _once(window))
        others = _hex(portion.trace_ids[window.fresh & ~good])
        if not len(chosen):
            return Judged([], others, set(), portion.trace[:0])
        order = chosen[np.argsort(portion.start[chosen], kind="stable")]
        order = order[arrays.grouped(flow[order], int(flow.max()) + 1)]
        starts = np.flatnonzero(np.concatenate(([True], flow[order][1:] != flow[order][:-1])))
        begun = portion.start[order][starts]
        ended = np.maximum.reduceat(np.maximum(portion.start, portion.end)[order], starts)
        table = form.meanings().table()[window.meaning]
        hashes = _pattern_hashes(window, table, order, starts, nanoseconds(now))
        expected = self._expectations(begun, consumers)
        touched = np.logical_or.reduceat(window.fresh[order], starts)
        rows: list[Line] = []
        bounds = np.append(starts, len(order))
        for at in np.flatnonzero(touched).tolist():
            pattern = (int(hashes[at]), expected[at])
            key = texts[int(flow[order[starts[at]]])]
            line = self._lines.get(pattern)
            if line is None:
                line = self._learn(
                    pattern, key, window, order[bounds[at] : bounds[at + 1]], consumers=consumers, now=now
                )
            rows.append(Line(key, int(begun[at]), int(ended[at]) - int(begun[at]), line))
        seen_before = arrays.among(portion.trace, portion.trace[~window.fresh])[0] & good & (keyed != 0)
        return Judged(rows, others, _hex(portion.trace_ids[seen_before]), np.unique(portion.trace[good]))

    def _learn(
        self, pattern: tuple[int, int], key: str, window: _Window, rows: Ints, *, consumers: Consumers, now: datetime
    ) -> Pattern:
        spans = read_whole(window.portion, rows, form.form()).values()
        started = min(span.start_ns for span in spans)
        summary = summarise(assemble(key, spans, now=now, consumers=consumers.at(started)))
        if len(self._lines) >= KNOWN_PATTERNS:
            self._lines.clear()
        line = self._lines[pattern] = pattern_of(summary)
        return line

    def _expectations(self, begun: Ints, consumers: Consumers) -> list[int]:
        """For each flow's start, a number for the set of groups that it must reach."""
        bounds = sorted({x for _, _, first, last in consumers.rows for x in (first, last + MEMORY_NS + 1)})
        numbers: dict[int, int] = {}
        found = []
        for start in begun.tolist():
            interval = bisect_right(bounds, start)
            if interval not in numbers:
                groups = frozenset((name, frozenset(who)) for name, who in consumers.at(start).items())
                numbers[interval] = self._expected.setdefault(groups, len(self._expected))
            found.append(numbers[interval])
        return found


def _once(window: _Window) -> Flags:
    """Each span's row; of several the one that is new, if one is."""
    rows = np.concatenate((np.flatnonzero(window.fresh), np.flatnonzero(~window.fresh)))
    found = np.zeros(len(rows), bool)
    found[rows[arrays.distinct(window.portion.context[rows])[0]]] = True
    return found


def few_letters() -> bool:
    """Whether the dead letters are few enough to be compared with every flow."""
    return DeadLetter.objects.count() <= FEW_LETTERS


def _hex(trace_ids: U64) -> set[str]:
    raw = np.unique(np.ascontiguousarray(trace_ids).view("V16")).tobytes().hex()
    return {raw[at : at + 32] for at in range(0, len(raw), 32)}


def _window(new: Sequence[Part], chunks: frozenset[int]) -> _Window:
    """The new spans, with the older chunks in which the same flows lie."""
    most = len(chunks) + MORE_CHUNKS
    parts = list(new)
    window = _together(parts, chunks, np.zeros(0, np.int64))
    grown = window.grown = _grown(window)
    asked = np.zeros(0, np.int64)
    for _ in range(3 if len(grown) else 0):
        wanted = np.setdiff1d(_related(window), asked)
        asked = np.concatenate((asked, wanted))
        missing = set(index.lookup(wanted)[1].tolist()) - chunks
        if not missing or len(chunks) + len(missing) > most:
            break
        found = opened(missing)
        chunks |= found.keys()
        parts += parts_of(found.values(), fresh=False)
        window = replace(_together(parts, chunks, grown), texts=window.texts)
    return window


def _together(parts: Sequence[Part], chunks: frozenset[int], grown: Ints) -> _Window:
    portion = together([part.body for part in parts], [part.columns for part in parts])
    meanings = form.meanings()
    meaning = meanings.of(portion)
    odd = read_whole(portion, np.flatnonzero(portion.odd), form.form())
    fresh = np.concatenate([part.fresh for part in parts])
    return _Window(portion, meaning, keys_of(portion, meaning, meanings, odd), fresh, chunks, grown)


def _grown(window: _Window) -> Ints:
    """What is looked up of flows that are not new: the (short) hashes of keys and traces that have a line already."""
    portion, keys = window.portion, window.keys.key
    first, _ = arrays.distinct(keys.hash)
    hashes = keys.hash[first].tolist()
    window.texts = dict(zip(hashes, map(keys.text, first.tolist()), strict=True))
    names = dict(zip(window.texts.values(), hashes, strict=True))
    first, _ = arrays.distinct(portion.trace)
    raw = portion.trace_ids[first].tobytes().hex()
    hexes = (raw[at : at + 32] for at in range(0, len(raw), 32))
    names.update(zip(hexes, ids.of_traces(portion.trace[first]).tolist(), strict=True))
    known = listed(names)
    return np.unique(index.shortened(np.array([names[name] for name in known], np.uint64)))


def _related(window: _Window) -> Ints:
    """The hashes of what hangs together with grown flows: their keys, their traces, who links to these."""
    portion, keys = window.portion, window.keys.key
    named = np.zeros(len(portion), bool)
    named[keys.row[np.isin(index.shortened(keys.hash), window.grown)]] = True
    named |= np.isin(index.shortened(ids.of_traces(portion.trace)), window.grown)
    traces = np.unique(portion.trace[named])
    mine = np.isin(portion.trace, traces)[keys.row]
    hashes = np.concatenate((ids.of_traces(traces), ids.of_linked(traces), keys.hash[mine]))
    return np.unique(np.concatenate((window.grown, index.shortened(hashes))))


def _flows(window: _Window) -> tuple[Ints, U64, dict[int, str]]:
    """The number of each row's flow (negative: its trace has several), its trace's key if any, and the flows' keys."""
    portion, keys = window.portion, window.keys.key
    first, trace_of = arrays.distinct(portion.trace)
    traces = portion.trace[first]
    low = np.full(len(traces), np.iinfo(np.uint64).max, np.uint64)
    high = np.zeros(len(traces), np.uint64)
    np.minimum.at(low, trace_of[keys.row], keys.hash)
    np.maximum.at(high, trace_of[keys.row], keys.hash)
    named = np.where(high == 0, traces, high)
    _, flow_of_trace = arrays.distinct(named)
    flow: Ints = flow_of_trace[trace_of]
    texts: dict[int, str] = {}
    several: set[int] = set()
    numbers = flow[keys.row]
    first, _ = arrays.distinct(numbers.view(np.uint64))
    found = zip(numbers[first].tolist(), first.tolist(), keys.hash[first].tolist(), strict=True)
    for number, at, one in found:
        texts[number] = window.texts.get(one) or keys.text(at)
        # The trace with that id is of the same flow, wherever it is.
        several |= {number} if is_trace(texts[number]) else set()
    nameless = np.unique(flow[(high == 0)[trace_of]], return_index=True)
    rows = np.flatnonzero((high == 0)[trace_of])
    for number, at in zip(nameless[0].tolist(), nameless[1].tolist(), strict=True):
        texts.setdefault(number, portion.trace_ids[rows[at]].tobytes().hex())
    # Several keys in one trace: the flow of neither is this trace alone.
    unsure = ((low != high) & (high != 0))[trace_of] | np.isin(flow, np.array(sorted(several), np.int64))
    return np.where(unsure, -1 - flow, flow), high[trace_of], texts


def _alone(window: _Window, flow: Ints) -> Flags:
    """The rows of flows that stand by themselves: everything that decides about them is here and of the usual kind."""
    portion = window.portion
    bad = np.zeros(len(portion), bool)
    bad |= flow < 0
    bad |= portion.odd
    # Links out of the flow, and links into it from elsewhere, join flows or bring foreign publishers.
    into, at = arrays.among(portion.link_context, portion.context)
    source, target = flow[portion.link_row], np.where(into, flow[at], -1)
    crossing = (source != target) | (target < 0)
    bad[portion.link_row[crossing]] = True
    known_trace, where = arrays.among(portion.link_trace, portion.trace)
    bad[where[crossing & known_trace]] = True
    # A parent that is not here decides where a message came from.
    inside, _ = arrays.among(portion.parent, portion.context)
    table = form.meanings().table()[window.meaning]
    hop = table[:, _SIDE] != 0
    bad |= hop & (portion.parent != 0) & ~inside & ~_has_links(portion)
    bad |= _several_messages(window)
    bad |= _elsewhere(window)
    bad |= _with_letters(window)
    return ~arrays.among(flow.view(np.uint64), flow[bad].view(np.uint64))[0]


def _has_links(portion: Portion) -> Flags:
    found = np.zeros(len(portion), bool)
    found[portion.link_row] = True
    return found


def _several_messages(window: _Window) -> Flags:
    return np.bincount(window.keys.message.row, minlength=len(window.portion)) > 1


def _elsewhere(window: _Window) -> Flags:
    """Rows of grown flows whose trace or key lies in chunks that are not here, too."""
    portion, keys = window.portion, window.keys
    found = np.zeros(len(portion), bool)
    hashes = index.shortened(
        np.concatenate((ids.of_traces(portion.trace), ids.of_linked(portion.trace), keys.key.hash))
    )
    rows = np.concatenate((np.arange(len(portion)), np.arange(len(portion)), keys.key.row))
    grown = np.isin(hashes, window.grown)
    traces = arrays.among(portion.trace, portion.trace[rows[grown]])[0]
    asked = traces[rows]
    wanted = np.unique(hashes[asked])
    positions, chunks = index.lookup(wanted)
    away = wanted[positions[~np.isin(chunks, np.array(sorted(window.chunks)))]]
    found[rows[np.isin(hashes, away)]] = True
    return found


def _with_letters(window: _Window) -> Flags:
    """Rows of flows that dead letters or replays belong to."""
    portion, keys = window.portion, window.keys
    found = np.zeros(len(portion), bool)
    letters = list(DeadLetter.objects.values_list("correlation_id", "trace_id", "message_id"))
    if not letters:
        return found
    named = _hashes(ids.of_key(key.encode()) for key, _, _ in letters if key)
    messages = _hashes(ids.of_message(message.encode()) for _, _, message in letters if message)
    traces = {trace for _, trace, _ in letters if trace}
    traces.update(ReplayItem.objects.exclude(trace_id="").values_list("trace_id", flat=True))
    found[keys.key.row[arrays.among(keys.key.hash, named)[0]]] = True
    found[keys.message.row[arrays.among(keys.message.hash, messages)[0]]] = True
    here = np.array([raw.tobytes().hex() in traces for raw in portion.trace_ids]) if traces else found
    found |= here
    return found


def _hashes(values: Iterable[int]) -> U64:
    return np.array(list(values), np.uint64)


def _pattern_hashes(window: _Window, table: Ints, order: Ints, starts: Ints, now_ns: int) -> U64:
    """One hash per flow over everything its judgement looks at. `order`: rows by flow and start."""
    portion = window.portion
    lengths = np.diff(np.append(starts, len(order)))
    flow = np.repeat(np.arange(len(starts)), lengths)
    place = np.full(len(portion), -1, np.int64)
    place[order] = np.arange(len(order)) - starts[flow]
    young = (table[order, _FAILED] != 0) & (now_ns - portion.end[order] < RETRY_PATIENCE_NS)
    inside, parent = arrays.among(portion.parent[order], portion.context)
    parents = np.where(portion.parent[order] == 0, -1, np.where(inside, place[parent], -2))
    parts: Sequence[Array] = (
        table[order, _LIKE],
        parents,
        _ranks(flow, portion.trace[order].view(np.int64)),
        young,
        _ranks(flow, _messages(window)[order]),
        _links(portion, place)[order],
        *_time_ranks(
            flow, portion.start[order], np.where(_end_counts(portion, table, order, flow), portion.end[order], -1)
        ),
    )
    hashed = np.zeros(len(order), np.uint64)
    for salt, part in enumerate(parts):
        hashed = mixed(hashed ^ mixed(_bits(part), 100 + salt), salt)
    hashed = mixed(hashed ^ mixed(place[order].view(np.uint64), 7), 8)
    summed: U64 = np.add.reduceat(hashed, starts)
    return mixed(summed ^ lengths.astype(np.uint64), 9)


def _end_counts(portion: Portion, table: Ints, order: Ints, flow: Ints) -> Flags:
    """Where an end may decide: of publishes that failed; of all hops in flows with consumers to be joined by time."""
    side = table[:, _SIDE]
    published = portion.context[side == PUBLISH]
    by_link = np.zeros(len(portion), bool)
    by_link[portion.link_row[arrays.among(portion.link_context, published)[0]]] = True
    joined = by_link | arrays.among(portion.parent, published)[0]
    unjoined = np.bincount(flow, (side[order] == CONSUME) & ~joined[order]) > 0
    hop = side[order] != 0
    found: Flags = hop & (unjoined[flow] | ((side[order] == PUBLISH) & (table[order, _FAILED] != 0)))
    return found


def _bits(values: Array) -> U64:
    return values.astype(np.int64).view(np.uint64)


def _ranks(flow: Ints, values: Ints) -> Ints:
    """Which distinct value of its flow each row has, in the order of their first rows."""
    first, inverse = arrays.distinct(mixed(values.view(np.uint64) ^ mixed(flow.view(np.uint64), 10), 12))
    begins = np.searchsorted(flow, np.arange(flow[-1] + 1))
    found: Ints = first[inverse] - begins[flow]
    return found


def _messages(window: _Window) -> Ints:
    found = np.zeros(len(window.portion), np.int64)
    found[window.keys.message.row] = window.keys.message.hash.view(np.int64)
    return found


def _links(portion: Portion, place: Ints) -> Ints:
    """A hash of the places in the flow that each row links to."""
    inside, at = arrays.among(portion.link_context, portion.context)
    targets = np.where(inside, place[at], -1)
    found = np.zeros(len(portion), np.uint64)
    np.add.at(found, portion.link_row, mixed(targets.view(np.uint64), 5))
    return found.view(np.int64)


def _time_ranks(flow: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """The order of all starts and ends within each flow, equal times being equal; -1 where an end does not matter."""
    counts = ends >= 0
    flows = np.concatenate((flow, flow[counts]))
    times = np.concatenate((starts, ends[counts]))
    order = np.lexsort((times, flows))
    changes = np.ones(len(order), np.int64)
    changes[1:] = (flows[order][1:] != flows[order][:-1]) | (times[order][1:] != times[order][:-1])
    dense = np.empty(len(order), np.int64)
    dense[order] = np.cumsum(changes)
    first = np.full(flow[-1] + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, flows, dense)
    dense -= first[flows]
    of_end = np.full(len(starts), -1, np.int64)
    of_end[counts] = dense[len(starts) :]
    return dense[: len(starts)], of_end
