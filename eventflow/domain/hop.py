"""What one span proves about a message hop: who published or consumed what, where, in which group, from which context.

`evidence` judges a span alone; `hops` judges a set of spans and gives each message once, however many spans its client
library made of it. Spans are never dropped silently: a span that another one speaks for stands in that one's `folded`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from eventflow.domain.failure import Failure, failure_of, put_back, text_of
from eventflow.domain.observations import Messaging, Operation, Span, SpanKind, SpanStatus


class Context(NamedTuple):
    """A span's address. As a *creation context* it is what a message carries in its headers."""

    trace_id: str
    span_id: str


class Side(StrEnum):
    """Which end of a hop a span saw."""

    PUBLISH = "publish"
    CONSUME = "consume"
    SETTLE = "settle"


_SIDES = {
    Operation.CREATE: Side.PUBLISH,
    Operation.SEND: Side.PUBLISH,
    Operation.RECEIVE: Side.CONSUME,
    Operation.PROCESS: Side.CONSUME,
    Operation.SETTLE: Side.SETTLE,
}
_SIDES_BY_KIND = {SpanKind.PRODUCER: Side.PUBLISH, SpanKind.CONSUMER: Side.CONSUME}
_FAILED_OUTCOMES = {"nack", "nak", "reject", "dead_letter", "term"}
_RETRY_SUFFIX = re.compile(r"-(?:retry(?:-\d+)?|dlt)$")
_ROUTING_KEYS = ("messaging.rabbitmq.destination.routing_key", "messaging.rabbitmq.routing_key")
_LINK_MESSAGE_IDS = ("messaging.message.id", "messaging.message_id")


@dataclass(frozen=True, slots=True)
class HopEvidence:
    """One span as evidence for a hop.

    contexts  publish: under which contexts the message can have travelled; consume: which contexts it came with
    failed    the span or its settlement says so; an exception that was caught leaves `failed` False but `failure` set
    rules     field → attribute or fallback that gave it
    folded    other spans that saw the same thing
    """

    span: Span
    side: Side
    operation: Operation | None
    system: str | None
    destination: str | None
    group: str | None
    contexts: tuple[Context, ...]
    message_ids: tuple[str, ...] = ()
    partition: str | None = None
    offset: str | None = None
    correlation_id: str | None = None
    event_type: str | None = None
    attempt: int | None = None
    outcome: str | None = None
    failed: bool = False
    failure: Failure | None = None
    rules: Mapping[str, str] = field(default_factory=dict)
    folded: tuple[Context, ...] = ()

    @property
    def context(self) -> Context:
        return Context(self.span.trace_id, self.span.span_id)

    @property
    def service(self) -> str:
        return self.span.service

    @property
    def spans(self) -> tuple[Context, ...]:
        """Every span this evidence stands for."""
        return (self.context, *self.folded)


def evidence(span: Span) -> HopEvidence | None:
    """What `span` proves alone; None for plumbing: no messaging, empty polls, declarations, records put back unprocessed."""
    messaging = span.messaging
    if messaging is None:
        return None
    side = _SIDES[messaging.operation] if messaging.operation else _SIDES_BY_KIND.get(span.kind)
    if side is None or messaging.batch_size == 0 or (side is Side.CONSUME and put_back(span)):
        return None
    rules = dict(messaging.rules)
    destination = _destination(span, messaging, rules)
    contexts = _contexts(span, side)
    if side is Side.CONSUME and messaging.operation is Operation.RECEIVE and destination is None and not span.links:
        return None
    return HopEvidence(
        span=span,
        side=side,
        operation=messaging.operation,
        system=messaging.system,
        destination=destination,
        group=_group(span, messaging, destination, rules) if side is not Side.PUBLISH else None,
        contexts=contexts,
        message_ids=_message_ids(span, messaging),
        partition=messaging.partition,
        offset=messaging.offset,
        correlation_id=span.correlation_id or messaging.correlation_id,
        event_type=messaging.event_type,
        attempt=messaging.attempt,
        outcome=messaging.outcome,
        failed=span.status is SpanStatus.ERROR or messaging.outcome in _FAILED_OUTCOMES,
        failure=failure_of(span),
        rules=rules,
    )


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
    """Publishes and consumptions of a set of spans, each once, in order of time. The result does not depend on the order given."""
    by_context = unique(spans)
    found = {context: proof for context, span in by_context.items() if (proof := evidence(span)) is not None}
    order = sorted(found, key=lambda context: (by_context[context].start_ns, context))
    _settle(found, by_context, order)
    _fold_publishes(found, order)
    _judge_contexts(found, by_context, order)
    _fold_nested_consumers(found, order)
    _fold_received(found, order)
    return tuple(found[context] for context in order if context in found)


def parent_of(span: Span) -> Context | None:
    """The parent's address; it may lie in another process."""
    return Context(span.trace_id, span.parent_id) if span.parent_id else None


def _rank(span: Span) -> tuple[int, int, str]:
    return (span.end_ns, -span.start_ns, repr(span))


def _destination(span: Span, messaging: Messaging, rules: dict[str, str]) -> str | None:
    if messaging.destination:
        return messaging.destination
    for name in _ROUTING_KEYS:
        if key := text_of(span.attributes, name):
            rules["destination"] = f"{name} (the destination is empty)"
            return key
    return None


def _group(span: Span, messaging: Messaging, destination: str | None, rules: dict[str, str]) -> str:
    group = messaging.group
    if not group or group == "none":
        rules["group"] = "service.name (inferred)"
        return span.service
    if destination and _RETRY_SUFFIX.search(group) and _RETRY_SUFFIX.search(destination):
        rules["group"] = f"{rules.get('group', 'group')} without the retry topic's suffix ({group})"
        return _RETRY_SUFFIX.sub("", group)
    return group


def _contexts(span: Span, side: Side) -> tuple[Context, ...]:
    links = tuple(dict.fromkeys(Context(link.trace_id, link.span_id) for link in span.links))
    if side is Side.PUBLISH:
        batch = span.kind is SpanKind.CLIENT and links
        return links if batch else (Context(span.trace_id, span.span_id),)
    if links:
        return links
    parent = parent_of(span)
    return (parent,) if parent else ()


def _message_ids(span: Span, messaging: Messaging) -> tuple[str, ...]:
    own = [messaging.message_id] if messaging.message_id else []
    linked = [text_of(link.attributes, name) for link in span.links for name in _LINK_MESSAGE_IDS]
    return tuple(dict.fromkeys(value for value in (*own, *linked) if value))


def _settle(found: dict[Context, HopEvidence], spans: Mapping[Context, Span], order: list[Context]) -> None:
    """A settlement is no hop: it tells how the consumption around it ended."""
    for context in order:
        proof = found[context]
        if proof.side is not Side.SETTLE:
            continue
        del found[context]
        consumer = _consumer_around(proof, found, spans)
        if consumer is not None:
            failed = consumer.failed or proof.outcome in _FAILED_OUTCOMES
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
    """A link is not always where the message came from: an ambient span is linked too when the creation context is the parent."""
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
