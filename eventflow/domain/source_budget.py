"""How much a broker may be asked: what a look costs, what may be spent, and so how long to wait after it. Pure."""

from dataclasses import dataclass
from typing import Protocol

from eventflow.domain import words

LONGEST_PAUSE = 600.0
"""However costly a look is: this often it is made."""


class Look(Protocol):
    """What one look at a broker cost."""

    @property
    def calls(self) -> int: ...
    @property
    def received_bytes(self) -> int: ...
    @property
    def cycle_seconds(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """What one source may cost, each second on average. `busy`: share of the time that a look may take."""

    calls: float = 2_000.0
    received_bytes: float = 10_000_000.0
    busy: float = 0.5

    def share(self, calls: float, received_bytes: float, seconds: float, over_seconds: float) -> float:
        """How much of the budget was spent over that time: 1 is all of it."""
        return self.seconds_for(calls, received_bytes, seconds) / over_seconds if over_seconds else 0.0

    def seconds_for(self, calls: float, received_bytes: float, seconds: float) -> float:
        """How long it takes until the budget covers this."""
        return max(calls / self.calls, received_bytes / self.received_bytes, seconds / self.busy)


def pause_after(look: Look, budget: Budget, interval: float) -> float:
    """How much longer than usual to wait after this look; 0 within the budget, and for a receiver: it only listens."""
    if not look.cycle_seconds:
        return 0.0
    every = min(LONGEST_PAUSE, budget.seconds_for(look.calls, look.received_bytes, look.cycle_seconds))
    return every - look.cycle_seconds if every > interval else 0.0


def remark(look: Look, budget: Budget, interval: float, pause: float) -> str:
    """Why it is looked at less often, for its status."""
    causes = (
        (look.calls / budget.calls, f"{words.count(look.calls)} calls"),
        (look.received_bytes / budget.received_bytes, f"{look.received_bytes / 1e6:,.1f} MB"),
        (look.cycle_seconds / budget.busy, words.duration(look.cycle_seconds)),
    )
    _, what = max(causes)
    every = words.duration(look.cycle_seconds + pause)
    usual = words.duration(interval)
    return f"Over its budget: a look costs {what}, so it is made every {every} instead of every {usual}."
