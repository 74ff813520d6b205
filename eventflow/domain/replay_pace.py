"""How fast a replay goes: 1, then 10, then 100, then the rest, at a rate, and a stop by itself when it fails again.

Each step waits for the outcomes of the one before, but not for ever: a system may have no traces.
Pure; `now` is given.
"""

from dataclasses import dataclass
from datetime import datetime

STEPS = (1, 10, 100)
STOP_RATIO = 0.2
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts of one replay. `claimed` is all that left the queue, `recent` those that did within the last second."""

    total: int
    claimed: int
    recent: int
    confirmed: int
    failed_again: int
    last_claimed_at: datetime | None = None

    @property
    def judged(self) -> int:
        return self.confirmed + self.failed_again


@dataclass(frozen=True, slots=True)
class Pace:
    """How many may be sent now; why none may; or why the rest is to be called off."""

    send: int = 0
    waiting: str = ""
    stop: str = ""


def pace(progress: Progress, rate_per_second: float, now: datetime) -> Pace:
    """What a sender may do at this moment."""
    if progress.total > 1 and progress.failed_again:
        ratio = progress.failed_again / max(1, progress.judged)
        if ratio > STOP_RATIO:
            return Pace(stop=f"Stopped by itself: {progress.failed_again} of {progress.judged} failed again")
    edge = 0
    for step in STEPS:
        edge += step
        if progress.claimed < edge:
            break
        if progress.claimed == edge and progress.claimed < progress.total and not _settled(progress, edge, now):
            return Pace(waiting=f"Waiting for the outcome of the first {edge}")
    else:
        edge = progress.total
    room = min(edge, progress.total) - progress.claimed
    allowed = max(1, int(rate_per_second)) - progress.recent
    return Pace(send=max(0, min(room, allowed)))


def _settled(progress: Progress, edge: int, now: datetime) -> bool:
    if progress.judged >= edge or progress.last_claimed_at is None:
        return True
    return (now - progress.last_claimed_at).total_seconds() >= PATIENCE_SECONDS
