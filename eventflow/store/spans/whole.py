"""Traces whose spans speak for each other are judged whole by the domain: a step adds the difference it makes.

So a late or doubled span, a receive folded into its process, a publisher that shows up after its consumer: all end in
the same sums, whatever the order.
"""

from collections.abc import Collection, Mapping

import numpy as np

from eventflow.domain.hop import Context, Side, evidence
from eventflow.domain.observations import Span
from eventflow.store.spans import arrays, form
from eventflow.store.spans.columns import U64, Flags, Portion, context_hashes, trace_hashes
from eventflow.store.spans.edges import Times
from eventflow.store.spans.keys import read_whole
from eventflow.store.spans.load import Reader
from eventflow.store.spans.meaning import PUBLISH
from eventflow.store.spans.memory import Memory
from eventflow.store.spans.sums import Summed
from eventflow.store.spans.text import fit_ns


def add(summed: Summed, portion: Portion, new: Flags, memory: Memory) -> None:
    """Add what the traces in `summed.whole` change to its delta."""
    if not len(summed.whole):
        return
    reader = Reader()
    old = reader.spans_by_hash(summed.whole)
    rows = np.flatnonzero(new & arrays.among(portion.trace, summed.whole)[0])
    fresh: dict[str, dict[Context, Span]] = {}
    for span in read_whole(portion, rows, form.form()).values():
        fresh.setdefault(span.trace_id, {})[Context(span.trace_id, span.span_id)] = span
    judged = {trace: {**fresh.get(trace, {}), **old.get(trace, {})} for trace in fresh.keys() | old.keys()}
    contexts = {
        context
        for trace, spans in judged.items()
        for span in spans.values()
        for context in _came_with(span)
        if context not in judged[trace]
    }
    before = _published_before(contexts, memory, reader)
    after = {**before, **_published_now(contexts, summed)}
    for trace, spans in judged.items():
        if earlier := old.get(trace):
            summed.delta.add(earlier.values(), before, -1, folded=True)
        summed.delta.add(spans.values(), after, 1, folded=True)


def _came_with(span: Span) -> list[Context]:
    linked = [Context(link.trace_id, link.span_id) for link in span.links]
    return [*linked, Context(span.trace_id, span.parent_id)] if span.parent_id else linked


def _hashes(contexts: Collection[Context]) -> U64:
    raw = b"".join(bytes.fromhex(context.trace_id + context.span_id) for context in contexts)
    ids = np.frombuffer(raw, "<u8").reshape(-1, 3)
    return context_hashes(trace_hashes(ids[:, :2]), ids[:, 2])


def _published_now(contexts: Collection[Context], summed: Summed) -> Times:
    if not contexts:
        return {}
    published = summed.learned.hop_rows[:, 0] == PUBLISH
    rows = summed.learned.hop_rows[published]
    found, at = arrays.among(_hashes(contexts), summed.learned.hops[published])
    return {
        context: (int(rows[where, 1]), int(rows[where, 2]))
        for context, here, where in zip(contexts, found.tolist(), at.tolist(), strict=True)
        if here
    }


def _published_before(
    contexts: Collection[Context], memory: Memory, reader: Reader
) -> Mapping[Context, tuple[int, int]]:
    """Start and end of those of these spans that published something before this step."""
    if not contexts:
        return {}
    known, rows = memory.hops.find(_hashes(contexts))
    found: dict[Context, tuple[int, int]] = {}
    forgotten = []
    for context, here, (side, start, end) in zip(contexts, known.tolist(), rows.tolist(), strict=True):
        if not here:
            forgotten.append(context)
        elif side == PUBLISH:
            found[context] = (start, end)
    for context, span in reader.spans_at(forgotten).items():
        proof = evidence(span)
        if proof is not None and proof.side is Side.PUBLISH:
            found[context] = (fit_ns(span.start_ns), fit_ns(span.end_ns))
    return found
