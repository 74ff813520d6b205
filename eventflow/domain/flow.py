"""A flow, put together from its spans, dead letters and replays: `assemble` for the whole, `summarise` for its line.

Pure: the same things in any order, or twice, give the same flow, and every span given stands somewhere in it. Broken
and hostile spans (circles, absurd times) give a flow too.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow_build import Builder
from eventflow.domain.flow_joins import Joins
from eventflow.domain.flow_letters import place_letters, place_replays
from eventflow.domain.flow_model import (
    Attempt,
    DeadLettering,
    Delivery,
    DeliveryStatus,
    Flow,
    FlowLetter,
    FlowReplay,
    JoinedBy,
    KeyOrigin,
    LetterStatus,
    Publication,
    ReplayState,
    children_of,
)
from eventflow.domain.flow_status import flow_status, service_marks
from eventflow.domain.flow_summary import STATUS_WORDS, FlowStatus, FlowSummary, ServiceMark
from eventflow.domain.hop import Context
from eventflow.domain.hops import hops, unique
from eventflow.domain.observations import Span

__all__ = [
    "STATUS_WORDS",
    "Attempt",
    "DeadLettering",
    "Delivery",
    "DeliveryStatus",
    "Flow",
    "FlowLetter",
    "FlowReplay",
    "FlowStatus",
    "FlowSummary",
    "JoinedBy",
    "KeyOrigin",
    "LetterStatus",
    "Publication",
    "ReplayState",
    "ServiceMark",
    "assemble",
    "children_of",
    "summarise",
]


def assemble(
    key: str,
    spans: Iterable[Span],
    letters: Sequence[FlowLetter] = (),
    replays: Sequence[FlowReplay] = (),
    *,
    now: datetime,
    consumers: Mapping[str, Collection[str]] | None = None,
) -> Flow:
    """The flow `key`.

    consumers  destination → groups known to read it *and to send spans*. With it a publication waits exactly for those
               it has not reached; without it, a publication waits while nobody consumed it.
    """
    by_context = unique(spans)
    letters = tuple(sorted({letter.id: letter for letter in letters}.values(), key=lambda x: x.id))
    replays = tuple(sorted({replay.id: replay for replay in replays}.values(), key=lambda x: x.id))
    proofs = hops(by_context.values())
    joins = Joins(by_context, proofs)
    by_letter_id = {letter.id: letter for letter in letters}
    for replay in replays:
        joins.add_replay(replay, by_letter_id.get(replay.letter_id or ""), nanoseconds(replay.at) if replay.at else 0)
    joins.join()
    unplaced = place_letters(joins, letters)
    place_replays(joins)
    builder = Builder(joins, nanoseconds(now), consumers)
    roots = builder.roots()
    in_hops = {context for proof in proofs for context in proof.spans}
    started, ended = _bounds(by_context.values(), letters, now)
    status, place = flow_status(roots, unplaced, by_context.values() if not proofs else ())
    carried = {proof.context for proof in proofs if proof.correlation_id == key}
    return Flow(
        key=key,
        kind="correlation" if carried or _holds(key, by_context.values(), letters) else "trace",
        status=status,
        status_place=place,
        started_ns=started,
        ended_ns=ended,
        roots=roots,
        trace_ids=_trace_ids(by_context.values()),
        services=service_marks(roots, by_context.values()),
        key_origin=_origin(key, by_context, carried, letters),
        spans=by_context,
        other_spans=tuple(
            sorted(by_context.keys() - in_hops, key=lambda context: (by_context[context].start_ns, context))
        ),
        unplaced_letters=unplaced,
        letters=letters,
        replays=replays,
    )


def summarise(flow: Flow) -> FlowSummary:
    """The flow's line in a list."""
    dead = {id(d.dead_lettering.publication) for d in flow.deliveries() if d.dead_lettering}
    events = [p for p in flow.publications() if id(p) not in dead and not p.replay]
    deliveries = list(flow.deliveries())
    seen = [p for p in events if p.destination]
    return FlowSummary(
        key=flow.key,
        kind=flow.kind,
        status=flow.status,
        place=flow.status_place,
        started_ns=flow.started_ns,
        ended_ns=flow.ended_ns,
        first_destination=seen[0].destination if seen else None,
        first_service=seen[0].service if seen else next((mark.name for mark in flow.services), None),
        services=flow.services,
        destinations=tuple(dict.fromkeys(p.destination for p in seen if p.destination)),
        event_types=tuple(dict.fromkeys(p.event_type for p in events if p.event_type)),
        events=len(events),
        deliveries=len(deliveries),
        failed=sum(delivery.failed for delivery in deliveries),
        spans=len(flow.spans),
        traces=len(flow.trace_ids),
        letters=len(flow.letters),
    )


def _bounds(spans: Iterable[Span], letters: Sequence[FlowLetter], now: datetime) -> tuple[int, int]:
    times = [t for span in spans for t in (span.start_ns, max(span.start_ns, span.end_ns))]
    if not times:
        times = [nanoseconds(letter.failed_at) for letter in letters if letter.failed_at]
    return (min(times), max(times)) if times else (nanoseconds(now), nanoseconds(now))


def _trace_ids(spans: Iterable[Span]) -> tuple[str, ...]:
    first: dict[str, int] = {}
    for span in spans:
        first[span.trace_id] = min(first.get(span.trace_id, span.start_ns), span.start_ns)
    return tuple(sorted(first, key=lambda trace_id: (first[trace_id], trace_id)))


def _holds(key: str, spans: Iterable[Span], letters: Sequence[FlowLetter]) -> bool:
    return any(span.correlation_id == key for span in spans) or any(x.correlation_id == key for x in letters)


def _origin(
    key: str, spans: Mapping[Context, Span], carried: set[Context], letters: Sequence[FlowLetter]
) -> KeyOrigin | None:
    direct = carried | {context for context, span in spans.items() if span.correlation_id == key}
    if direct:
        rules = Counter(_rule(spans[context]) for context in direct)
        rule = min(rules, key=lambda name: (-rules[name], name))
        guess = all(len(spans[context].links) > 1 for context in direct)
        return KeyOrigin(rule, len(direct), len(spans) - len(direct), guess)
    holder = next((letter for letter in letters if letter.correlation_id == key), None)
    if holder is None:
        return None
    return KeyOrigin(f"dead letter, {holder.correlation_rule or 'header'}", 0, len(spans))


def _rule(span: Span) -> str:
    messaging = span.messaging.rules.get("correlation_id") if span.messaging else None
    return span.correlation_rule or messaging or "messaging.message.conversation_id"
