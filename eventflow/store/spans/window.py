"""The rows that a step of lines looks at: the new spans, and the older chunks in which the same flows lie.

What the index says is asked once: whoever needs it later in the step finds it here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from eventflow.store.spans import arrays, form, ids, index
from eventflow.store.spans.columns import U64, Flags, Ints, Portion, together
from eventflow.store.spans.handover import Part, parts_of
from eventflow.store.spans.keys import Keys, keys_of, read_whole
from eventflow.store.spans.load import listed
from eventflow.store.spans.opened import Opened, opened
from eventflow.store.spans.recent import Recent

MORE_CHUNKS = 200
"""Chunks that are read besides the new ones to have flows whole; flows spread wider are judged by themselves."""
FEW = 1_000
"""Hashes that are told one by one."""
ROUNDS = 3
"""How often what was read besides leads to more."""


class Places:
    """Which chunks hold what was asked for, by short hashes; `opened` has those that were read."""

    def __init__(self) -> None:
        self._index = index.View()
        self.asked = np.zeros(0, np.int64)
        self.hashes = np.zeros(0, np.int64)
        self.chunks = np.zeros(0, np.int64)
        self.opened: dict[int, Opened] = {}

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
        """(hash, chunk) for each entry of these hashes, which are distinct and ascending."""
        new = wanted[~np.isin(wanted, self.asked)] if len(self.asked) else wanted
        if len(new):
            positions, chunks = self._index.lookup(new)
            self.asked = np.concatenate((self.asked, new))
            self.hashes = np.concatenate((self.hashes, new[positions]))
            self.chunks = np.concatenate((self.chunks, chunks))
        here = np.isin(self.hashes, wanted)
        return self.hashes[here], self.chunks[here]


@dataclass(slots=True)
class Window:
    """The rows.

    fresh  those of the new spans
    grown  short hashes of keys and traces that were here before
    texts  of keys whose hashes these are; more may be here than these
    """

    portion: Portion
    meaning: Ints
    keys: Keys
    fresh: Flags
    chunks: frozenset[int]
    grown: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    texts: dict[int, str] = field(default_factory=dict)
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

    def is_grown(self, hashes: U64) -> Flags:
        """Which of these hashes of keys or traces are of grown flows."""
        return arrays.among(index.shortened(hashes).view(np.uint64), self.grown.view(np.uint64))[0]


def window(new: Sequence[Part], chunks: frozenset[int], traces: Recent) -> Window:
    """The new spans, with the older chunks in which the same flows lie. `traces`: how many spans each has."""
    most = len(chunks) + MORE_CHUNKS
    parts = list(new)
    found = _together(parts, chunks)
    found.grown = _grown(found, traces)
    for _ in range(ROUNDS if len(found.grown) else 0):
        missing = set(found.places.of(_related(found))[1].tolist()) - found.chunks
        if not missing or len(found.chunks) + len(missing) > most:
            break
        here = opened(missing)
        found.places.opened |= here
        parts += parts_of(here.values(), fresh=False)
        grown, texts, places = found.grown, found.texts, found.places
        found = replace(_together(parts, found.chunks | here.keys()), grown=grown, texts=texts, places=places)
    return found


def _together(parts: Sequence[Part], chunks: frozenset[int]) -> Window:
    portion = together([part.body for part in parts], [part.columns for part in parts])
    meanings = form.meanings()
    meaning = meanings.of(portion)
    odd = read_whole(portion, np.flatnonzero(portion.odd), form.form())
    fresh = np.concatenate([part.fresh for part in parts])
    return Window(portion, meaning, keys_of(portion, meaning, meanings, odd), fresh, chunks)


def _grown(window: Window, traces: Recent) -> Ints:
    """What is looked up of flows that are not new: keys and traces with a line, traces that go on without a key."""
    portion, keys = window.portion, window.keys.key
    first, _ = arrays.distinct(keys.hash)
    hashes = keys.hash[first].tolist()
    window.texts = dict(zip(hashes, map(keys.text, first.tolist()), strict=True))
    names = dict(zip(window.texts.values(), hashes, strict=True))
    first, number = arrays.distinct(portion.trace)
    places = ids.of_traces(portion.trace[first])
    raw = portion.trace_ids[first].tobytes().hex()
    hexes = (raw[at : at + 32] for at in range(0, len(raw), 32))
    names.update(zip(hexes, places.tolist(), strict=True))
    known = np.array([names[name] for name in listed(names)], np.uint64)
    return np.unique(index.shortened(np.concatenate((known, places[_going_on(window, first, number, traces)]))))


def _going_on(window: Window, first: Ints, number: Ints, traces: Recent) -> Flags:
    """The traces without a key here of which spans came before: those may have one."""
    keyless = np.ones(len(first), bool)
    keyless[number[window.keys.key.row]] = False
    before = traces.find(window.portion.trace[first])[1][:, 0]
    found: Flags = keyless & (before > np.bincount(number[window.fresh], minlength=len(first)))
    return found


def _related(window: Window) -> Ints:
    """The hashes of what hangs together with grown flows: their keys, their traces, who links to these."""
    portion, keys = window.portion, window.keys.key
    named = window.is_grown(ids.of_traces(portion.trace))
    named[keys.row[window.is_grown(keys.hash)]] = True
    traces: U64 = portion.trace[named]
    traces = traces[arrays.distinct(traces)[0]]
    mine = arrays.among(portion.trace, traces)[0][keys.row]
    hashes = np.concatenate((ids.of_traces(traces), ids.of_linked(traces), keys.hash[mine]))
    return np.unique(np.concatenate((window.grown, index.shortened(hashes))))
