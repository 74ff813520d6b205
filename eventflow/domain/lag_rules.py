"""The rules that name a group's status, in the order in which they are asked, each with the sentence that explains it.

Burrow's STOP, STALL and REWIND, but over a window in time instead of a count of commits (which made them twitchy), its
WARN replaced by two tests that do not flag healthy bursts, plus retention risk, draining and "not known".
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from eventflow.domain import lag
from eventflow.domain.lag import LagStatus, Window

STOPPED_SECONDS = 60.0
"""No shorter: a rebalance, a deploy or a long collection is no stop."""
NOBODY_SECONDS = 20.0
"""With the broker's word that no member is there, less patience is needed."""
ABANDONED_SECONDS = 7 * 86_400.0
OK_SECONDS = 60.0
SLOW_AGE_SECONDS = 5.0
RETENTION_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules may know beside the window."""

    members: int | None = None
    paused: bool = False
    unknown_reason: str | None = None
    retained: int | None = None
    """Messages the destination still holds, only where it is known to drop old ones."""
    window_seconds: float = lag.TROUGH_SECONDS


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status and the rule that gave it, in words."""

    status: LagStatus
    reason: str


Rule = Callable[[Window, Facts], Verdict | None]


def blind(window: Window, facts: Facts) -> Verdict | None:
    """0. Nothing known: every other rule would be a guess."""
    if window.points and window.points[-1].ready is not None:
        return None
    return Verdict(LagStatus.UNKNOWN, facts.unknown_reason or "the broker does not tell how many wait")


def caught_up(window: Window, facts: Facts) -> Verdict | None:
    """1. Nothing waits, and what is in flight is being worked on: whatever happened before is over (a rewind too)."""
    last = window.points[-1]
    if not last.caught_up or (last.in_flight and quiet_seconds(window) >= STOPPED_SECONDS):
        return None
    moving = any(value for value in (lag.in_rate(window), lag.out_rate(window)))
    if moving:
        return Verdict(LagStatus.OK, "nothing waits")
    return Verdict(LagStatus.IDLE, "nothing waits and nothing arrives")


def retention(window: Window, facts: Facts) -> Verdict | None:
    """2. What waits nears what is kept: the only state that loses data, so it goes before all that only cost time."""
    ready = window.points[-1].ready or 0
    if not facts.retained or ready <= RETENTION_SHARE * facts.retained:
        return None
    return Verdict(LagStatus.RETENTION_RISK, f"{round(100 * ready / facts.retained)} % of what is kept still waits")


def quiet_seconds(window: Window) -> float:
    """How long there was no progress, as far as we have been looking."""
    since = window.progress_at or window.since or window.points[-1].at
    return (window.points[-1].at - since).total_seconds()


def abandoned(window: Window, facts: Facts) -> Verdict | None:
    """3. Nobody there for a week: listed, but no alarm any more."""
    if facts.members or quiet_seconds(window) < ABANDONED_SECONDS:
        return None
    return Verdict(LagStatus.ABANDONED, "no member and no progress for a week")


def backlog_is_older(window: Window, seconds: float) -> bool:
    """Whether something waited all through the last `seconds`: a message that came just now proves no stop."""
    start = window.points[-1].at - timedelta(seconds=seconds)
    return all(point.backlog for point in window.last_seconds(seconds) if point.at >= start)


def stopped(window: Window, facts: Facts) -> Verdict | None:
    """4. Messages wait and none was taken for long (Burrow's STOP; asked before STALL because no member can stall)."""
    quiet, last = quiet_seconds(window), window.points[-1]
    if facts.paused and backlog_is_older(window, NOBODY_SECONDS):
        return Verdict(LagStatus.STOPPED, "paused on the broker")
    patience = NOBODY_SECONDS if facts.members == 0 else STOPPED_SECONDS
    if last.in_flight or facts.members or quiet < patience or not backlog_is_older(window, patience):
        return None
    who = "no member is connected and " if facts.members == 0 else ""
    return Verdict(LagStatus.STOPPED, f"{who}no message was taken for over {patience:.0f} s")


def stalled(window: Window, facts: Facts) -> Verdict | None:
    """5. It is there or holds messages, but finishes none (STALL)."""
    last = window.points[-1]
    if quiet_seconds(window) < STOPPED_SECONDS or not backlog_is_older(window, STOPPED_SECONDS):
        return None
    if not last.in_flight and not facts.members:
        return None
    held = f"{last.in_flight:,} in flight, " if last.in_flight else ""
    return Verdict(LagStatus.STALLED, f"{held}no progress for over {STOPPED_SECONDS:.0f} s")


def rewound(window: Window, facts: Facts) -> Verdict | None:
    """6. Its position went back and has not returned (REWIND): it works the same messages again."""
    settled = [point.settled for point in window.points if point.settled is not None]
    if not settled or settled[-1] >= max(settled):
        return None
    return Verdict(
        LagStatus.REWOUND, f"its position went back by {max(settled) - min(settled[settled.index(max(settled)) :]):,}"
    )


def drifting(window: Window, facts: Facts) -> Verdict | None:
    """7. The lowest backlog of each of three windows lies above the one before: it will not recover by itself.

    That stands until a window's lowest lies below that of the one before: a drift that stops is no recovery. Asked
    before the "was at zero just now" rule: a drift never is. What shrinks right now may well reach zero.
    """
    if lag.trend(window) < 0:
        return None
    width = facts.window_seconds
    newest, middle, oldest = (window.trough(width * (n + 1), width * n) for n in range(3))
    if newest is None or middle is None or oldest is None:
        return None
    step = max(1.0, lag.DRIFT_SHARE * (lag.in_rate(window) or 0.0) * width)
    lows = f"{oldest:,}, {middle:,}, {newest:,} per {width / 60:.0f} min"
    if newest - middle > step and middle - oldest > step:
        window.drifted = True
        return Verdict(LagStatus.DRIFTING, f"its lowest lag rises: {lows}")
    window.drifted = window.drifted and newest > 0 and newest >= middle
    return Verdict(LagStatus.DRIFTING, f"its lowest lag has not fallen: {lows}") if window.drifted else None


def touched_zero(window: Window, facts: Facts) -> Verdict | None:
    """8. It had worked off everything within the last minute: a burst, no trouble."""
    if any(point.caught_up for point in window.last_seconds(OK_SECONDS)):
        return Verdict(LagStatus.OK, f"caught up within {OK_SECONDS:.0f} s")
    return None


def slow(window: Window, facts: Facts) -> Verdict | None:
    """9. It grows and what waits is not fresh: falling behind now, whether or not that lasts."""
    waited, _ = lag.age(window)
    if lag.trend(window) <= 0 or waited is None or waited < SLOW_AGE_SECONDS:
        return None
    return Verdict(LagStatus.SLOW, "lag growing for a minute")


def draining(window: Window, facts: Facts) -> Verdict | None:
    """10. Behind, but shrinking."""
    if lag.trend(window) >= 0:
        return None
    return Verdict(LagStatus.DRAINING, "lag shrinking")


ORDER: tuple[Rule, ...] = (
    blind,
    caught_up,
    retention,
    abandoned,
    stopped,
    stalled,
    rewound,
    drifting,
    touched_zero,
    slow,
    draining,
)


def judge(window: Window, facts: Facts) -> Verdict:
    """The first rule that speaks."""
    for rule in ORDER:
        if verdict := rule(window, facts):
            return verdict
    return Verdict(LagStatus.OK, "some lag, steady")
