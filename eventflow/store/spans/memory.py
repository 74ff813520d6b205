"""What a step must know of the spans before it: which are here, what was published when, who waits for a publisher.

Kept in bounded tables in memory, made again from the newest chunks whenever the store changed behind our back (a start,
another process). Changed only after a step is committed, so that a failed one leaves no trace here.
"""

from dataclasses import dataclass

import numpy as np

from eventflow.store.spans import arrays
from eventflow.store.spans.columns import U64, Ints, mixed
from eventflow.store.spans.recent import Recent

SPANS = 1_250_000
"""How many spans are remembered at least."""
HOPS = 625_000
PENDING = 310_000


class Pending:
    """Consumers whose publisher is not here yet: a chain of entries for each missing context."""

    def __init__(self, limit: int = PENDING) -> None:
        self._limit = limit
        self._heads = Recent(limit, 1)
        self._rows = np.zeros((1_024, 5), np.int64)
        self._count = 0

    def put(self, contexts: U64, rows: Ints) -> None:
        """Remember consumers: rows of (edge, slot, start, trace hash as signed) by the context they came with."""
        if not len(contexts):
            return
        if self._count + len(contexts) > self._limit * 2:
            # What waited this long has no publisher; forgetting it loses a wait time, no message.
            self._heads, self._count = Recent(self._limit, 1), 0
        while len(self._rows) < self._count + len(contexts):
            self._rows = np.concatenate((self._rows, np.zeros_like(self._rows)))
        first, number = arrays.distinct(contexts)
        order = arrays.grouped(number, len(first))
        contexts, rows = contexts[order], rows[order]
        at = np.arange(self._count, self._count + len(contexts))
        known, heads = self._heads.find(contexts)
        before = np.where(known, heads[:, 0], -1)
        repeated = np.concatenate(([False], contexts[1:] == contexts[:-1]))
        before[repeated] = at[repeated] - 1
        self._rows[at, :4] = rows
        self._rows[at, 4] = before
        self._heads.put(contexts, at[:, None])
        self._count += len(contexts)

    def waiting_for(self, contexts: U64) -> tuple[Ints, Ints]:
        """The consumers that wait for these contexts: position in `contexts`, and their rows."""
        known, heads = self._heads.find(contexts)
        positions, at = np.flatnonzero(known), heads[known, 0]
        found_positions: list[Ints] = []
        found_rows: list[Ints] = []
        while len(at):
            found_positions.append(positions)
            found_rows.append(self._rows[at, :4])
            before = self._rows[at, 4]
            go_on = before >= 0
            positions, at = positions[go_on], before[go_on]
        if not found_rows:
            return np.zeros(0, np.int64), np.zeros((0, 4), np.int64)
        return np.concatenate(found_positions), np.concatenate(found_rows)


class Memory:
    """The tables.

    spans   context → nothing: it is stored
    hops    context → side, start, end of spans that published or consumed
    inside  context of a parent → bits of what is inside it: 1 publish, 2 consume, 4 a consume with links
    traces  trace → number of its spans
    born    place of a trace or key, as the index has it, for which lines were made → a chunk: what is stored of it lies
            there and behind it
    whole   trace → nothing: it is judged whole
    waited  context, edge and trace → nothing: its wait is counted
    woken   traces whose publisher came after them → the chunk with which it came: when the lines of that one are made,
            theirs are to be made anew

    last_chunk  what was written last: the next one most likely gets the next id
    """

    def __init__(self) -> None:
        self.generation = -1
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.spans = Recent(SPANS)
        self.hops = Recent(HOPS, 3)
        self.inside = Recent(HOPS, 1)
        self.traces = Recent(HOPS, 1)
        self.born = Recent(HOPS, 1)
        self.whole = Recent(HOPS // 8)
        self.waited = Recent(HOPS)
        self.pending = Pending()
        self.woken: dict[int, int] = {}
        self.last_chunk = 0


@dataclass(slots=True)
class Learned:
    """What a step teaches the memory once it is committed. `trace_counts` are of all spans of a trace so far."""

    spans: U64
    hops: U64
    hop_rows: Ints
    inside: U64
    inside_bits: Ints
    traces: U64
    trace_counts: Ints
    whole: U64
    waited: U64
    pending: U64
    pending_rows: Ints
    woken: U64

    def into(self, memory: Memory, chunk: int) -> None:
        """Remember it; `chunk` is the last one that the step wrote."""
        memory.spans.put(self.spans)
        memory.hops.put(self.hops, self.hop_rows)
        _or(memory.inside, self.inside, self.inside_bits)
        memory.traces.put(self.traces, self.trace_counts[:, None])
        memory.whole.put(self.whole)
        memory.waited.put(self.waited)
        memory.pending.put(self.pending, self.pending_rows)
        memory.woken.update(dict.fromkeys(self.woken.tolist(), chunk))
        memory.last_chunk = chunk


def _or(table: Recent, hashes: U64, bits: Ints) -> None:
    if not len(hashes):
        return
    first, number = arrays.distinct(hashes)
    both = np.zeros(len(first), np.int64)
    np.bitwise_or.at(both, number, bits)
    _, before = table.find(hashes[first])
    table.put(hashes[first], (both | before[:, 0])[:, None])


def wait_key(contexts: U64, edges: Ints, traces: U64) -> U64:
    """One consumer's wait for one message, whatever number of its spans tell it."""
    return mixed(contexts ^ mixed(traces ^ edges.astype(np.uint64), 3), 4)
