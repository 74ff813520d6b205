"""Alert rules: what a rule says of a measurement, and how an incident lives: pending, firing, recovering, resolved.

Promises: one incident from its first breach to its end, however often the value crosses the limit meanwhile; what is
not known neither fires nor resolves anything. Pure: the present instant is an argument, the incident's past is a value.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from eventflow.domain import words


class Kind(StrEnum):
    """What a rule watches."""

    LAG = "lag"
    DEAD_LETTERS = "dead_letters"
    BLIND = "blind"


class State(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"
    RESOLVED = "resolved"


class Event(StrEnum):
    """What people are told of."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Reading(StrEnum):
    """A measurement against a rule. BETWEEN lies under the limit but not yet under the lower one for recovery."""

    BREACH = "breach"
    BETWEEN = "between"
    CLEAR = "clear"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rule:
    """See the model of the same name for the meaning of each field."""

    pk: int
    name: str
    kind: Kind
    pattern: str = "*"
    severity: str = "critical"
    seconds: float | None = None
    messages: int | None = None
    for_seconds: float = 120.0
    recover_ratio: float = 0.8
    recover_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is known of one subject now.

    known     False: nothing can be said (the collector is blind, the sample too old)
    breached  for rules without a limit (blind): whether it is so
    """

    subject: str
    label: str
    names: tuple[str, ...]
    """What a rule's pattern may match."""
    known: bool = True
    breached: bool = False
    seconds: float | None = None
    messages: int | None = None
    place: str = ""
    in_rate: float | None = None
    out_rate: float | None = None
    drain_seconds: float | None = None
    growing: bool = False
    note: str = ""
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """Where an incident stands."""

    state: State
    pending_since: datetime
    fired_at: datetime | None = None
    recovering_since: datetime | None = None
    resolved_at: datetime | None = None
    value: float | None = None
    peak: float | None = None


def matches(pattern: str, names: Iterable[str]) -> bool:
    """Whether a glob names one of these; several globs are parted by commas."""
    globs = [part.strip() for part in pattern.split(",") if part.strip()] or ["*"]
    return any(fnmatchcase(name, glob) for name in names for glob in globs)


# ---------- a measurement against a rule ----------


def _against(value: float | None, limit: float, ratio: float) -> Reading:
    if value is None:
        return Reading.UNKNOWN
    if value > limit:
        return Reading.BREACH
    return Reading.CLEAR if value <= limit * ratio else Reading.BETWEEN


def read(rule: Rule, measurement: Measurement) -> Reading:
    """The worst of the rule's limits; unknown when one is not known and none is surely broken."""
    if not measurement.known:
        return Reading.UNKNOWN
    if rule.kind == Kind.BLIND:
        return Reading.BREACH if measurement.breached else Reading.CLEAR
    if rule.kind == Kind.DEAD_LETTERS:
        arrived = 0 if measurement.acknowledged else measurement.messages
        return _against(arrived, rule.messages or 0, rule.recover_ratio)
    readings = set()
    if rule.seconds is not None:
        readings.add(_against(measurement.seconds, rule.seconds, rule.recover_ratio))
    if rule.messages is not None:
        readings.add(_against(measurement.messages, rule.messages, rule.recover_ratio))
    for reading in (Reading.BREACH, Reading.UNKNOWN, Reading.BETWEEN):
        if reading in readings:
            return reading
    return Reading.CLEAR


def value_of(rule: Rule, measurement: Measurement) -> tuple[float | None, str]:
    """The number an incident of this rule shows, and its unit: seconds where the rule has a limit in time."""
    if rule.kind == Kind.BLIND or (rule.kind == Kind.LAG and rule.seconds is not None):
        return measurement.seconds, "s"
    return (None if measurement.messages is None else float(measurement.messages)), "messages"


# ---------- how an incident lives ----------


def step(
    rule: Rule, reading: Reading, value: float | None, before: Incident | None, now: datetime
) -> tuple[Incident | None, Event | None]:
    """The next state, and what to tell of. None as next state: no incident (a pending one that came to nothing)."""
    if before is None or before.state == State.RESOLVED:
        return _begin(rule, reading, value, now)
    incident = _measured(before, value)
    if incident.state == State.PENDING:
        return _pending(rule, reading, incident, now)
    return _fired(rule, reading, incident, now)


def end(before: Incident, now: datetime) -> tuple[Incident | None, Event | None]:
    """What is no longer watched (rule switched off, subject gone) ends at once."""
    if before.state == State.PENDING:
        return None, None
    return replace(before, state=State.RESOLVED, resolved_at=now, recovering_since=None), Event.RESOLVED


def _measured(incident: Incident, value: float | None) -> Incident:
    if value is None:
        return incident
    return replace(incident, value=value, peak=value if incident.peak is None else max(incident.peak, value))


def _begin(rule: Rule, reading: Reading, value: float | None, now: datetime) -> tuple[Incident | None, Event | None]:
    if reading != Reading.BREACH:
        return None, None
    return _pending(rule, reading, Incident(State.PENDING, now, value=value, peak=value), now)


def _pending(rule: Rule, reading: Reading, incident: Incident, now: datetime) -> tuple[Incident | None, Event | None]:
    if reading == Reading.UNKNOWN:
        # The time for which nothing was seen is no proof: the clock starts again.
        return replace(incident, pending_since=now), None
    if reading != Reading.BREACH:
        return None, None
    if (now - incident.pending_since).total_seconds() < rule.for_seconds:
        return incident, None
    return replace(incident, state=State.FIRING, fired_at=now), Event.FIRING


def _fired(rule: Rule, reading: Reading, incident: Incident, now: datetime) -> tuple[Incident | None, Event | None]:
    if reading in (Reading.BREACH, Reading.BETWEEN):
        return replace(incident, state=State.FIRING, recovering_since=None), None
    if reading == Reading.UNKNOWN:
        since = now if incident.state == State.RECOVERING else None
        return replace(incident, recovering_since=since), None
    since = incident.recovering_since or now
    if (now - since).total_seconds() < rule.recover_seconds:
        return replace(incident, state=State.RECOVERING, recovering_since=since), None
    return replace(incident, state=State.RESOLVED, resolved_at=now, recovering_since=since), Event.RESOLVED


# ---------- in words ----------


def sentence(rule: Rule) -> str:
    """The rule as a person would say it: "Oldest waiting message of email is older than 30 s for 10 s"."""
    anything = rule.pattern.strip() in ("", "*")
    duration = f" for {words.limit(rule.for_seconds)}" if rule.for_seconds else ""
    if rule.kind == Kind.BLIND:
        return f"{'Any source' if anything else f'Source {rule.pattern}'} is out of sight{duration}"
    if rule.kind == Kind.DEAD_LETTERS:
        where = "" if anything else f" at {rule.pattern}"
        if not rule.messages:
            return f"A dead letter arrives{where}{duration}"
        return f"More than {words.count(rule.messages)} dead letters of one cause arrive{where}{duration}"
    who = "any group" if anything else rule.pattern
    parts = []
    if rule.seconds is not None:
        parts.append(f"oldest waiting message of {who} is older than {words.limit(rule.seconds)}")
    if rule.messages is not None:
        parts.append(f"more than {words.count(rule.messages)} messages wait for {who}")
    text = " or ".join(parts) or f"no limit is set for {who}"
    return text[0].upper() + text[1:] + duration


def title(rule: Rule, measurement: Measurement) -> str:
    """What is wrong, in one line."""
    if rule.kind == Kind.BLIND:
        return f"{measurement.label} is out of sight"
    if rule.kind == Kind.DEAD_LETTERS:
        number = measurement.messages or 0
        return f"{words.count(number)} dead letter{'' if number == 1 else 's'}: {measurement.label}"
    over = rule.messages is not None and (measurement.messages or 0) > rule.messages
    late = rule.seconds is not None and (measurement.seconds or 0) > rule.seconds
    if rule.seconds is not None and measurement.seconds is not None and (late or not over):
        if measurement.seconds == 0:
            return f"{measurement.label} caught up"
        return f"{measurement.label} is {words.duration(measurement.seconds)} behind"
    return f"{words.count(measurement.messages)} messages wait for {measurement.label}"


def detail(rule: Rule, measurement: Measurement) -> str:
    """How much, how fast, until when, and the rule that says so."""
    parts = []
    if rule.kind == Kind.LAG:
        on = f" on {measurement.place}" if measurement.place else ""
        age, waiting = words.duration(measurement.seconds), words.count(measurement.messages)
        parts.append(f"Oldest waiting {age}, {waiting} messages{on}.")
        if measurement.in_rate is not None and measurement.out_rate is not None:
            parts.append(f"In {words.rate(measurement.in_rate)}, out {words.rate(measurement.out_rate)}.")
        if measurement.growing:
            parts.append("Falling behind.")
        elif measurement.drain_seconds:
            parts.append(f"Drained in about {words.duration(measurement.drain_seconds)}.")
    elif measurement.note:
        parts.append(measurement.note.rstrip(".") + ".")
    parts.append(f"Rule: {sentence(rule)}.")
    return " ".join(parts)
