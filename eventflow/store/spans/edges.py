"""The topology's sums. What a trace adds to them is a function of its set of spans; a step adds the difference.

So a resent or late span, a receive folded into its process, a publisher that shows up after its consumer: all end in
the same sums, whatever the order. Traces too long to be judged whole add span by span, without folding.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from eventflow.domain.edge import EdgeKey, Histogram
from eventflow.domain.hop import Context, HopEvidence, Side, evidence
from eventflow.domain.hops import hops
from eventflow.domain.observations import Span
from eventflow.store.models import Edge
from eventflow.store.spans import slots
from eventflow.store.spans.rows import insert, select
from eventflow.store.spans.text import fit, fit_ns

SLOT_SECONDS = 10
FOLD_LIMIT = 1_000
"""Spans in a trace up to which it is judged whole."""
MAX_BATCH = 1_000_000
"""More messages in one span than this are a mistake, not traffic."""

Times = Mapping[Context, tuple[int, int]]


@dataclass(slots=True)
class Sums:
    """What is added to one slot of one edge; may be negative where an earlier judgement is corrected."""

    count: int = 0
    errors: int = 0
    processing: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    wait: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def empty(self) -> bool:
        return not (self.count or self.errors or any(self.processing.values()) or any(self.wait.values()))


class Delta:
    """Collects what a step adds, by edge and slot."""

    def __init__(self) -> None:
        self.sums: dict[tuple[EdgeKey, int], Sums] = defaultdict(Sums)
        self.bounds: dict[EdgeKey, tuple[int, int]] = {}

    def add(self, spans: Collection[Span], outside: Times, sign: int, *, folded: bool) -> None:
        """Add (or with sign -1 take out) what these spans of one trace say. `outside`: publishes in other traces."""
        proofs = hops(spans) if folded else tuple(proof for span in spans if (proof := evidence(span)))
        inside: dict[Context, HopEvidence] = {}
        for proof in proofs:
            if proof.side is Side.PUBLISH:
                inside.update(dict.fromkeys(proof.contexts, proof))
        waited: set[tuple[Context, str, str | None]] = set()
        for proof in proofs:
            if proof.side is not Side.SETTLE:
                self._add_proof(proof, inside, outside, waited, sign, folded=folded)

    def _add_proof(
        self,
        proof: HopEvidence,
        inside: Mapping[Context, HopEvidence],
        outside: Times,
        waited: set[tuple[Context, str, str | None]],
        sign: int,
        *,
        folded: bool,
    ) -> None:
        publishes = [inside[context] for context in proof.contexts if context in inside]
        key = edge_key(proof, publishes)
        span = proof.span
        start, end = fit_ns(span.start_ns), fit_ns(max(span.start_ns, span.end_ns))
        sums = self.sums[key, end // 1_000_000_000 // SLOT_SECONDS * SLOT_SECONDS]
        messages = messages_of(proof)
        sums.count += sign * messages
        sums.errors += sign * messages * proof.failed
        sums.processing[Histogram.bucket(end - start)] += sign
        if sign > 0:
            first, last = self.bounds.get(key, (start, end))
            self.bounds[key] = (min(first, start), max(last, end))
        if proof.side is not Side.CONSUME or (proof.attempt or 1) > 1:
            return
        for context in proof.contexts:
            times = _publish_times(context, span, inside, outside, folded=folded)
            again = (context, proof.service, proof.group)
            if times is not None and again not in waited:
                waited.add(again)
                sums.wait[Histogram.bucket(queue_wait_ns(start, *times))] += sign


def _publish_times(
    context: Context, consumer: Span, inside: Mapping[Context, HopEvidence], outside: Times, *, folded: bool
) -> tuple[int, int] | None:
    publish = inside.get(context)
    if publish is not None:
        return publish.span.start_ns, publish.span.end_ns
    if folded and context.trace_id == consumer.trace_id:
        # Judged whole, a trace says itself what of it was a publish: else the same set could give two results.
        return None
    return outside.get(context)


def queue_wait_ns(consumed_ns: int, publish_start_ns: int, publish_end_ns: int) -> int:
    """How long a message lay in the broker: a publish call that returned late counts from its start; never negative."""
    return max(0, consumed_ns - (publish_end_ns if publish_end_ns <= consumed_ns else publish_start_ns))


def messages_of(proof: HopEvidence) -> int:
    """How many messages a hop's span stands for."""
    batch = proof.span.messaging.batch_size if proof.span.messaging else None
    if proof.side is Side.CONSUME:
        return len(proof.contexts) or _plausible(batch)
    return _plausible(batch)


def _plausible(batch: int | None) -> int:
    return min(max(batch or 1, 1), MAX_BATCH)


def edge_key(proof: HopEvidence, publishes: Collection[HopEvidence] = ()) -> EdgeKey:
    """The edge a hop lies on; what a consumer does not say about the destination its publisher does."""
    destination = proof.destination or next((p.destination for p in publishes if p.destination), None)
    system = proof.system or next((p.system for p in publishes if p.system), None)
    consumes = proof.side is Side.CONSUME
    return EdgeKey(
        "consume" if consumes else "publish",
        fit(proof.service),
        fit(system, 40),
        fit(destination),
        fit(proof.group) if consumes else "",
    )


def write(delta: Delta) -> None:
    """Store the sums. Inside the step's transaction."""
    sums = {where: added for where, added in delta.sums.items() if not added.empty()}
    ids = edge_ids({key for key, _ in sums}, delta.bounds)
    parts: dict[int, list[tuple[int, Sums]]] = defaultdict(list)
    for (key, at), added in sums.items():
        parts[at].append((ids[key], added))
    slots.add(SLOT_SECONDS, {at: cells(added) for at, added in parts.items()})


def cells(sums: Iterable[tuple[int, Sums]]) -> slots.Cells:
    """What edges add to one slot."""
    found: dict[int, int] = {}
    for edge_id, added in sums:
        base = edge_id * slots.WIDTH
        found[base + slots.COUNT] = added.count
        found[base + slots.ERRORS] = added.errors
        found.update((base + slots.PROCESSING + bucket, count) for bucket, count in added.processing.items())
        found.update((base + slots.WAIT + bucket, count) for bucket, count in added.wait.items())
    keys = np.fromiter(found, np.int64, len(found))
    return slots.combined([slots.Cells(keys, np.fromiter(found.values(), np.int64, len(found)))])


def digest_of(key: EdgeKey) -> str:
    """An edge's identity in one short column."""
    parts = (key.kind, key.service, key.system, key.destination, key.group)
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def edge_ids(keys: Collection[EdgeKey], bounds: Mapping[EdgeKey, tuple[int, int]]) -> dict[EdgeKey, int]:
    """The ids of edges, made where they are new, their first and last time widened."""
    digests = {digest_of(key): key for key in keys}
    stored: dict[str, tuple[int, int, int]] = {}
    for digest, edge_id, first, last in select(Edge, ("digest", "id", "first_ns", "last_ns"), {"digest": digests}):
        stored[digest] = (edge_id, first, last)
    changes = []
    for digest, key in digests.items():
        first, last = bounds.get(key, (0, 0))
        if digest in stored:
            _, old_first, old_last = stored[digest]
            if key not in bounds or (old_first <= first and old_last >= last):
                continue
            first, last = min(first, old_first), max(last, old_last)
        changes.append((digest, key.kind, key.service, key.system, key.destination, key.group, first, last))
    insert(
        Edge,
        ("digest", "kind", "service", "system", "destination", "group", "first_ns", "last_ns"),
        changes,
        unique=("digest",),
        update=("first_ns", "last_ns"),
    )
    if len(stored) < len(digests):
        stored.update({digest: (pk, 0, 0) for digest, pk in select(Edge, ("digest", "id"), {"digest": digests})})
    return {key: stored[digest][0] for digest, key in digests.items()}
