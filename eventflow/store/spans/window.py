"""The rows that a step of lines looks at: the new spans, and those in older chunks that hang together with them.

What the index says is asked once: whoever needs it later in the step finds it here. Bounded in chunks and in rows: what
is spread wider is left out, and said to be away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eventflow.store.spans import arrays, form, ids, index
from eventflow.store.spans.columns import U64, Flags, Ints, Portion, together
from eventflow.store.spans.handover import Part, parts_of
from eventflow.store.spans.index import Ahead
from eventflow.store.spans.keys import Keys, keys_of, read_whole
from eventflow.store.spans.load import listed
from eventflow.store.spans.memory import Memory
from eventflow.store.spans.opened import Opened, opened
from eventflow.store.spans.recent import Recent

MORE_CHUNKS, MORE_ROWS = 2_000, 200_000
"""So many chunks are opened, and so many rows out of them kept, to have flows whole."""
TOGETHER = 64
"""Chunks that are open at a time."""
WIDE = 100
"""What lies in more chunks than this is left to be judged by itself."""
FEW = 1_000
"""Hashes that are told one by one."""
ROUNDS = 3
"""How often what was read besides leads to more."""


class Places:
    """Which chunks hold what was asked for, by short hashes; `opened` has those that were read.

    `ahead`: chunks whose turn comes later. What they hold is looked at then, with what came before it.
    """

    def __init__(self, ahead: Ahead | None = None) -> None:
        self._ahead = ahead or Ahead()
        self._index = index.View()
        self._known = self._since = np.zeros(0, np.int64)
        self.asked = np.zeros(0, np.int64)
        self.hashes = np.zeros(0, np.int64)
        self.chunks = np.zeros(0, np.int64)
        self.opened: dict[int, Opened] = {}

    def learn(self, hashes: Ints, since: Ints) -> None:
        """What is looked up of these short hashes later need not lie in chunks before those."""
        order = np.lexsort((since, hashes))
        hashes, since = hashes[order], since[order]
        first = np.ones(len(hashes), bool)
        first[1:] = hashes[1:] != hashes[:-1]
        self._known, self._since = hashes[first], since[first]

    def chunks_of(self) -> dict[int, list[int]]:
        """For each hash that was asked for, its chunks, oldest first; nothing if they are many."""
        if len(self.asked) > FEW:
            return {}
        found: dict[int, list[int]] = {one: [] for one in self.asked.tolist()}
        for one, chunk in sorted(zip(self.hashes.tolist(), self.chunks.tolist(), strict=True)):
            if chunk not in found[one]:
                found[one].append(chunk)
        return found

    def of(self, wanted: Ints) -> tuple[Ints, Ints]:
        """(hash, chunk) for each entry of these hashes, which are distinct and ascending, but for those ahead."""
        new = wanted[~arrays.one_of(wanted, self.asked)]
        if len(new):
            known, at = arrays.among(new.view(np.uint64), self._known.view(np.uint64))
            since = np.zeros(len(new), np.int64)
            since[known] = self._since[at[known]]
            positions, chunks = self._index.lookup(new, since, self._ahead)
            self.asked = np.concatenate((self.asked, new))
            self.hashes = np.concatenate((self.hashes, new[positions]))
            self.chunks = np.concatenate((self.chunks, chunks))
        here = arrays.one_of(self.hashes, wanted) & ~self._ahead.has(self.chunks)
        return self.hashes[here], self.chunks[here]


@dataclass(slots=True)
class Window:
    """The rows.

    fresh   those of the new spans
    chunks  which they lie in, wholly here
    grown   short hashes of keys and traces that were here before
    here    short hashes of which the rows in older chunks are here, too
    """

    portion: Portion
    meaning: Ints
    keys: Keys
    fresh: Flags
    chunks: frozenset[int]
    grown: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    here: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    places: Places = field(default_factory=Places)

    def table(self) -> Ints:
        """What each row's shape means, as `Meanings.table` has it."""
        return form.meanings().table()[self.meaning]

    def once(self) -> Flags:
        """Each span's row; of several the one that is new, if one is."""
        rows = np.concatenate((np.flatnonzero(self.fresh), np.flatnonzero(~self.fresh)))
        found = np.zeros(len(rows), bool)
        found[rows[arrays.distinct(self.portion.context[rows])[0]]] = True
        return found

    def away(self, hashes: Ints) -> Ints:
        """Those of these short hashes, distinct and ascending, of which rows are not here."""
        return self.elsewhere(hashes)[0]

    def elsewhere(self, hashes: Ints) -> tuple[Ints, Ints]:
        """(hash, chunk) of what is not here of these short hashes, distinct and ascending."""
        held, chunks = self.places.of(hashes[~arrays.one_of(hashes, self.here)])
        outside = ~arrays.one_of(chunks, np.array(sorted(self.chunks), np.int64))
        return held[outside], chunks[outside]

    def is_grown(self, hashes: U64) -> Flags:
        """Which of these hashes of keys or traces are of grown flows."""
        return arrays.one_of(index.shortened(hashes), self.grown)


def window(new: Sequence[Part], chunks: frozenset[int], memory: Memory, ahead: Ahead | None = None) -> Window:
    """The new spans, with what hangs together with them in older chunks.

    ahead   chunks that are newer: their spans are not looked at yet
    """
    found = _together(new, chunks)
    found.places = Places(ahead)
    found.grown = _grown(found, memory.born)
    parts = list(new)
    for _ in range(ROUNDS if len(found.grown) else 0):
        found.places.learn(*_since(found, memory.born))
        held, where = _within_reach(*found.elsewhere(_related(found)))
        missing = arrays.ascending(where).tolist()
        if not missing or len(missing) > MORE_CHUNKS:
            break
        older, gone = _older(missing, arrays.ascending(held), found.places)
        if sum(part.columns.count for part in older) > MORE_ROWS:
            break
        parts += older
        # What is gone was packed anew meanwhile: its flows are judged by whoever looks it up again.
        read = held[~arrays.one_of(held, held[arrays.one_of(where, gone)])]
        here = arrays.ascending(np.concatenate((found.here, read)))
        found = replace(_together(parts, chunks), grown=found.grown, here=here, places=found.places)
    return found


def _within_reach(held: Ints, where: Ints) -> tuple[Ints, Ints]:
    """Without what lies in very many chunks."""
    _, number = arrays.distinct(held.view(np.uint64))
    near = np.bincount(number)[number] <= WIDE if len(number) else np.zeros(0, bool)
    return held[near], where[near]


def _older(chunks: Sequence[int], hashes: Ints, places: Places) -> tuple[list[Part], Ints]:
    """The rows of these chunks that these short hashes stand for, with all of their traces, and the chunks now gone."""
    found: list[Part] = []
    gone: list[int] = []
    for at in range(0, len(chunks), TOGETHER):
        some = chunks[at : at + TOGETHER]
        here = opened(some)
        gone += set(some) - here.keys()
        if len(chunks) <= TOGETHER:
            places.opened |= here
        if here:
            found.append(_chosen(_together(parts_of(here.values(), fresh=False), frozenset()), hashes))
        if sum(part.columns.count for part in found) > MORE_ROWS:
            break
    return found, np.array(gone, np.int64)


def _chosen(window: Window, hashes: Ints) -> Part:
    """Of these rows those of traces for which one of the short hashes stands, as one request."""
    portion, keys = window.portion, window.keys.key
    named = arrays.one_of(index.shortened(ids.of_traces(portion.trace)), hashes)
    named[keys.row[arrays.one_of(index.shortened(keys.hash), hashes)]] = True
    named[portion.link_row[arrays.one_of(index.shortened(ids.of_linked(portion.link_trace)), hashes)]] = True
    rows = np.flatnonzero(arrays.among(portion.trace, portion.trace[named])[0])
    wire, requests, spans = form.form(), portion.request[rows].astype("<u4"), portion.index[rows].astype("<u4")
    body = bytes(wire.gather(portion.bodies, portion.columns, requests.tobytes(), spans.tobytes()))
    return Part(body, wire.scan(body), np.zeros(len(rows), bool))


def _together(parts: Sequence[Part], chunks: frozenset[int]) -> Window:
    portion = together([part.body for part in parts], [part.columns for part in parts])
    meanings = form.meanings()
    meaning = meanings.of(portion)
    odd = read_whole(portion, np.flatnonzero(portion.odd), form.form())
    fresh = np.concatenate([part.fresh for part in parts])
    return Window(portion, meaning, keys_of(portion, meaning, meanings, odd), fresh, chunks)


def _grown(window: Window, born: Recent) -> Ints:
    """What is looked up of flows that are not new: keys and traces with a line, traces whose spans may be elsewhere."""
    portion, keys = window.portion, window.keys.key
    first, _ = arrays.distinct(keys.hash)
    names = dict(zip(keys.texts_at(first), keys.hash[first].tolist(), strict=True))
    first, _ = arrays.distinct(portion.trace)
    places = ids.of_traces(portion.trace[first])
    raw = portion.trace_ids[first].tobytes().hex()
    hexes = (raw[at : at + 32] for at in range(0, len(raw), 32))
    names.update(zip(hexes, places.tolist(), strict=True))
    known = np.array([names[name] for name in listed(names)], np.uint64)
    return arrays.ascending(index.shortened(np.concatenate((known, places[born.find(places)[0]]))))


def note_born(window: Window, born: Recent) -> None:
    """Remember from which chunk on the window's new traces and keys lie, once their lines are stored."""
    portion, keys = window.portion, window.keys.key
    old = arrays.among(portion.trace, portion.trace[_named(window)])[0]
    traces, new = portion.trace[window.fresh], ~old[window.fresh]
    named = keys.hash[window.fresh[keys.row]]
    hashes = np.concatenate((ids.of_traces(traces), named))
    since = np.where(np.concatenate((new, ~window.is_grown(named))), min(window.chunks), 0)
    known, before = born.find(hashes)
    born.put(hashes, np.where(known, before[:, 0], since)[:, None])


def _since(window: Window, born: Recent) -> tuple[Ints, Ints]:
    """(short hash, chunk) of what lies in chunks from that one on: traces, what links to them, keys."""
    fresh, keys = window.fresh, window.keys.key
    traces, hashes = window.portion.trace, keys.hash
    first, named = arrays.distinct(traces)[0], arrays.distinct(hashes)[0]
    places = ids.of_traces(traces[first])
    both = np.concatenate((places, hashes[named]))
    older = np.concatenate(
        (
            arrays.among(traces[first], traces[~fresh])[0],
            arrays.among(hashes[named], hashes[~fresh[keys.row]])[0],
        )
    )
    known, since = born.find(both)
    # Neither here before nor remembered: it begins here.
    since = np.where(known, since[:, 0], np.where(older | window.is_grown(both), 0, min(window.chunks)))
    shorts = index.shortened(np.concatenate((both, ids.of_linked(traces[first]))))
    return shorts, np.append(since, since[: len(first)])


def _named(window: Window) -> Flags:
    """The rows that grown keys or traces name."""
    found = window.is_grown(ids.of_traces(window.portion.trace))
    found[window.keys.key.row[window.is_grown(window.keys.key.hash)]] = True
    return found


def _related(window: Window) -> Ints:
    """The hashes of what hangs together with grown flows: their keys, their traces, who links to these."""
    portion, keys = window.portion, window.keys.key
    traces: U64 = portion.trace[_named(window)]
    traces = traces[arrays.distinct(traces)[0]]
    mine = arrays.among(portion.trace, traces)[0][keys.row]
    hashes = np.concatenate((ids.of_traces(traces), ids.of_linked(traces), keys.hash[mine]))
    return arrays.ascending(np.concatenate((window.grown, index.shortened(hashes))))
