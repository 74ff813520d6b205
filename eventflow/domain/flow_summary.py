"""A flow in one line: what the list of flows shows and what a store may keep beside the spans.

`summarise` (in `flow`) makes it from an assembled flow; the words for a status stand here, once for all pages.
"""

from dataclasses import dataclass
from enum import StrEnum


class FlowStatus(StrEnum):
    """How a flow stands, worst first."""

    DEAD_LETTERED = "dead-lettered"
    FAILED = "failed"
    RUNNING = "running"
    WAITING = "waiting"
    RECOVERED = "recovered"
    COMPLETED = "completed"


OPEN = (FlowStatus.WAITING, FlowStatus.RUNNING)
"""Not ended: they last until now."""
BAD = (FlowStatus.DEAD_LETTERED, FlowStatus.FAILED)
"""Ended, and not as it should have."""
STATUS_WORDS = {
    FlowStatus.DEAD_LETTERED: "Dead-lettered",
    FlowStatus.FAILED: "Failed",
    FlowStatus.RUNNING: "Running",
    FlowStatus.WAITING: "Waiting",
    FlowStatus.RECOVERED: "Recovered",
    FlowStatus.COMPLETED: "Completed",
}


@dataclass(frozen=True, slots=True)
class ServiceMark:
    """A service's part in a flow: ``ok``, ``failed``, ``recovered`` or ``waiting`` (not reached yet)."""

    name: str
    state: str = "ok"


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """A flow as a row.

    first_destination, first_service  where it began, as far as seen
    events      publications, without dead-letter publishes and replays
    deliveries  messages times groups that consumed them
    failed      deliveries nobody has made good yet
    """

    key: str
    kind: str
    status: FlowStatus
    place: str | None
    started_ns: int
    ended_ns: int
    first_destination: str | None = None
    first_service: str | None = None
    services: tuple[ServiceMark, ...] = ()
    destinations: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()
    events: int = 0
    deliveries: int = 0
    failed: int = 0
    spans: int = 0
    traces: int = 0
    letters: int = 0

    @property
    def words(self) -> str:
        """State and place, as people say it: "Failed at payment-service"."""
        word = STATUS_WORDS[self.status]
        return f"{word} at {self.place}" if self.place else word

    def duration_ns(self, now_ns: int) -> int:
        """How long it took, or takes: an unfinished flow goes on until now."""
        return max(0, (max(now_ns, self.ended_ns) if self.status in OPEN else self.ended_ns) - self.started_ns)
