"""Reads stored spans in bulk by the ids they are found by. The number of queries never grows with the flows asked for.

Which flows a trace belongs to is worked out here, from the spans themselves: one with keys of its own belongs to those;
others belong where the traces they link to belong (or the dead letter whose replay they carry), else each is a flow.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from django.db.models import Q

from eventflow.domain.hop import Context
from eventflow.domain.observations import Span
from eventflow.store.models import DeadLetter, FlowRow, ReplayItem
from eventflow.store.spans import ids, index
from eventflow.store.spans.columns import U64, Ints, trace_hashes
from eventflow.store.spans.opened import Opened, opened
from eventflow.store.spans.rows import chunks as parts
from eventflow.store.spans.rows import select, select_any
from eventflow.store.spans.text import fit

KEYS_PER_TRACE = 500
"""A trace that links to more flows than this (a huge batch) belongs to the first of them by name."""
TOGETHER = 64
ROUNDS = 16
"""How many links deep an id is inherited."""

Found = Mapping[str, Collection[Opened]]


@dataclass(slots=True)
class Trace:
    """What a trace says of itself: its own keys, the other traces it links to, its spans and when the last ended.

    spans  the hashes of their addresses: of a span that lies in two chunks one counts
    """

    keys: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    spans: set[int] = field(default_factory=set)
    last_ns: int = 0


def hash_of(trace_ids: Collection[str]) -> U64:
    """Hashes of trace ids in hex."""
    raw = b"".join(bytes.fromhex(trace_id) for trace_id in trace_ids)
    return trace_hashes(np.frombuffer(raw, "<u8").reshape(-1, 2))


_TRACE = re.compile("[0-9a-f]{32}")


def is_trace(text: str) -> bool:
    """Whether this can be a trace id in hex."""
    return _TRACE.fullmatch(text) is not None


class Reader:
    """Reads for one purpose, such as one page or one step: what it looked up once it does not look up again.

    Somebody else's look-up may be given: short hash → all its chunks, and those that are open.
    """

    def __init__(self, chunks: Mapping[int, list[int]] | None = None, here: Mapping[int, Opened] | None = None) -> None:
        self._index = index.View()
        self._chunks = dict(chunks or {})
        self._opened = dict(here or {})
        self._traces: dict[str, Trace] = {}
        self._places: dict[str, list[tuple[Opened, Ints]]] = {}
        """Trace id → its rows, chunk by chunk."""
        self._hashes: dict[str, tuple[int, int, int]] = {}
        """Trace id → its hash, and those that its spans and the links to it are found by."""

    def _chunks_by(self, hashes: Mapping[str, int]) -> dict[str, list[Opened]]:
        """Name → the chunks that may hold what its hash stands for."""
        short = {name: value >> index.CUT for name, value in hashes.items()}
        missing = set(short.values()) - self._chunks.keys()
        if missing:
            self._look_up(missing)
        here = self._opened
        wanted = {chunk for one in short.values() for chunk in self._chunks[one]} - here.keys()
        while wanted:
            here.update(opened(wanted))
            gone = wanted - here.keys()
            # Packed anew since the index was asked, or dropped long ago: only the first has new chunks by now.
            again = {one for one in short.values() if not gone.isdisjoint(self._chunks[one])}
            if again:
                self._index = index.View()
                self._look_up(again)
            wanted = {chunk for one in again for chunk in self._chunks[one]} - here.keys() - gone
        return {name: [here[chunk] for chunk in self._chunks[one] if chunk in here] for name, one in short.items()}

    def _of_traces(self, trace_ids: Collection[str], *, linked: bool = False) -> list[tuple[str, int, list[Opened]]]:
        """(trace id, its hash, chunks with spans of it) or, `linked`, chunks with spans that link to it."""
        names = sorted({trace_id for trace_id in trace_ids if is_trace(trace_id)})
        if not names:
            return []
        self._learn(names)
        found = self._chunks_by({name: self._hashes[name][2 if linked else 1] for name in names})
        return [(name, self._hashes[name][0], found[name]) for name in names]

    def _learn(self, trace_ids: Collection[str]) -> None:
        """The hashes of traces. Of a few, as a flow has, spans and links to them are looked up at once."""
        new = [name for name in trace_ids if name not in self._hashes]
        if not new:
            return
        hashes = hash_of(new)
        places, links = ids.of_traces(hashes).tolist(), ids.of_linked(hashes).tolist()
        self._hashes.update(zip(new, zip(hashes.tolist(), places, links, strict=True), strict=True))
        if len(new) <= TOGETHER:
            self._look_up({one >> index.CUT for one in (*places, *links)} - self._chunks.keys())

    def _look_up(self, short: Collection[int]) -> None:
        found = self._index.chunks_of(short)
        self._chunks.update({one: found.get(one, []) for one in short})

    def _rows(self, trace_ids: Collection[str]) -> Iterator[tuple[str, Opened, Ints]]:
        for name, one, chunks in self._of_traces([name for name in trace_ids if name not in self._places]):
            places = ((chunk, np.flatnonzero(chunk.portion.trace == np.uint64(one))) for chunk in chunks)
            self._places[name] = [(chunk, rows) for chunk, rows in places if len(rows)]
        for name in sorted(self._places.keys() & set(trace_ids)):
            for chunk, rows in self._places[name]:
                yield name, chunk, rows

    def spans_of(self, trace_ids: Collection[str]) -> dict[str, dict[Context, Span]]:
        """Every span of these traces, by trace. Of two at one address the first stays."""
        found: dict[str, dict[Context, Span]] = {trace_id: {} for trace_id in trace_ids}
        for name, chunk, rows in self._rows(trace_ids):
            for span in chunk.spans(rows):
                found[name].setdefault(Context(span.trace_id, span.span_id), span)
        return found

    def spans_by_hash(self, traces: U64) -> dict[str, dict[Context, Span]]:
        """Every span of the traces with these hashes, by trace id."""
        names = dict(zip(map(str, traces.tolist()), ids.of_traces(traces).tolist(), strict=True))
        found: dict[str, dict[Context, Span]] = {}
        for name, chunks in self._chunks_by(names).items():
            for chunk in chunks:
                for span in chunk.spans(np.flatnonzero(chunk.portion.trace == np.uint64(name))):
                    found.setdefault(span.trace_id, {}).setdefault(Context(span.trace_id, span.span_id), span)
        return found

    def trace_ids(self, hashes: Collection[int]) -> set[str]:
        """The trace ids with these hashes, as far as they are here."""
        traces = np.array(sorted(hashes), np.uint64)
        names = dict(zip(map(str, traces.tolist()), ids.of_traces(traces).tolist(), strict=True))
        return {
            chunk.trace_id(row)
            for name, chunks in self._chunks_by(names).items()
            for chunk in chunks
            for row in np.flatnonzero(chunk.portion.trace == np.uint64(name))[:1].tolist()
        }

    def traces(self, trace_ids: Collection[str]) -> dict[str, Trace]:
        """What these traces say of themselves; traces without spans are left out. Not to be changed."""
        found: dict[str, Trace] = {}
        for name, chunk, rows in self._rows([name for name in trace_ids if name not in self._traces]):
            _add_facts(found.setdefault(name, Trace()), name, chunk, rows)
        self._traces.update(found)
        return {name: self._traces[name] for name in trace_ids if name in self._traces}

    def part_of(self, key: str, trace_id: str, others: Collection[str]) -> dict[Context, Span]:
        """Of a trace that many flows share: the spans that name the flow, and those that link into its `others`."""
        found: dict[Context, Span] = {}
        for _, chunk, rows in self._rows([trace_id]):
            linking = {row for row, target in chunk.linked_traces(rows) if target in others}
            named = chunk.rows_of(key)
            mine = [row for row in rows.tolist() if row in linking or row in named]
            for span in chunk.spans(np.array(mine, np.int64)):
                found.setdefault(Context(span.trace_id, span.span_id), span)
        return found

    def first_spans(self, trace_ids: Collection[str], limit: int) -> list[Span]:
        """The earliest spans of these traces."""
        rows = [
            (int(chunk.portion.start[row]), chunk.context(row), chunk, row)
            for _, chunk, found in self._rows(trace_ids)
            for row in found.tolist()
        ]
        rows.sort(key=lambda one: one[:2])
        spans: dict[Context, Span] = {}
        for _, context, chunk, row in rows:
            if len(spans) == limit:
                break
            if context not in spans:
                (spans[context],) = chunk.spans(np.array([row]))
        return list(spans.values())

    def spans_at(self, contexts: Collection[Context]) -> dict[Context, Span]:
        """The spans at these addresses, as far as they are here."""
        wanted: dict[str, set[Context]] = defaultdict(set)
        for context in contexts:
            wanted[context.trace_id].add(context)
        found: dict[Context, Span] = {}
        for name, chunk, rows in self._rows(wanted):
            mine = [row for row in rows.tolist() if chunk.context(row) in wanted[name]]
            for span in chunk.spans(np.array(mine, np.int64)):
                found.setdefault(Context(span.trace_id, span.span_id), span)
        return found

    def linking_to(self, trace_ids: Collection[str]) -> dict[str, set[Context]]:
        """Trace → the spans in other traces that link to it."""
        found: dict[str, set[Context]] = {}
        for name, one, chunks in self._of_traces(trace_ids, linked=True):
            for chunk in chunks:
                rows = chunk.portion.link_row[chunk.portion.link_trace == np.uint64(one)]
                spans = {chunk.context(row) for row in rows.tolist()}
                found.setdefault(name, set()).update(span for span in spans if span.trace_id != name)
        return {name: spans for name, spans in found.items() if spans}

    def members(self, trace_ids: Collection[str]) -> dict[str, dict[str, str]]:
        """Trace → the keys of its flows, each with its origin; traces without spans are left out.

        origin  ``direct`` (a span of it carries the key), ``inherited`` (over links), ``trace`` (its id is the key)
        """
        known: dict[str, Trace] = {}
        asked = {trace_id for trace_id in trace_ids if is_trace(trace_id)}
        if not asked:
            return {}
        pending = set(asked)
        for _ in range(ROUNDS):
            known.update({name: Trace() for name in pending})
            known.update(self.traces(pending))
            heirs = [known[name] for name in pending if not known[name].keys]
            pending = {target for heir in heirs for target in heir.links if target not in known}
            if not pending:
                break
        replayed = _replayed({name for name, trace in known.items() if not trace.keys})
        for name, (_, sources) in replayed.items():
            known[name] = replace(known[name], links=known[name].links | sources)
        keys = _inherited(known, {name: named for name, (named, _) in replayed.items()})
        return {
            name: dict.fromkeys(sorted(known[name].keys), "direct")
            if known[name].keys
            else {name: "trace"}
            if keys[name] == {name}
            else dict.fromkeys(sorted(keys[name])[:KEYS_PER_TRACE], "inherited")
            for name in asked
            if known[name].spans
        }

    def traces_of(self, keys: Collection[str]) -> dict[str, set[str]]:
        """Flow → its traces."""
        found: dict[str, set[str]] = {key: set() for key in keys}
        candidates: dict[str, set[str]] = {key: {key} if is_trace(key) else set() for key in keys}
        named = self._chunks_by({key: ids.of_key(key.encode()) for key in keys})
        for key, chunks in named.items():
            for chunk in chunks:
                candidates[key].update(map(chunk.trace_id, chunk.rows_of(key)))
        for key, trace_ids in _carried_by(keys).items():
            candidates[key] |= trace_ids
        seen = {key: set(names) for key, names in candidates.items()}
        belonging: dict[str, dict[str, str]] = {}
        for _ in range(ROUNDS):
            everyone = {name for names in candidates.values() for name in names}
            if not everyone:
                break
            belonging.update(self.members(everyone - belonging.keys()))
            heirs = self.linking_to(everyone)
            following: dict[str, set[str]] = {}
            for key, names in candidates.items():
                found[key] |= {name for name in names if key in belonging.get(name, ())}
                # A trace that is not here yet (a replay's, or the key itself) has heirs as well.
                sources = {name for name in names if name not in belonging or key in belonging[name]}
                followers = {span.trace_id for name in sources for span in heirs.get(name, ())} - seen[key]
                following[key] = followers
                seen[key] |= followers
            candidates = following
        return found

    def with_message(self, message_id: str) -> set[str]:
        """The traces that name a message id."""
        text = fit(message_id).encode()
        (chunks,) = self._chunks_by({message_id: ids.of_message(text)}).values()
        return {
            chunk.trace_id(row)
            for chunk in chunks
            for at, row in enumerate(chunk.messages.row.tolist())
            if chunk.messages.text(at).encode() == text
        }


def _add_facts(trace: Trace, name: str, chunk: Opened, rows: Ints) -> None:
    trace.spans.update(chunk.portion.context[rows].tolist())
    trace.keys.update(chunk.keys_on(rows))
    trace.last_ns = max(trace.last_ns, int(chunk.portion.end[rows].max()))
    trace.links.update(target for _, target in chunk.linked_traces(rows) if target != name)


def _inherited(known: Mapping[str, Trace], replayed: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Every trace's keys, once what it links to has been asked, round by round."""
    keys = {name: set(trace.keys) for name, trace in known.items()}
    heirs = [name for name, trace in known.items() if not trace.keys]
    for _ in range(ROUNDS):
        changed = False
        for name in heirs:
            wanted = set(replayed.get(name, ()))
            for target in known[name].links:
                # Nothing is known of a target that has not come yet; it is a flow by itself.
                wanted |= keys.get(target) or {target}
            wanted = wanted or {name}
            if wanted != keys[name]:
                keys[name] = wanted
                changed = True
        if not changed:
            break
    return keys


def _replayed(trace_ids: Collection[str]) -> dict[str, tuple[set[str], set[str]]]:
    """Trace that carries a replay → the flows its letters name, and the traces of those that name none."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    # Most carry none, and looking costs little.
    for part in parts({trace_id for (trace_id,) in select(ReplayItem, ("trace_id",), {"trace_id": trace_ids})}):
        rows = ReplayItem.objects.filter(trace_id__in=part)
        for name, letter_trace, key in rows.values_list("trace_id", "letter__trace_id", "letter__correlation_id"):
            keys, sources = found.setdefault(name, (set(), set()))
            if key:
                keys.add(fit(key))
            elif letter_trace and letter_trace != name:
                sources.add(letter_trace)
    return found


def _carried_by(keys: Collection[str]) -> dict[str, set[str]]:
    """Flow → the traces that carry replays of its letters."""
    found: dict[str, set[str]] = defaultdict(set)
    for part in parts(keys if _have_letters(keys) else ()):
        named = Q(letter__correlation_id__in=part) | Q(letter__trace_id__in=part, letter__correlation_id="")
        rows = ReplayItem.objects.filter(named).exclude(trace_id="")
        for key, letter_trace, trace_id in rows.values_list("letter__correlation_id", "letter__trace_id", "trace_id"):
            found[fit(key) or letter_trace].add(trace_id)
    return {key: traces for key, traces in found.items() if key in keys}


def _have_letters(keys: Collection[str]) -> bool:
    """Whether a dead letter names one of these flows or traces: most have none, and looking costs little."""
    return any(True for _ in select_any(DeadLetter, "id", {"correlation_id": keys, "trace_id": keys}))


def listed(keys: Collection[str]) -> set[str]:
    """Which of these keys have a line in the list of flows."""
    return {key for (key,) in select(FlowRow, ["key"], {"key": keys})}
