"""What we cost brokers, in figures: a look, a second, the last hour, and how much of the budget that is."""

from dataclasses import dataclass
from datetime import datetime

from eventflow.domain.source_budget import Budget, remark
from eventflow.store.queries.sources import SourceRow

MINUTES = 60


@dataclass(frozen=True, slots=True)
class Cost:
    """One source's. `used`: share of the budget in percent over the last hour, or as long as it is known."""

    source: SourceRow
    looks: float
    calls: float
    received_bytes: float
    seconds: float
    minutes: int
    """Over how many minutes these were summed."""
    used: float
    spark: tuple[float | None, ...]
    """Calls of each of the last sixty minutes."""
    remark: str
    """Why it is looked at less often than usual, if it is."""

    @property
    def calls_per_second(self) -> float:
        return self.calls / (60 * self.minutes) if self.minutes else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.received_bytes / (60 * self.minutes) if self.minutes else 0.0

    @property
    def busy(self) -> float:
        """Percent of the time that looks took."""
        return 100 * self.seconds / (60 * self.minutes) if self.minutes else 0.0


def cost(row: SourceRow, budget: Budget, interval: float, now: datetime) -> Cost:
    """Sums of the finished minutes; the running one would make the rates too small."""
    this = int(now.timestamp()) // 60
    found = {int(entry[0]): entry for entry in row.costs if this - MINUTES <= entry[0] < this}
    minutes = this - min(found, default=this)
    looks, calls, received, seconds = (sum(entry[column] for entry in found.values()) for column in range(1, 5))
    return Cost(
        source=row,
        looks=looks,
        calls=calls,
        received_bytes=received,
        seconds=seconds,
        minutes=minutes,
        used=100 * budget.share(calls, received, seconds, 60.0 * minutes),
        remark=remark(row, budget, interval, row.pause_seconds) if row.pause_seconds else "",
        spark=tuple(found[minute][2] if minute in found else None for minute in range(this - MINUTES, this)),
    )
