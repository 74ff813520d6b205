"""Alert rules: what a rule says of a measurement, and how an incident lives: pending, firing, recovering, resolved.

Promises: one incident from its first breach to its end, however often the value crosses the limit meanwhile; what is
not known neither fires nor resolves anything. Pure: the present instant is an argument, the incident's past is a value.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from eventflow.domain.lag import LagStatus


class Kind(StrEnum):
    """What a rule watches."""

    LAG = "lag"
    STOPPED = "stopped"
    DRIFTING = "drifting"
    RETENTION = "retention"
    SKEW = "skew"
    DEAD_LETTERS = "dead_letters"
    FLOOD = "flood"
    UNREACHABLE = "unreachable"
    BLIND = "blind"


OF_GROUPS = frozenset({Kind.LAG, Kind.STOPPED, Kind.DRIFTING, Kind.RETENTION, Kind.SKEW})
"""Kinds whose subjects are consumer groups."""
HELD_BACK_BY_STOPPED = frozenset({Kind.LAG, Kind.DRIFTING, Kind.SKEW})
"""What follows from a group that stopped, and so is no news of its own."""
RECOVER_RATIO = {Kind.RETENTION: 0.72, Kind.SKEW: 0.5, Kind.FLOOD: 0.2, Kind.UNREACHABLE: 0.72}
"""Share of the limit below which it is over; 0.8 for the others."""
SHARES = {Kind.RETENTION: 70.0, Kind.SKEW: 50.0, Kind.FLOOD: 1.0, Kind.UNREACHABLE: 70.0}
"""Kinds with a limit in percent, and the usual one."""


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
    share: float | None = None
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
    status: str = ""
    """The lag engine's word."""
    shares: Mapping[Kind, float | None] = field(default_factory=dict)
    """In percent, for the kinds with such a limit."""
    lost: bool = False
    """Messages were dropped before this group got them, or dead letters can't arrive."""
    note: str = ""
    acknowledged: bool = False
    progress_at: datetime | None = None
    """When the group last got something done."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Where an incident stands. `held`: it follows from another one, and waits for that to end (`alert_chain`)."""

    state: State
    pending_since: datetime
    fired_at: datetime | None = None
    recovering_since: datetime | None = None
    resolved_at: datetime | None = None
    value: float | None = None
    peak: float | None = None
    held: bool = False


def matches(pattern: str, names: Iterable[str]) -> bool:
    """Whether a glob names one of these; several globs are parted by commas."""
    if pattern == "*":
        return True
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
    if reader := _READERS.get(rule.kind):
        return reader(rule, measurement)
    readings = set()
    if rule.seconds is not None:
        readings.add(_against(measurement.seconds, rule.seconds, rule.recover_ratio))
    if rule.messages is not None:
        readings.add(_against(measurement.messages, rule.messages, rule.recover_ratio))
    for reading in (Reading.BREACH, Reading.UNKNOWN, Reading.BETWEEN):
        if reading in readings:
            return reading
    return Reading.CLEAR


def _blind(rule: Rule, measurement: Measurement) -> Reading:
    return Reading.BREACH if measurement.breached else Reading.CLEAR


def _dead_letters(rule: Rule, measurement: Measurement) -> Reading:
    arrived = 0 if measurement.acknowledged else measurement.messages
    return _against(arrived, rule.messages or 0, rule.recover_ratio)


def _stopped(rule: Rule, measurement: Measurement) -> Reading:
    if measurement.status not in (LagStatus.STOPPED, LagStatus.STALLED):
        return Reading.CLEAR
    young = rule.seconds is not None and measurement.seconds is not None and measurement.seconds <= rule.seconds
    return Reading.BETWEEN if young else Reading.BREACH


def _drifting(rule: Rule, measurement: Measurement) -> Reading:
    return Reading.BREACH if measurement.status == LagStatus.DRIFTING else Reading.CLEAR


def _retention(rule: Rule, measurement: Measurement) -> Reading:
    """Where nothing is dropped (no share is known) nothing is at risk. Of messages, or of dead letters."""
    if measurement.lost:
        return Reading.BREACH
    return _against(measurement.shares.get(rule.kind) or 0.0, _limit(rule), rule.recover_ratio)


def _enough(rule: Rule, measurement: Measurement) -> Reading:
    """A share of a few is nothing: the rule's number of messages has to be passed first."""
    if (measurement.messages or 0) <= (rule.messages or 0):
        return Reading.CLEAR
    return _against(measurement.shares.get(rule.kind), _limit(rule), rule.recover_ratio)


def _limit(rule: Rule) -> float:
    return SHARES[rule.kind] if rule.share is None else rule.share


_READERS: Mapping[Kind, Callable[[Rule, Measurement], Reading]] = {
    Kind.BLIND: _blind,
    Kind.DEAD_LETTERS: _dead_letters,
    Kind.STOPPED: _stopped,
    Kind.DRIFTING: _drifting,
    Kind.RETENTION: _retention,
    Kind.SKEW: _enough,
    Kind.FLOOD: _enough,
    Kind.UNREACHABLE: _retention,
}


def held_back(rule: Rule, measurement: Measurement, stopped: Collection[str]) -> Measurement:
    """What is a consequence of another alert is not known for now: it neither fires nor resolves."""
    if rule.kind in HELD_BACK_BY_STOPPED and measurement.subject in stopped:
        return replace(measurement, known=False)
    return measurement


def value_of(rule: Rule, measurement: Measurement) -> tuple[float | None, str]:
    """The number an incident of this rule shows, and its unit: seconds where the rule has a limit in time."""
    if rule.kind in SHARES:
        return measurement.shares.get(rule.kind), "%"
    timed = rule.kind == Kind.LAG and rule.seconds is not None
    if rule.kind in (Kind.BLIND, Kind.STOPPED) or timed:
        return measurement.seconds, "s"
    return (None if measurement.messages is None else float(measurement.messages)), "messages"


# ---------- how an incident lives ----------


def step(
    rule: Rule, reading: Reading, value: float | None, before: Incident | None, now: datetime, *, held: bool = False
) -> tuple[Incident | None, Event | None]:
    """The next state, and what to tell of. None as next state: no incident (a pending one that came to nothing).

    `held`: it follows from another incident that is open. What fires already goes on; what does not waits.
    """
    if before is None or before.state == State.RESOLVED:
        return _begin(rule, reading, value, now, held)
    incident = _measured(before, value)
    if incident.state == State.PENDING:
        return _pending(rule, reading, replace(incident, held=held), incident.held, now)
    return _fired(rule, reading, incident, now)


def end(before: Incident, now: datetime) -> tuple[Incident | None, Event | None]:
    """What is no longer watched (rule switched off, subject gone) ends at once."""
    if before.state == State.PENDING:
        return None, None
    return replace(before, state=State.RESOLVED, resolved_at=now, recovering_since=None), Event.RESOLVED


def _measured(incident: Incident, value: float | None) -> Incident:
    if value is None or value == incident.value:
        return incident
    return replace(incident, value=value, peak=value if incident.peak is None else max(incident.peak, value))


def _begin(
    rule: Rule, reading: Reading, value: float | None, now: datetime, held: bool
) -> tuple[Incident | None, Event | None]:
    if reading != Reading.BREACH:
        return None, None
    return _pending(rule, reading, Incident(State.PENDING, now, value=value, peak=value, held=held), held, now)


def _pending(
    rule: Rule, reading: Reading, incident: Incident, was_held: bool, now: datetime
) -> tuple[Incident | None, Event | None]:
    if reading == Reading.UNKNOWN:
        # The time for which nothing was seen is no proof: the clock starts again.
        return replace(incident, pending_since=now), None
    if reading != Reading.BREACH:
        return (_held(rule, incident, now) if was_held else None), None
    if incident.held:
        return replace(incident, recovering_since=None), None
    if was_held:
        # It outlasts its cause: from here on it has the usual time to end by itself.
        return replace(incident, pending_since=now, recovering_since=None), None
    if (now - incident.pending_since).total_seconds() < rule.for_seconds:
        return incident, None
    return replace(incident, state=State.FIRING, fired_at=now), Event.FIRING


def _held(rule: Rule, incident: Incident, now: datetime) -> Incident | None:
    """A consequence that is over: remembered where it would have fired by itself, but never told of."""
    since = incident.recovering_since or now
    if (since - incident.pending_since).total_seconds() < rule.for_seconds:
        return None
    over = (now - since).total_seconds() >= rule.recover_seconds
    held = replace(incident, recovering_since=since, held=True)
    return replace(held, state=State.RESOLVED, resolved_at=now) if over else held


def _fired(rule: Rule, reading: Reading, incident: Incident, now: datetime) -> tuple[Incident | None, Event | None]:
    if reading in (Reading.BREACH, Reading.BETWEEN):
        if incident.state == State.FIRING and incident.recovering_since is None:
            return incident, None
        return replace(incident, state=State.FIRING, recovering_since=None), None
    if reading == Reading.UNKNOWN:
        since = now if incident.state == State.RECOVERING else None
        return replace(incident, recovering_since=since), None
    since = incident.recovering_since or now
    if (now - since).total_seconds() < rule.recover_seconds:
        return replace(incident, state=State.RECOVERING, recovering_since=since), None
    return replace(incident, state=State.RESOLVED, resolved_at=now, recovering_since=since), Event.RESOLVED
