"""What one dead letter's panel shows, secrets hidden: error, frames, payload, headers, attempts, replays."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from eventflow.domain import redaction, stack
from eventflow.domain.flow import Flow
from eventflow.domain.letter_flow import delivery_of
from eventflow.store.models import DeadLetter
from eventflow.store.queries import dead_letters, flows
from eventflow.store.record.dead_letter import flow_key
from eventflow.web import payload


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """One run of the consumer."""

    at: datetime
    seconds: float
    ok: bool
    what: str


@dataclass(frozen=True, slots=True)
class FrameLine:
    """One line of the stack: `at` where it failed, `own` code, `fr` a library."""

    cls: str
    text: str


def described(letter: DeadLetter, now: datetime) -> dict[str, Any]:
    """The panel's context."""
    lineage = dead_letters.lineage(letter)
    key = flow_key(letter)
    flow = flows.flow(key, now) if key else None
    return {
        "letter": letter,
        "flow_key": key,
        "replayed": letter.replay_count + sum(1 for item in lineage.items if item.sent_at),
        "attempts": attempts(flow, letter) if flow else [],
        "error_message": redaction.text(letter.error_message),
        "trace": frame_lines(letter.stack),
        "stack": redaction.text(letter.stack),
        "headers": redaction.headers([(str(name), str(value)) for name, value in letter.headers]),
        "body": payload.shown(letter.payload),
        "lineage": lineage,
    }


def attempts(flow: Flow, letter: DeadLetter) -> list[AttemptLine]:
    """The attempts that ended in this letter, out of its flow."""
    found = []
    delivery = delivery_of(flow, str(letter.pk))
    before: int | None = None
    for attempt in delivery.attempts if delivery else ():
        wait = "first delivery" if before is None else f"after {_span(attempt.started_ns - before)}"
        why = attempt.error.name.rpartition(".")[2] if attempt.error else "failed" if attempt.failed else "done"
        at = datetime.fromtimestamp(attempt.started_ns / 1e9, UTC)
        seconds = (attempt.ended_ns - attempt.started_ns) / 1e9
        found.append(AttemptLine(at, seconds, not attempt.failed, redaction.text(f"{why}, {wait}")))
        before = attempt.ended_ns
    return found


def _span(nanoseconds: int) -> str:
    seconds = max(0, nanoseconds) / 1e9
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def frame_lines(trace: str) -> list[FrameLine]:
    """The frames with the libraries' folded away; empty when none is the application's own."""
    found: list[FrameLine] = []
    folded = 0
    frames = stack.frames(trace)
    if not any(frame.own for frame in frames):
        return []
    for frame in (*frames, None):
        if frame is not None and not frame.own:
            folded += 1
            continue
        if folded:
            found.append(FrameLine("fr", f"… {folded} library frame{'s' if folded > 1 else ''}"))
            folded = 0
        if frame is not None:
            first = not any(line.cls == "at" for line in found)
            found.append(FrameLine("at" if first else "own", redaction.text(frame.text)))
    return found
