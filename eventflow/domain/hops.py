"""A set of spans as message hops: each publish and each consumption once, however many spans a library made of it.

`hops` promises that neither order nor repetition of the spans changes the result, and that no span vanishes: one that
another speaks for stands in that one's `folded`. Joining consumers to publishes is `flow`'s work, not done here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from eventflow.domain.hop import FAILED_OUTCOMES, Context, HopEvidence, Side, evidence, parent_of
from eventflow.domain.observations import Operation, Span


def unique(spans: Iterable[Span]) -> dict[Context, Span]:
    """The spans by address; of two that share one, always the same wins, whatever the order."""
    found: dict[Context, Span] = {}
    for span in spans:
        context = Context(span.trace_id, span.span_id)
        other = found.get(context)
        if other is None or (span != other and _rank(span) > _rank(other)):
            found[context] = span
    return found


def hops(spans: Iterable[Span]) -> tuple[HopEvidence, ...]:
    """Publishes and consumptions of a set of spans, each once, in order of time."""
    by_context = unique(spans)
    found = {context: proof for context, span in by_context.items() if (proof := evidence(span)) is not None}
    order = sorted(found, key=lambda context: (by_context[context].start_ns, context))
    _settle(found, by_context, order)
    _fold_publishes(found, order)
    _judge_contexts(found, by_context, order)
    _fold_nested_consumers(found, order)
    _fold_received(found, order)
    return tuple(found[context] for context in order if context in found)


def _rank(span: Span) -> tuple[int, int, str]:
    return (span.end_ns, -span.start_ns, repr(span))


def _settle(found: dict[Context, HopEvidence], spans: Mapping[Context, Span], order: list[Context]) -> None:
    """A settlement is no hop: it tells how the consumption around it ended."""
    for context in order:
        proof = found[context]
        if proof.side is not Side.SETTLE:
            continue
        del found[context]
        consumer = _consumer_around(proof, found, spans)
        if consumer is not None:
            failed = consumer.failed or proof.outcome in FAILED_OUTCOMES
            found[consumer.context] = replace(
                consumer,
                outcome=proof.outcome or consumer.outcome,
                failed=failed,
                folded=(*consumer.folded, context),
            )


def _consumer_around(
    proof: HopEvidence, found: Mapping[Context, HopEvidence], spans: Mapping[Context, Span]
) -> HopEvidence | None:
    at, seen = parent_of(proof.span), set[Context]()
    while at is not None and at not in seen:
        seen.add(at)
        consumer = found.get(at)
        if consumer is not None and consumer.side is Side.CONSUME:
            return consumer
        span = spans.get(at)
        at = parent_of(span) if span else None
    return None


def _fold_publishes(found: dict[Context, HopEvidence], order: list[Context]) -> None:
    """Nested PRODUCER doubles (pika) and create + send: one publish, the one whose context travels in the headers."""
    for context in order:
        inner = found.get(context)
        if inner is None or inner.side is not Side.PUBLISH:
            continue
        parent = parent_of(inner.span)
        outer = found.get(parent) if parent else None
        if outer is not None and _same_publish(outer, inner):
            del found[outer.context]
            found[context] = replace(
                inner,
                contexts=tuple(dict.fromkeys((*inner.contexts, *outer.contexts))),
                folded=(*inner.folded, *outer.spans),
            )
    for context in order:
        send = found.get(context)
        if send is None or send.operation is not Operation.SEND:
            continue
        targets = [Context(link.trace_id, link.span_id) for link in send.span.links]
        created = [found[t] for t in targets if t in found and found[t].operation is Operation.CREATE]
        if len(created) == 1:
            del found[created[0].context]
            contexts = tuple(dict.fromkeys((*created[0].contexts, *send.contexts, context)))
            found[context] = replace(
                send,
                contexts=contexts,
                folded=(*send.folded, *created[0].spans),
                message_ids=tuple(dict.fromkeys((*send.message_ids, *created[0].message_ids))),
                event_type=send.event_type or created[0].event_type,
            )
        elif created:
            del found[context]
            first = created[0]
            found[first.context] = replace(first, folded=(*first.folded, *send.spans))


def _same_publish(outer: HopEvidence, inner: HopEvidence) -> bool:
    return (
        outer.side is Side.PUBLISH
        and outer.service == inner.service
        and (outer.destination == inner.destination or outer.span.name == inner.span.name)
    )


def _judge_contexts(found: dict[Context, HopEvidence], spans: Mapping[Context, Span], order: list[Context]) -> None:
    """A link is not always where the message came from: where that is the parent, the ambient span is linked."""
    created = {context for proof in found.values() if proof.side is Side.PUBLISH for context in proof.contexts}
    for context in order:
        proof = found.get(context)
        if proof is None or proof.side is not Side.CONSUME:
            continue
        parent = parent_of(proof.span)
        candidates = tuple(dict.fromkeys((*proof.contexts, *((parent,) if parent else ()))))
        known = tuple(candidate for candidate in candidates if candidate in created)
        if known:
            unseen = tuple(c for c in proof.contexts if c not in spans)
            found[context] = replace(proof, contexts=tuple(dict.fromkeys((*known, *unseen))))
        elif parent and not proof.span.links and parent in spans and spans[parent].service == proof.service:
            # The parent is the consumer's own poll loop, no message's sender; a receive around it is folded below.
            outer = found.get(parent)
            if outer is None or outer.side is not Side.CONSUME:
                found[context] = replace(proof, contexts=())


def _fold_nested_consumers(found: dict[Context, HopEvidence], order: list[Context]) -> None:
    """Poll → partition → record, receive → process: the innermost is the delivery, those around it repeat it."""
    outside = {c: outer for c in order if (outer := _consumer_outside(c, found)) is not None}
    depth = _depths(outside)
    inner_of: dict[Context, list[Context]] = {}
    for context in order:
        if context in outside and depth[context] > 0:
            inner_of.setdefault(outside[context], []).append(context)
    for context in sorted(inner_of, key=lambda c: (depth.get(c, 0), c)):
        outer_proof = found[context]
        covered: set[Context] = set()
        for child in inner_of[context]:
            inner = found[child]
            own = tuple(c for c in inner.contexts if c != context)
            if not own and len(outer_proof.contexts) == 1:
                own = outer_proof.contexts
            found[child] = replace(inner, contexts=own, group=_better_group(inner, outer_proof))
            covered.update(own)
        _take_over(found, outer_proof, inner_of[context][0], covered)


def _consumer_outside(context: Context, found: Mapping[Context, HopEvidence]) -> Context | None:
    inner = found.get(context)
    parent = parent_of(inner.span) if inner is not None and inner.side is Side.CONSUME else None
    outer = found.get(parent) if parent else None
    if inner is None or outer is None or outer.side is not Side.CONSUME or outer.service != inner.service:
        return None
    same = outer.destination == inner.destination or outer.span.name == inner.span.name
    return outer.context if outer.operation is Operation.RECEIVE or same else None


def _depths(outside: Mapping[Context, Context]) -> dict[Context, int]:
    """How many consumers stand around each; 0 where they stand around each other, which only broken spans do."""
    depth: dict[Context, int] = {}
    for context in outside:
        path: dict[Context, None] = {}
        at: Context | None = context
        while at is not None and at in outside and at not in depth and at not in path:
            path[at] = None
            at = outside[at]
        circle = at is not None and at in path
        below = 0 if at is None else depth.get(at, 0)
        for step in reversed(path):
            below = 0 if circle else below + 1
            depth[step] = below
    return depth


def _fold_received(found: dict[Context, HopEvidence], order: list[Context]) -> None:
    """A receive and a process of the same message, side by side: count it once, where the work was done."""
    processed: dict[tuple[str, Context], list[Context]] = {}
    for context in order:
        proof = found.get(context)
        if proof is not None and proof.side is Side.CONSUME and proof.operation is not Operation.RECEIVE:
            for created in proof.contexts:
                processed.setdefault((proof.service, created), []).append(context)
    for context in order:
        proof = found.get(context)
        if proof is None or proof.operation is not Operation.RECEIVE:
            continue
        covered = {created for created in proof.contexts if (proof.service, created) in processed}
        if covered:
            _take_over(found, proof, processed[proof.service, min(covered)][0], covered)


def _take_over(found: dict[Context, HopEvidence], outer: HopEvidence, heir: Context, covered: set[Context]) -> None:
    """Drop `outer` for `heir`, except for messages nothing inside it covers: received and not yet processed."""
    created = {c for proof in found.values() if proof.side is Side.PUBLISH for c in proof.contexts}
    left = tuple(c for c in outer.contexts if c in created and c not in covered)
    if left:
        found[outer.context] = replace(outer, contexts=left)
        return
    del found[outer.context]
    inner = found[heir]
    found[heir] = replace(inner, folded=(*inner.folded, *outer.spans))


def _better_group(inner: HopEvidence, outer: HopEvidence) -> str | None:
    """The poll often knows the group where the spans inside it do not."""
    inferred = inner.rules.get("group", "").startswith("service.name")
    return outer.group if inferred and outer.group else inner.group
