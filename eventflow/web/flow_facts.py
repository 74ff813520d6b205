"""What is known of one row of a timeline: times, place at the broker, ids, attributes, the spans inside. Pure.

Every fact names where it came from, where that is not its own name.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eventflow.domain import redaction
from eventflow.domain.clock import instant
from eventflow.domain.flow import Flow, JoinedBy
from eventflow.domain.hop import Context, evidence
from eventflow.domain.observations import Attributes, Span
from eventflow.domain.timeline import Row, RowKind
from eventflow.web.flow_axis import length
from eventflow.web.formats import clock, size


@dataclass(frozen=True, slots=True)
class Pair:
    """A name with its value. `url` makes it a link, `code` shows it in mono, `copy` lets it be copied."""

    name: str
    value: str
    code: bool = False
    copy: bool = False
    url: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Inside:
    """A span within the selected step."""

    name: str
    service: str
    length: str
    id: str
    failed: bool


def _at(ns: int) -> str:
    at = instant(ns)
    return f"{at.day} {at:%b} {clock(at, millis=True)}"


def timing(flow: Flow, row: Row) -> Iterable[Pair]:
    delivery = row.delivery
    yield Pair("At", _at(row.at_ns))
    yield Pair("Since start", length(row.at_ns - flow.started_ns))
    if row.kind is RowKind.AWAITED:
        yield Pair("Waiting for", length(row.end_ns - row.start_ns))
    if row.kind is RowKind.PUBLISH and row.publication is not None and row.publication.spans:
        yield Pair("Publishing took", length(row.publication.ended_ns - row.publication.started_ns))
    if row.kind is RowKind.ATTEMPT and delivery is not None:
        attempt = delivery.attempts[row.number - 1]
        yield Pair("Processing", length(attempt.ended_ns - attempt.started_ns))
    if row.kind is not RowKind.DELIVERY or delivery is None:
        return
    yield Pair("In broker", length(delivery.wait_ns) if delivery.wait_ns is not None else "unknown, no publisher seen")
    if delivery.skew_ns:
        yield Pair("Clock skew", f"at least {length(delivery.skew_ns)}")
    lengths = [length(attempt.ended_ns - attempt.started_ns) for attempt in delivery.attempts]
    if len(lengths) == 1:
        yield Pair("Processing", lengths[0])
        return
    yield Pair("Attempts", f"{len(lengths)}: {', '.join(lengths[:12])}{', …' if len(lengths) > 12 else ''}")
    if delivery.backoffs:
        yield Pair("Backoff", ", ".join(length(end - start) for start, end in delivery.backoffs[:12]))


def broker(row: Row, span: Span | None) -> Iterable[Pair]:
    delivery = row.delivery if row.kind in (RowKind.DELIVERY, RowKind.ATTEMPT) else None
    proof = evidence(span) if span else None
    rules = proof.rules if proof else {}
    if row.destination:
        yield Pair("Destination", row.destination, code=True, rule=rules.get("destination", ""))
    if delivery is not None:
        inferred = "service name, since the spans carry no group" if delivery.group_inferred else ""
        yield Pair("Consumer group", delivery.group, code=True, rule=inferred or rules.get("group", ""))
        yield Pair(
            "Joined by", delivery.joined_by.value + (", a guess" if delivery.joined_by is JoinedBy.GUESSED else "")
        )
    if proof is None:
        return
    position = [
        f"partition {proof.partition}" if proof.partition else "",
        f"offset {proof.offset}" if proof.offset else "",
    ]
    if any(position):
        yield Pair("Position", ", ".join(part for part in position if part))
    messaging = span.messaging if span else None
    if messaging and messaging.key:
        yield Pair("Key", messaging.key, code=True, rule=rules.get("key", ""))
    if proof.event_type:
        yield Pair("Event type", proof.event_type, code=True, rule=rules.get("event_type", ""))
    if messaging and messaging.body_size is not None:
        yield Pair("Body", size(messaging.body_size))
    if messaging and messaging.client_id:
        yield Pair("Member", messaging.client_id, code=True)
    if proof.outcome:
        yield Pair("Settled", proof.outcome)


def identity(flow: Flow, row: Row, span: Span | None) -> Iterable[Pair]:
    publication = row.publication
    if publication is not None and publication.message_id:
        yield Pair("Message id", publication.message_id, code=True, copy=True)
    if row.context is not None:
        yield Pair("Trace id", row.context.trace_id, code=True, copy=True)
        yield Pair("Span id", row.context.span_id, code=True, copy=True)
    if span is not None:
        held = span.correlation_id
        inherited = "" if held else " (inherited from the flow)"
        if flow.kind == "correlation":
            yield Pair("Correlation id", (held or flow.key) + inherited, code=True, rule=span.correlation_rule or "")
        yield Pair("Instrumentation", " ".join(filter(None, (span.scope, span.scope_version))) or "unnamed")


def attributes(attributes: Attributes) -> Iterable[Pair]:
    shown = redaction.headers(sorted((str(name), _text(value)) for name, value in attributes.items()))
    yield from (Pair(name, value, code=True) for name, value in shown)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def inside(flow: Flow, row: Row) -> Iterable[Inside]:
    """The spans below the selected one in its own service, in order of time."""
    if row.context is None:
        return
    children = _children(flow)
    service = flow.spans[row.context].service if row.context in flow.spans else None
    pending, seen = [row.context], {row.context}
    found: list[Span] = []
    while pending:
        for child in children.get(pending.pop(), ()):
            context = Context(child.trace_id, child.span_id)
            if context not in seen and child.service == service:
                seen.add(context)
                found.append(child)
                pending.append(context)
    for span in sorted(found, key=lambda s: (s.start_ns, s.span_id)):
        yield Inside(
            span.name, span.service, length(span.end_ns - span.start_ns), span.span_id, span.status.value == "error"
        )


def _children(flow: Flow) -> Mapping[Context, list[Span]]:
    children: dict[Context, list[Span]] = {}
    for span in flow.spans.values():
        if span.parent_id:
            children.setdefault(Context(span.trace_id, span.parent_id), []).append(span)
    return children
