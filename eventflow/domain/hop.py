"""What one span proves about a message hop: who published or consumed what, where, in which group, from which context.

`evidence` judges a span alone and never guesses a partner; what several spans of one message mean together is judged in
`hops`. Field by field it tells which attribute or fallback gave the value.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
FAILED_OUTCOMES = {"nack", "nak", "reject", "dead_letter", "term"}
_RETRY_SUFFIX = re.compile(r"-(?:retry(?:-\d+)?|dlt)$")
_ROUTING_KEYS = ("messaging.rabbitmq.destination.routing_key", "messaging.rabbitmq.routing_key")
_SPAN_PER_RECORD = "opentelemetry.instrumentation.aiokafka"
"""Links its spans of a poll and of a partition to the spans of their records, which say all of it once more."""
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
    """What `span` proves alone; None for plumbing: no messaging, empty polls, declarations, records put back, and
    polls around spans of their own for each record."""
    messaging = span.messaging
    if messaging is None:
        return None
    side = _SIDES[messaging.operation] if messaging.operation else _SIDES_BY_KIND.get(span.kind)
    if side is None or messaging.batch_size == 0 or (side is Side.CONSUME and put_back(span)):
        return None
    if messaging.batch_size is not None and span.scope == _SPAN_PER_RECORD:
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
        failed=span.status is SpanStatus.ERROR or messaging.outcome in FAILED_OUTCOMES,
        failure=failure_of(span),
        rules=rules,
    )


def parent_of(span: Span) -> Context | None:
    """The parent's address; it may lie in another process. No span is its own parent."""
    return Context(span.trace_id, span.parent_id) if span.parent_id and span.parent_id != span.span_id else None


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
