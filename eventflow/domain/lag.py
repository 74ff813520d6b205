"""How a consumer group fares: a window of its samples becomes rates, a trend and a time to drain.

Promises: never a negative number, `None` stays unknown, "caught up" only with proof.
Never looks at a clock: a window ends with its newest point.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import wraps
from itertools import pairwise
from operator import attrgetter
from typing import TypeVar

T = TypeVar("T")

RATE_SECONDS = 30.0
TREND_SECONDS = 60.0
TROUGH_SECONDS = 600.0
"""Three of these should span one natural period of the traffic (facts: drift by troughs)."""
DRIFT_SHARE = 0.001
KEEP_SECONDS = 3 * TROUGH_SECONDS + 60
RECENT_SECONDS = 300.0
SKEW_SECONDS = 2.0
"""Clocks that differ by so little are the same clock."""


class LagStatus(StrEnum):
    """The lag engine's words, worst knowledge first."""

    UNKNOWN = "unknown"
    ABANDONED = "abandoned"
    RETENTION_RISK = "retention_risk"
    STOPPED = "stopped"
    STALLED = "stalled"
    REWOUND = "rewound"
    DRIFTING = "drifting"
    SLOW = "slow"
    DRAINING = "draining"
    IDLE = "idle"
    OK = "ok"


BEHIND = frozenset({LagStatus.RETENTION_RISK, LagStatus.STOPPED, LagStatus.STALLED, LagStatus.REWOUND})
LATE = frozenset({LagStatus.DRIFTING, LagStatus.SLOW})
BY_RANK = tuple(reversed(LagStatus))
"""In the history a status is its index here: the worst of a minute is the greatest."""
RANK = {status: rank for rank, status in enumerate(BY_RANK)}


@dataclass(frozen=True, slots=True)
class LagPoint:
    """One look at a group on one destination, partitions summed. None is unknown."""

    at: datetime
    ready: int | None
    in_flight: int | None = None
    age_seconds: float | None = None
    published: int | None = None
    delivered: int | None = None
    settled: int | None = None

    @property
    def backlog(self) -> int | None:
        """What is not settled yet: waiting and in flight; None when it is not known how many wait."""
        ready, in_flight = self.ready, self.in_flight
        if ready is None:
            return None
        return (ready if ready > 0 else 0) + (in_flight if in_flight and in_flight > 0 else 0)

    @property
    def caught_up(self) -> bool:
        """Proved, not assumed: the broker said that none waits."""
        return self.ready == 0


def dated(oldest_at: datetime | None, at: datetime) -> datetime | None:
    """When the oldest waiting message was written, as far as it can be believed: nothing waits from the future.

    A producer's or a broker's clock that runs ahead tells no age, and "no age" is not "it came just now".
    """
    if oldest_at is None or (oldest_at - at).total_seconds() > SKEW_SECONDS:
        return None
    return min(oldest_at, at)


@dataclass(slots=True)
class Window:
    """What is remembered of one group: its last minutes' points, and for half an hour each minute's least backlog.

    Small and bounded whatever the sampling rate: 1,000 groups fit in a few megabytes.
    """

    points: list[LagPoint] = field(default_factory=list)
    lows: list[tuple[datetime, int]] = field(default_factory=list)
    progress_at: datetime | None = None
    """When it last settled or was delivered a message; None: not seen yet."""
    since: datetime | None = None
    drifted: bool = False
    """It was found drifting, and its lowest lag has not fallen since."""
    known: dict[object, object] = field(default_factory=dict, repr=False, compare=False)
    """What was worked out since the last point; see `_once`."""

    def add(self, point: LagPoint) -> bool:
        """Take in the next point; False (and nothing changes) when it is not newer than the last."""
        if self.points:
            if point.at <= self.points[-1].at:
                return False
            if moved(self.points[-1], point):
                self.progress_at = point.at
        self.known.clear()
        self.since = self.since or point.at
        self.points.append(point)
        oldest = point.at - timedelta(seconds=RECENT_SECONDS)
        del self.points[: bisect_left(self.points, oldest, key=attrgetter("at"))]
        if point.backlog is not None:
            self._remember_low(point.at, point.backlog)
        return True

    def _remember_low(self, at: datetime, backlog: int) -> None:
        minute = at.replace(second=0, microsecond=0)
        if self.lows and self.lows[-1][0] == minute:
            self.lows[-1] = (minute, min(self.lows[-1][1], backlog))
            return
        self.lows.append((minute, backlog))
        oldest = at - timedelta(seconds=KEEP_SECONDS)
        while self.lows[0][0] < oldest:
            del self.lows[0]

    def last_seconds(self, seconds: float) -> Sequence[LagPoint]:
        """The points of the last `seconds`, at least the newest two if there are two."""
        start = self.points[-1].at - timedelta(seconds=seconds)
        first = bisect_left(self.points, start, key=attrgetter("at"))
        return self.points[min(first, max(0, len(self.points) - 2)) :]

    def trough(self, older: float, younger: float) -> int | None:
        """The least backlog between `older` and `younger` seconds ago; None if the window does not reach that far."""
        end = self.points[-1].at
        if self.since is None or (end - self.since).total_seconds() < older:
            return None
        ages = (((end - minute).total_seconds(), low) for minute, low in self.lows)
        return min((low for age, low in ages if younger <= age < older), default=None)


def _once(work: Callable[[Window], T]) -> Callable[[Window], T]:
    """Work it out once for each point: several rules ask the same of a window."""

    @wraps(work)
    def known(window: Window) -> T:
        if work not in window.known:
            window.known[work] = work(window)
        return window.known[work]  # type: ignore[return-value]  # put there by the same work

    return known


def moved(before: LagPoint, after: LagPoint) -> bool:
    """Whether the group got or finished a message between two looks: a counter rose, or fewer wait without one."""
    counters = ((before.settled, after.settled), (before.delivered, after.delivered))
    if any(old is not None and new is not None for old, new in counters):
        return any(old is not None and new is not None and new > old for old, new in counters)
    return before.backlog is not None and after.backlog is not None and after.backlog < before.backlog


def rate(samples: Sequence[tuple[datetime, int | None]]) -> float | None:
    """Per second from a counter. A step back is a reset: that interval is left out. None without two known values."""
    values = [value for _, value in samples]
    if len(values) > 1 and None not in values and values == sorted(values):  # type: ignore[type-var]  # no None in it
        seconds = (samples[-1][0] - samples[0][0]).total_seconds()
        return (values[-1] - values[0]) / seconds if seconds > 0 else None  # type: ignore[operator]  # as above
    gained, seconds = 0, 0.0
    for (before_at, before), (after_at, after) in pairwise(samples):
        if before is None or after is None or after < before:
            continue
        gained += after - before
        seconds += (after_at - before_at).total_seconds()
    return gained / seconds if seconds > 0 else None


@_once
def in_rate(window: Window) -> float | None:
    return rate([(point.at, point.published) for point in window.last_seconds(RATE_SECONDS)])


@_once
def out_rate(window: Window) -> float | None:
    points = window.last_seconds(RATE_SECONDS)
    settled = rate([(point.at, point.settled) for point in points])
    return settled if settled is not None else rate([(point.at, point.delivered) for point in points])


def slope(window: Window) -> float | None:
    """Backlog per second over the last minute, by least squares; a shown number, never an alarm of its own."""
    known = [(point.at, point.backlog) for point in window.last_seconds(TREND_SECONDS) if point.backlog is not None]
    if len(known) < 3:
        return None
    start = known[0][0]
    xs = [(at - start).total_seconds() for at, _ in known]
    mean_x, mean_y = sum(xs) / len(xs), sum(backlog for _, backlog in known) / len(known)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if spread == 0:
        return None
    return sum((x - mean_x) * (backlog - mean_y) for x, (_, backlog) in zip(xs, known, strict=True)) / spread


@_once
def trend(window: Window) -> int:
    """1 growing, -1 draining, 0 steady: a change over the last minute that is more than noise."""
    known = [point.backlog for point in window.last_seconds(TREND_SECONDS) if point.backlog is not None]
    if len(known) < 4:
        return 0
    third = max(1, len(known) // 3)
    change = sum(known[-third:]) / third - sum(known[:third]) / third
    noise = max(3.0, 0.1 * max(known))
    if abs(change) < noise or change * (slope(window) or 0.0) <= 0:
        return 0
    return 1 if change > 0 else -1


def drain_seconds(window: Window) -> float | None:
    """Until the backlog is gone at the present pace; 0 when caught up, None while it does not shrink."""
    if not window.points or window.points[-1].backlog is None:
        return None
    backlog = window.points[-1].backlog
    if backlog == 0:
        return 0.0
    steepness = slope(window)
    return backlog / -steepness if trend(window) < 0 and steepness else None


@_once
def age(window: Window) -> tuple[float | None, str | None]:
    """Seconds the oldest waiting message waits and, where the broker did not say, the method that told it instead.

    ``interpolated``: since as much was published as is settled now. ``little``: what waits, over the rate out.
    """
    last = window.points[-1]
    if last.age_seconds is not None:
        return max(0.0, last.age_seconds), None
    if last.ready is None:
        return None, None
    if last.caught_up:
        return 0.0, None
    if last.published is not None:
        wanted = last.published - last.ready
        for before, after in zip(window.points, window.points[1:], strict=False):
            if (
                before.published is not None
                and after.published is not None
                and before.published <= wanted < after.published
            ):
                share = (wanted - before.published) / (after.published - before.published)
                at = before.at + (after.at - before.at) * share
                return (last.at - at).total_seconds(), "interpolated"
    out = out_rate(window)
    return (last.ready / out, "little") if out else (None, None)
