"""A rule against the past: when it would have fired, for what and for how long, had it been there. Pure.

Steps through recorded measurements with the same functions that judge the present. Time for which nothing was recorded
is time out of sight: it neither fires nor resolves anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from eventflow.domain import alert
from eventflow.domain.alert import Event, Incident, Measurement, Reading, Rule, State

Moment = tuple[datetime, Measurement]
UNSEEN_SECONDS = 180.0
"""A spell that nobody looked at for longer may have ended."""


@dataclass(frozen=True, slots=True)
class Track:
    """What is recorded of one subject, in order of time. `key`: what a page about it is found by."""

    key: int | None
    label: str
    moments: Iterable[Moment]
    gap_seconds: float
    """Without a moment for longer than this nothing was seen."""


@dataclass(frozen=True, slots=True)
class Spell:
    """A time for which a source was out of sight, as far as somebody looked.

    seen_at   when it was last known to be so
    ended_at  when it was back; None: not known, or it is not
    """

    began_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fired:
    """One alert that would have been. `resolved_at` None: it would fire still."""

    key: int | None
    label: str
    fired_at: datetime
    resolved_at: datetime | None
    peak: float | None
    unit: str

    def lasted(self, end: datetime) -> float:
        return ((self.resolved_at or end) - self.fired_at).total_seconds()


@dataclass(frozen=True, slots=True)
class BackTest:
    """What trying a rule came to.

    since        how far back the history reaches; None: there is none
    tried, left  how many subjects were looked at, how many were not because that would have cost too much
    note         what the answer can't know
    """

    start: datetime
    end: datetime
    since: datetime | None = None
    fired: tuple[Fired, ...] = ()
    tried: int = 0
    left: int = 0
    note: str = ""
    possible: bool = True

    @property
    def seconds(self) -> float:
        """How long it would have fired in all."""
        return sum(fired.lasted(self.end) for fired in self.fired)


def fired(rule: Rule, tracks: Iterable[Track], stopped_rules: Sequence[Rule] = ()) -> list[Fired]:
    """Every alert, oldest first. `stopped_rules`: the rules for stopped groups that would have held this one back."""
    blockers = stopped_rules if rule.kind in alert.HELD_BACK_BY_STOPPED else ()
    found = [one for track in tracks for one in _track(rule, track, blockers)]
    return sorted(found, key=lambda one: one.fired_at)


def _track(rule: Rule, track: Track, blockers: Sequence[Rule]) -> list[Fired]:
    past = _Past(rule)
    stops: list[_Past] = []
    found: list[Fired] = []
    before: datetime | None = None
    for at, measurement in track.moments:
        if before is None:
            stops = [_Past(blocker) for blocker in blockers if alert.matches(blocker.pattern, measurement.names)]
        if before is not None and (at - before).total_seconds() > track.gap_seconds:
            for one in (past, *stops):
                one.unseen(before + timedelta(seconds=track.gap_seconds), at)
        before = at
        for stop in stops:
            stop.take(at, measurement)
        stopped = {measurement.subject} if any(stop.fires for stop in stops) else ()
        event = past.take(at, alert.held_back(rule, measurement, stopped))
        if event is not None:
            unit = alert.value_of(rule, measurement)[1]
            if event == Event.RESOLVED and found:
                del found[-1]
            found.append(past.fired(track, unit))
    if found and past.fires:
        found[-1] = past.fired(track, found[-1].unit)
    return found


class _Past:
    """How one rule's incident of one subject lived."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._state: Incident | None = None

    @property
    def fires(self) -> bool:
        return self._state is not None and self._state.state in (State.FIRING, State.RECOVERING)

    def take(self, at: datetime, measurement: Measurement) -> Event | None:
        reading = alert.read(self._rule, measurement)
        value = alert.value_of(self._rule, measurement)[0] if reading != Reading.UNKNOWN else None
        self._state, event = alert.step(self._rule, reading, value, self._state, at)
        return event

    def unseen(self, since: datetime, until: datetime) -> None:
        for at in (since, until):
            self._state, _ = alert.step(self._rule, Reading.UNKNOWN, None, self._state, at)

    def fired(self, track: Track, unit: str) -> Fired:
        state = self._state
        assert state is not None and state.fired_at is not None  # noqa: S101  # asked only after it fired
        return Fired(track.key, track.label, state.fired_at, state.resolved_at, state.peak, unit)


def arrivals(rule: Rule, times: Sequence[datetime], empty: Measurement, quiet: timedelta) -> Iterable[Moment]:
    """Dead letters of one cause as moments: their number since it was quiet for so long, then none.

    Also when the rule has waited for as long as it waits before it fires, and before it ends.
    """
    number, held = 0, timedelta(seconds=rule.for_seconds)
    for index, at in enumerate(times):
        number += 1
        yield at, replace(empty, messages=number)
        following = times[index + 1] if index + 1 < len(times) else at + 2 * quiet
        if held and held < quiet and following - at > held:
            yield at + held, replace(empty, messages=number)
        if following - at > quiet:
            number = 0
            yield at + quiet, replace(empty, messages=0)
            yield at + quiet + timedelta(seconds=rule.recover_seconds), replace(empty, messages=0)


def out_of_sight(
    rule: Rule, spells: Sequence[Spell], empty: Measurement, start: datetime, now: datetime
) -> Iterable[Moment]:
    """A source's spells, oldest first, as moments: when each begins, when the rule has waited long enough, its end.

    For how long nobody knew whether it lasted is told as not known.
    """
    gap = timedelta(seconds=UNSEEN_SECONDS)
    for index, spell in enumerate(spells):
        following = spells[index + 1].began_at if index + 1 < len(spells) else now
        begin, seen = max(spell.began_at, start), min(spell.seen_at, following)
        known = spell.ended_at if spell.ended_at is not None and spell.ended_at <= following else None
        if known is not None and known - seen <= gap:
            seen = known
        elif known is None and following - seen <= gap:
            seen = following
        for at in sorted({begin, min(seen, begin + timedelta(seconds=rule.for_seconds)), seen}):
            yield at, replace(empty, breached=True, seconds=(at - spell.began_at).total_seconds())
        if known is None or seen < known:
            yield seen, replace(empty, known=False)
        if known is not None:
            for at in (known, known + timedelta(seconds=rule.recover_seconds)):
                if at <= following:
                    yield at, replace(empty, seconds=0.0)


def flood_share(arrived: int, took: int | None) -> float | None:
    """Dead letters in percent of what was taken meanwhile; None when that is not known."""
    if not arrived:
        return 0.0
    return None if took is None else min(100.0, 100 * arrived / max(took, arrived))
