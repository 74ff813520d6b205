"""The side panel of a flow: all that is known of the selected row, as headings with names and values.

Secrets are taken out here (`domain.redaction`), of attributes, headers and payloads alike. Pure.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from eventflow.domain import redaction
from eventflow.domain.failure import Failure
from eventflow.domain.flow import Delivery, DeliveryStatus, Flow
from eventflow.domain.stack import Frame, frames
from eventflow.domain.timeline import Row, RowKind
from eventflow.web import flow_facts as facts
from eventflow.web.flow_timeline import REPLAY_WORDS
from eventflow.web.formats import size

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
class ErrorView:
    """Why it failed."""

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    stack: str = ""
    from_letter: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """The selected row."""

    title: str
    subtitle: str
    state: str
    state_class: str
    mark: str = ""
    error: ErrorView | None = None
    timing: tuple[facts.Pair, ...] = ()
    broker: tuple[facts.Pair, ...] = ()
    identity: tuple[facts.Pair, ...] = ()
    attributes: tuple[facts.Pair, ...] = ()
    resource: tuple[facts.Pair, ...] = ()
    inside: tuple[facts.Inside, ...] = ()
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
    inside = list(facts.inside(flow, row))
    return Panel(
        title=title,
        subtitle=subtitle,
        state=state,
        state_class=state_class,
        mark=mark,
        error=_error(row),
        timing=tuple(facts.timing(flow, row)),
        broker=tuple(facts.broker(row, span)),
        identity=tuple(facts.identity(flow, row, span)),
        attributes=tuple(facts.attributes(span.attributes)) if span else (),
        resource=tuple(facts.attributes(span.resource)) if span else (),
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
