"""Recognises flows that are alike: the domain judges one flow of each pattern, the others get the same line.

Two flows have one pattern when everything the domain's judgement looks at is the same: the spans' meanings, how they
hang together, the order of all their times, who is expected to read, which failures are young. Flows with anything
beyond that (letters, replays, foreign traces, several keys) are none of these and are judged each by itself.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import assemble, summarise
from eventflow.store.queries.flow_evidence import MEMORY_NS, Consumers
from eventflow.store.spans import arrays, likeness
from eventflow.store.spans.alone import alone, flows
from eventflow.store.spans.columns import U64, Ints
from eventflow.store.spans.examples import Examples
from eventflow.store.spans.likeness import Runs
from eventflow.store.spans.lines import Line, Pattern, pattern_of
from eventflow.store.spans.window import Window

KNOWN_PATTERNS = 100_000


@dataclass(frozen=True, slots=True)
class Judged:
    """Lines of the flows that are alike to one already judged, and the traces of all the others.

    moved  traces of these flows that were here before: a line of their own, made when they had no key, is gone
    seen   the hashes of all traces that were looked at, some several times
    """

    rows: list[Line]
    others: set[str]
    moved: set[str]
    seen: U64


class Patterns:
    """The lines known so far, by pattern."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, int], Pattern] = {}
        self._expected: dict[frozenset[tuple[str, frozenset[str]]], int] = {}
        self._examples = Examples()

    def __len__(self) -> int:
        return len(self._lines)

    def judge(self, window: Window, consumers: Consumers, now: datetime) -> Judged:
        """Lines for the flows of the window's new spans."""
        portion = window.portion
        flow, keyed, texts = flows(window)
        good = alone(window, flow, keyed)
        # Of older rows only those of flows that something came to.
        chosen = np.flatnonzero(good & window.once() & arrays.one_of(flow, flow[window.fresh]))
        others = _hex(portion.trace_ids[window.fresh & ~good])
        if not len(chosen):
            return Judged([], others, set(), portion.trace[:0])
        runs = Runs.of(portion, chosen, flow)
        names = flow[runs.order[runs.starts[:-1]]].tolist()
        bounds = zip(runs.begun.tolist(), (runs.ended - runs.begun).tolist(), strict=True)
        patterns = zip(
            likeness.hashes(window, runs, nanoseconds(now)).tolist(),
            self._expectations(runs.begun, consumers),
            strict=True,
        )
        rows: list[Line] = []
        for at, (name, pattern, (begun, lasted)) in enumerate(zip(names, patterns, bounds, strict=True)):
            line = self._lines.get(pattern)
            if line is None:
                mine = runs.order[runs.starts[at] : runs.starts[at + 1]]
                line = self._lines[pattern] = self._line(texts[name], window, mine, consumers, now)
            rows.append(Line(texts[name], begun, lasted, line))
        seen_before = arrays.among(portion.trace, portion.trace[~window.fresh])[0] & good & (keyed != 0)
        return Judged(rows, others, _hex(portion.trace_ids[seen_before]), portion.trace[good])

    def _line(self, key: str, window: Window, rows: Ints, consumers: Consumers, now: datetime) -> Pattern:
        """A flow's line, as the domain judges it."""
        if len(self._lines) >= KNOWN_PATTERNS:
            self._lines.clear()
        expected = consumers.at(int(window.portion.start[rows[0]]))
        return pattern_of(
            summarise(assemble(key, self._examples.spans(window, rows, key), now=now, consumers=expected))
        )

    def _expectations(self, begun: Ints, consumers: Consumers) -> list[int]:
        """For each flow's start, a number for the set of groups that it must reach."""
        bounds = np.array(
            sorted({x for _, _, first, last in consumers.rows for x in (first, last + MEMORY_NS + 1)}), np.int64
        )
        interval = np.searchsorted(bounds, begun, side="right")
        first, number = arrays.distinct(interval.view(np.uint64))
        numbers = []
        for start in begun[first].tolist():
            groups = frozenset((name, frozenset(who)) for name, who in consumers.at(start).items())
            numbers.append(self._expected.setdefault(groups, len(self._expected)))
        found: list[int] = np.array(numbers)[number].tolist()
        return found


def _hex(trace_ids: U64) -> set[str]:
    raw = np.unique(np.ascontiguousarray(trace_ids).view("V16")).tobytes().hex()
    return {raw[at : at + 32] for at in range(0, len(raw), 32)}
