"""The rows of a flow's timeline and the critical path through them: frozen values `timeline` makes and pages show."""

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from eventflow.domain.flow_model import DeadLettering, Delivery, FlowLetter, Publication
from eventflow.domain.hop import Context


class BarKind(StrEnum):
    """What time was spent on; the values are the bars' CSS classes."""

    WAIT = "wait"
    WORK = "proc"
    FAILED = "fail"
    BACKOFF = "back"
    PUBLISHED = "pub"
    DEAD = "dead"
    CRITICAL = "cp"


class RowKind(StrEnum):
    """What a row stands for."""

    PUBLISH = "publish"
    DELIVERY = "delivery"
    ATTEMPT = "attempt"
    DEAD = "dead"
    REPLAY = "replay"
    AWAITED = "awaited"
    LETTER = "letter"


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time, or a moment where both ends are equal."""

    kind: BarKind
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the timeline. `id` is what a permanent link names; `parent` the row it follows from."""

    id: str
    kind: RowKind
    depth: int
    at_ns: int
    bars: tuple[Bar, ...] = ()
    parent: str | None = None
    service: str | None = None
    destination: str | None = None
    system: str | None = None
    number: int = 0
    on_path: bool = False
    publication: Publication | None = None
    delivery: Delivery | None = None
    dead: DeadLettering | None = None
    letter: FlowLetter | None = None
    repeats: int = 1
    """How many rows of the same shape this one stands for."""
    context: Context | None = None
    """The span that the side panel shows; None where there is none."""

    @property
    def start_ns(self) -> int:
        return min((bar.start_ns for bar in self.bars), default=self.at_ns)

    @property
    def end_ns(self) -> int:
        return max((bar.end_ns for bar in self.bars), default=self.at_ns)

    @property
    def bad(self) -> bool:
        """Failed and not made good since."""
        if self.kind is RowKind.LETTER:
            return True
        if self.delivery is not None and self.kind in (RowKind.DELIVERY, RowKind.DEAD):
            return self.delivery.failed
        return self.kind is RowKind.PUBLISH and self.publication is not None and self.publication.failed

    @property
    def attempt_failed(self) -> bool:
        if self.kind is not RowKind.ATTEMPT or self.delivery is None:
            return False
        return self.delivery.attempts[self.number - 1].failed


@dataclass(frozen=True, slots=True)
class PathSum:
    """Where the time of the critical path went."""

    total_ns: int = 0
    waiting_ns: int = 0
    working_ns: int = 0
    backoff_ns: int = 0


def mark_critical_path(rows: list[Row]) -> tuple[list[Row], PathSum]:
    """From the beginning to what failed first, else to what ended last; and where the time on it went."""
    goals = [row for row in rows if row.kind is RowKind.DELIVERY]
    if not goals:
        return rows, PathSum()
    by_id = {row.id: row for row in rows}
    failed = [row for row in goals if row.bad]
    goal = min(failed, key=lambda row: row.start_ns) if failed else max(goals, key=lambda row: row.end_ns)
    path: list[Row] = []
    at: Row | None = goal
    seen: set[str] = set()
    while at is not None and at.id not in seen:
        seen.add(at.id)
        path.append(at)
        at = by_id.get(at.parent) if at.parent else None
    # Each step is on the path only until the next one began.
    ends = {step.id: max(step.start_ns, min(step.end_ns, onward.at_ns)) for onward, step in pairwise(path)}
    ends[goal.id] = goal.end_ns
    spent = {BarKind.WAIT: 0, BarKind.BACKOFF: 0, BarKind.WORK: 0, BarKind.FAILED: 0}
    for step in path:
        for bar in step.bars:
            if bar.kind in spent:
                spent[bar.kind] += max(0, min(bar.end_ns, ends[step.id]) - bar.start_ns)
    marked = [
        replace(row, on_path=True, bars=(*row.bars, Bar(BarKind.CRITICAL, row.start_ns, ends[row.id])))
        if row.id in ends
        else row
        for row in rows
    ]
    total = max(0, goal.end_ns - min(step.start_ns for step in path))
    working = spent[BarKind.WORK] + spent[BarKind.FAILED]
    return marked, PathSum(total, spent[BarKind.WAIT], working, spent[BarKind.BACKOFF])
