"""The side panel of a flow: all that is known of the selected row, as headings with names and values.

Secrets are taken out here (`domain.redaction`), of attributes, headers and payloads alike. Pure.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from eventflow.domain import redaction
from eventflow.domain.clock import instant
from eventflow.domain.failure import Failure
from eventflow.domain.flow import Delivery, DeliveryStatus, Flow, JoinedBy
from eventflow.domain.hop import Context, evidence
from eventflow.domain.observations import Attributes, Span
from eventflow.domain.stack import Frame, frames
from eventflow.domain.timeline import Row, RowKind
from eventflow.web.flow_timeline import REPLAY_WORDS, length
from eventflow.web.formats import clock, size

MAX_FRAMES = 40
MAX_INSIDE = 60
MAX_PAYLOAD = 200_000


class Letter(Protocol):
    """What the panel reads of a stored letter."""

    pk: Any
    headers: Any
    payload: Any
    payload_note: str
    payload_size: int | None
    content_type: str


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
class ErrorView:
    """Why it failed."""

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    stack: str = ""
    from_letter: bool = False


@dataclass(frozen=True, slots=True)
class Inside:
    """A span within the selected step."""

    name: str
    service: str
    length: str
    id: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """The selected row."""

    title: str
    subtitle: str
    state: str
    state_class: str
    mark: str = ""
    error: ErrorView | None = None
    timing: tuple[Pair, ...] = ()
    broker: tuple[Pair, ...] = ()
    identity: tuple[Pair, ...] = ()
    attributes: tuple[Pair, ...] = ()
    resource: tuple[Pair, ...] = ()
    inside: tuple[Inside, ...] = ()
    more_inside: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    payload: Any = None
    payload_text: str = ""
    payload_note: str = ""
    payload_size: str = ""
    letter_id: str = ""
    has_payload: bool = field(default=False)


def panel(flow: Flow, row: Row, letter: Letter | None) -> Panel:
    """Everything about one row; `letter` is its dead letter with headers and payload, where there is one."""
    span = flow.spans.get(row.context) if row.context else None
    title, subtitle = _title(row)
    state, state_class, mark = _state(row)
    inside = list(_inside(flow, row))
    return Panel(
        title=title,
        subtitle=subtitle,
        state=state,
        state_class=state_class,
        mark=mark,
        error=_error(row),
        timing=tuple(_timing(flow, row)),
        broker=tuple(_broker(row, span)),
        identity=tuple(_identity(flow, row, span)),
        attributes=tuple(_attributes(span.attributes)) if span else (),
        resource=tuple(_attributes(span.resource)) if span else (),
        inside=tuple(inside[:MAX_INSIDE]),
        more_inside=max(0, len(inside) - MAX_INSIDE),
        letter_id=row.letter.id if row.letter else _letter_of(row.delivery),
        **_content(letter),
    )


def letter_id(row: Row | None) -> str:
    """The letter whose content belongs to this row, "" if there is none."""
    if row is None:
        return ""
    return row.letter.id if row.letter else _letter_of(row.delivery)


def _letter_of(delivery: Delivery | None) -> str:
    dead = delivery.dead_lettering if delivery else None
    return dead.letter.id if dead and dead.letter else ""


def _title(row: Row) -> tuple[str, str]:
    destination = row.destination or "an unknown destination"
    if row.kind is RowKind.PUBLISH:
        who = row.service or "a publisher that was not seen"
        return row.destination or "Published", f"published by {who}"
    if row.kind is RowKind.ATTEMPT:
        return f"Attempt {row.delivery.attempts[row.number - 1].number if row.delivery else row.number}", (
            f"{row.service} consumes {destination}"
        )
    if row.kind in (RowKind.DEAD, RowKind.LETTER):
        return "Dead-lettered", f"to {destination}" + (f" by {row.service}" if row.service else "")
    if row.kind is RowKind.REPLAY:
        return "Replay", f"to {destination}"
    if row.kind is RowKind.AWAITED:
        return row.service or "Not consumed yet", f"has not consumed {destination} yet"
    return row.service or "", f"consumes {destination}"


_DELIVERY_STATES = {
    DeliveryStatus.OK: ("Processed", "ok", ""),
    DeliveryStatus.RETRYING: ("Failed, may be tried again", "run", ""),
    DeliveryStatus.FAILED: ("Failed", "crit", ""),
    DeliveryStatus.DEAD_LETTERED: ("Dead-lettered", "crit", ""),
    DeliveryStatus.REPLAYING: ("Being replayed", "run", ""),
    DeliveryStatus.RECOVERED: ("Recovered by a replay", "ok", ""),
}


def _state(row: Row) -> tuple[str, str, str]:
    if row.kind is RowKind.AWAITED:
        return "Waiting in the broker", "run", ""
    if row.kind is RowKind.REPLAY and row.publication and row.publication.replay:
        state = row.publication.replay.state
        word = REPLAY_WORDS[state]
        hue = {"confirmed": "ok", "failed_again": "crit", "unknown": "warn", "refused": "warn"}.get(state.value, "run")
        return word[0].upper() + word[1:], hue, ""
    if row.kind is RowKind.ATTEMPT:
        return ("Failed", "crit", "") if row.attempt_failed else ("Processed", "ok", "")
    if row.kind is RowKind.LETTER:
        return "Waiting as a dead letter", "crit", "dead"
    delivery = row.delivery
    if delivery is None:
        failed = row.publication is not None and row.publication.failed
        return ("Not accepted by the broker", "crit", "") if failed else ("Published", "ok", "")
    word, hue, mark = _DELIVERY_STATES[delivery.status]
    if row.kind is RowKind.DEAD:
        return word, hue, "dead" if hue == "crit" else mark
    if delivery.status is DeliveryStatus.DEAD_LETTERED:
        count = len(delivery.attempts)
        return f"Failed after {count} attempt{'s' if count > 1 else ''}, dead-lettered", hue, mark
    return word, hue, mark


def _error(row: Row) -> ErrorView | None:
    failure: Failure | None = None
    if row.kind is RowKind.ATTEMPT and row.delivery is not None:
        failure = row.delivery.attempts[row.number - 1].error
    elif row.delivery is not None:
        failure = row.delivery.error
    elif row.publication is not None:
        failure = row.publication.failure
    if failure is not None:
        message = failure.text or failure.message
        return ErrorView(
            failure.name,
            redaction.text(message),
            frames(failure.stack)[:MAX_FRAMES],
            redaction.text(failure.stack),
        )
    letter = row.letter or (
        row.delivery.dead_lettering.letter if row.delivery and row.delivery.dead_lettering else None
    )
    if letter is None or not (letter.error_type or letter.error_message):
        return None
    stack = letter.stack or ""
    return ErrorView(
        letter.error_type or "error",
        redaction.text(letter.error_message or ""),
        frames(stack)[:MAX_FRAMES],
        redaction.text(stack),
        from_letter=True,
    )


def _at(ns: int) -> str:
    at = instant(ns)
    return f"{at.day} {at:%b} {clock(at, millis=True)}"


def _timing(flow: Flow, row: Row) -> Iterable[Pair]:
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


def _broker(row: Row, span: Span | None) -> Iterable[Pair]:
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


def _identity(flow: Flow, row: Row, span: Span | None) -> Iterable[Pair]:
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


def _attributes(attributes: Attributes) -> Iterable[Pair]:
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


def _inside(flow: Flow, row: Row) -> Iterable[Inside]:
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


def _content(letter: Letter | None) -> dict[str, Any]:
    if letter is None:
        return {}
    payload = bytes(letter.payload) if letter.payload is not None else None
    content: dict[str, Any] = {
        "headers": tuple(redaction.headers([(str(name), str(value)) for name, value in letter.headers or ()])),
        "payload_note": letter.payload_note,
        "payload_size": size(letter.payload_size if letter.payload_size is not None else len(payload or b"")),
        "has_payload": payload is not None,
    }
    if payload is None:
        return content
    try:
        content["payload"] = redaction.json_value(json.loads(payload[:MAX_PAYLOAD]))
        content["payload_text"] = json.dumps(content["payload"], ensure_ascii=False, indent=2, default=str)
    except (ValueError, RecursionError):
        content["payload_text"] = redaction.text(payload[:MAX_PAYLOAD].decode("utf-8", "replace"))
    return content
