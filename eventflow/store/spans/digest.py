"""One step of turning the inbox into what can be read: prepared without a lock, written in one short transaction.

Everything is computed first, on the tables as they were at one generation; the transaction then counts the generation
up, or finds that another step was faster and writes nothing. The inbox rows go in that same transaction, so a crash
leaves either the rows or their spans, sums and lines, never both and never neither.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import zstandard
from django.db import transaction

from eventflow.domain.hop import Context, HopEvidence, Side, evidence
from eventflow.domain.observations import Span
from eventflow.store.models import Generation, Inbox, MessageTrace, Rejected, StoredLink, StoredSpan
from eventflow.store.queries import flow_evidence
from eventflow.store.spans import codec, edges, libraries, load, membership, summaries
from eventflow.store.spans.membership import Membership, own_key
from eventflow.store.spans.rows import insert
from eventflow.store.spans.text import fit, fit_ns

log = logging.getLogger(__name__)

STEP_REQUESTS = 64
STEP_SPANS = 2_000
"""A step takes requests until it has this many spans: it bounds how long the one writer is kept from others."""

Decode: TypeAlias = Callable[[bytes], Sequence[Span]]
Traces: TypeAlias = dict[str, dict[Context, Span]]
_SIDES = {Side.PUBLISH: "p", Side.CONSUME: "c", Side.SETTLE: ""}


@dataclass(frozen=True, slots=True)
class Digested:
    """What a step did. Nothing at all (`requests` 0) when the inbox was empty or another process was faster."""

    requests: int = 0
    spans: int = 0
    new_spans: int = 0
    rejected: int = 0
    flow_keys: frozenset[str] = frozenset()
    services_seen: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    """(system, destination, group) → the service whose spans name them."""
    edges_changed: bool = False
    full: bool = False
    """It took as much as a step takes: more may wait."""


class OutdatedError(Exception):
    """Another step wrote first; what was prepared is thrown away."""


@dataclass(slots=True)
class _Step:
    """A step's work, ready to be written."""

    request_ids: list[int]
    rejected: list[Rejected]
    new: Traces
    rows: list[tuple[object, ...]]
    proofs: dict[Context, HopEvidence]
    members: Membership
    delta: edges.Delta
    lines: summaries.Refreshed
    keys: frozenset[str]


def digest(now: datetime, *, decode: Decode, limit: int = STEP_REQUESTS) -> Digested:
    """Take up to `limit` requests out of the inbox, oldest first. What the database raises, it raises, nothing done."""
    generation = current_generation()
    ids, arrived, total, rejected = _take(now, decode, limit)
    if not ids:
        return Digested()
    step = _prepare(ids, arrived, rejected, now)
    counts = libraries.count(span for spans in step.new.values() for span in spans.values())
    try:
        with transaction.atomic():
            advance(generation)
            _write(step)
            libraries.write(counts)
    except OutdatedError:
        return Digested()
    return Digested(
        requests=len(ids),
        spans=total,
        new_spans=sum(map(len, step.new.values())),
        rejected=len(rejected),
        flow_keys=step.keys,
        services_seen=_services(step.proofs.values()),
        full=len(ids) >= limit or total >= STEP_SPANS,
        edges_changed=any(not sums.empty() for sums in step.delta.sums.values()),
    )


def current_generation() -> int:
    """The state that a step is about to be prepared on."""
    row = Generation.objects.filter(pk=1).values_list("number", flat=True).first()
    if row is None:
        insert(Generation, ("id", "number"), [(1, 0)], unique=("id",))
        return 0
    return row


def advance(generation: int) -> None:
    """Claim the next generation. Inside the step's transaction; raises OutdatedError when somebody else had it."""
    if not Generation.objects.filter(pk=1, number=generation).update(number=generation + 1):
        raise OutdatedError


def _take(now: datetime, decode: Decode, limit: int) -> tuple[list[int], list[Span], int, list[Rejected]]:
    ids: list[int] = []
    arrived: list[Span] = []
    rejected: list[Rejected] = []
    decompressor = zstandard.ZstdDecompressor()
    rows = Inbox.objects.order_by("id")[:limit]
    for pk, packed, received_at in rows.values_list("id", "body", "received_at").iterator(chunk_size=8):
        ids.append(pk)
        try:
            arrived.extend(decode(decompressor.decompress(bytes(packed))))
        except Exception as error:
            # Whatever is wrong with one body must not stop those behind it.
            log.exception("request %s could not be read and was put aside", pk)
            reason = fit(f"{type(error).__name__}: {error}")
            rejected.append(Rejected(body=bytes(packed), reason=reason, received_at=received_at, rejected_at=now))
        if len(arrived) >= STEP_SPANS:
            break
    return ids, arrived, len(arrived), rejected


def _prepare(ids: list[int], arrived: Collection[Span], rejected: list[Rejected], now: datetime) -> _Step:
    sent = load.by_trace(arrived)
    sizes = load.span_counts(sent.keys())
    huge = {trace for trace, size in sizes.items() if size > edges.FOLD_LIMIT}
    old: Traces = load.spans_of(sent.keys() - huge)
    taken = load.existing([context for trace in huge for context in sent[trace]])
    new: Traces = {}
    for trace, spans in sent.items():
        known: Collection[Context] = old.get(trace, taken)
        if fresh := {context: span for context, span in spans.items() if context not in known}:
            new[trace] = fresh
    proofs = {context: proof for spans in new.values() for context, span in spans.items() if (proof := evidence(span))}
    members = membership.settle(new)
    backlinked = _backlinked(new, proofs)
    delta = _edge_delta(new, old, proofs, backlinked)
    touched = new.keys() | members.after.keys()
    keys = members.keys(touched)
    keys.update(key for origins in load.members(backlinked - touched).values() for key in origins)
    # Lines that a letter's trace alone made: the trace is here now and may belong elsewhere.
    keys.update(load.lines(new.keys() - members.before.keys()))
    traces_of = _traces_of(keys, members)
    loaded = {trace: {**old.get(trace, {}), **new.get(trace, {})} for trace in sent if trace not in huge}
    grown = {trace: size + len(new.get(trace, ())) for trace, size in sizes.items() if trace in huge}
    lines = summaries.prepare(traces_of, loaded, grown, _consumers(delta), now)
    return _Step(ids, rejected, new, _span_rows(new, proofs), proofs, members, delta, lines, frozenset(keys))


def _backlinked(new: Traces, proofs: Mapping[Context, HopEvidence]) -> set[str]:
    """Traces that were here before and link to what is published now: their waits become known."""
    published = [context for context, proof in proofs.items() if proof.side is Side.PUBLISH]
    return load.linking_to(published) - new.keys()


def _edge_delta(
    new: Traces, old: Traces, proofs: Mapping[Context, HopEvidence], backlinked: Collection[str]
) -> edges.Delta:
    delta = edges.Delta()
    sizes = load.span_counts(backlinked)
    known = {trace: spans for trace, spans in old.items() if trace in new}
    known.update(load.spans_of({trace for trace, size in sizes.items() if size <= edges.FOLD_LIMIT}))
    published = {
        context: (fit_ns(proof.span.start_ns), fit_ns(proof.span.end_ns))
        for context, proof in proofs.items()
        if proof.side is Side.PUBLISH
    }
    judged = {trace: {**known.get(trace, {}), **new.get(trace, {})} for trace in known.keys() | new.keys()}
    linked = {
        Context(link.trace_id, link.span_id)
        for trace, spans in judged.items()
        for span in spans.values()
        for link in span.links
        if link.trace_id != trace or trace not in known
    }
    parents = {
        Context(span.trace_id, span.parent_id)
        for trace in new.keys() - old.keys()
        for span in new[trace].values()
        if span.parent_id
    }
    before = load.publish_times(linked | parents)
    after = {**before, **published}
    for trace, spans in judged.items():
        earlier = known.get(trace, {})
        if trace not in known or len(spans) > edges.FOLD_LIMIT:
            # Too long to be judged whole; what was judged whole while it was shorter is taken out once.
            delta.add(new[trace].values(), after, 1, folded=False)
            if earlier:
                delta.add(earlier.values(), before, -1, folded=True)
                delta.add(earlier.values(), after, 1, folded=False)
            continue
        if earlier:
            delta.add(earlier.values(), before, -1, folded=True)
        delta.add(spans.values(), after, 1, folded=True)
    return delta


def _traces_of(keys: Collection[str], members: Membership) -> dict[str, set[str]]:
    """Flow → its traces, once the membership is written."""
    found = load.traces_of(keys)
    for trace, origins in members.after.items():
        for key in members.before.get(trace, {}):
            if key in found:
                found[key].discard(trace)
        for key in origins:
            found[key].add(trace)
    return found


def _consumers(delta: edges.Delta) -> flow_evidence.Consumers:
    """Who reads what, this step's spans included."""
    seen = [(key.destination, key.group, *times) for key, times in delta.bounds.items() if key.kind == "consume"]
    return flow_evidence.consumers().joined(seen)


def _write(step: _Step) -> None:
    Rejected.objects.bulk_create(step.rejected)
    insert(
        StoredSpan,
        ("trace_id", "span_id", "start_ns", "end_ns", "side", "correlation_id", "body"),
        step.rows,
        unique=("trace_id", "span_id"),
    )
    spans = [span for spans in step.new.values() for span in spans.values()]
    links = {
        (span.trace_id, span.span_id, link.trace_id, link.span_id)
        for span in spans
        for link in span.links
        if link.trace_id != span.trace_id
    }
    insert(StoredLink, ("trace_id", "span_id", "linked_trace_id", "linked_span_id"), sorted(links))
    messages = {
        (fit(name), proof.span.trace_id) for proof in step.proofs.values() for name in proof.message_ids if name
    }
    insert(MessageTrace, ("message_id", "trace_id"), sorted(messages), unique=("message_id", "trace_id"))
    membership.write(step.members)
    edges.write(step.delta)
    summaries.write(step.lines)
    Inbox.objects.filter(pk__in=step.request_ids).delete()


def _span_rows(new: Traces, proofs: Mapping[Context, HopEvidence]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for trace in sorted(new):
        for context, span in new[trace].items():
            proof = proofs.get(context)
            side = _SIDES[proof.side] if proof else ""
            times = fit_ns(span.start_ns), fit_ns(span.end_ns)
            rows.append((trace, span.span_id, *times, side, own_key(span), codec.encode(span)))
    return rows


def _services(proofs: Iterable[HopEvidence]) -> dict[tuple[str, str, str], str]:
    return {
        (proof.system or "", proof.destination or "", proof.group): proof.service
        for proof in proofs
        if proof.side is Side.CONSUME and proof.group
    }
