"""How many tasks came into each queue, were fetched and ended, counted from workers' events. Pure.

An event names no queue: a task's queue is what its sender said, what lies in the broker while a worker holds it, the
one that tasks of its name come from, or the only one there is. What came in is what was fetched and what waits.
Promises: None as soon as an event's queue is not known, or tasks leave a queue that no event tells of.
"""

from collections import OrderedDict
from dataclasses import dataclass

KNOWN_NAMES = 5000
MOST_QUEUES = 1000
UNPLACED_SECONDS = 60.0
SILENT_SECONDS = 30.0
"""Events come some moments after what they tell of; tasks that left so long ago without one, left without one."""
ENDS = {"task-succeeded", "task-failed", "task-rejected", "task-revoked", "task-retried"}
"""A task that is tried again has ended too: it is published anew."""


@dataclass(slots=True)
class Tally:
    """One queue since we listen. `came` never falls; `short_at`: since when fetched and waiting are less than it."""

    fetched: int = 0
    ended: int = 0
    failed: int = 0
    retried: int = 0
    came: int = 0
    short_at: float | None = None
    silent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Counters to take rates from."""

    came: int
    fetched: int
    ended: int


class Tallies:
    """Of all queues."""

    def __init__(self) -> None:
        self.queues: dict[str, Tally] = {}
        self.only: str | None = None
        """The queue, where there is one only."""
        self._of_names: OrderedDict[str, set[str]] = OrderedDict()
        self._unplaced_at: float | None = None

    def learn(self, name: object, queue: str) -> None:
        """A task of this name came from this queue."""
        if isinstance(name, str) and name:
            self._of_names.setdefault(name[:300], set()).add(queue)
            while len(self._of_names) > KNOWN_NAMES:
                self._of_names.popitem(last=False)

    def place(self, name: object, said: object) -> str | None:
        """A task's queue, as far as it can be known. `said`: what its sender said."""
        if isinstance(said, str) and said:
            return said[:255]
        known = self._of_names.get(name[:300], set()) if isinstance(name, str) else set()
        return next(iter(known)) if len(known) == 1 else self.only

    def heard(self, kind: str, queue: str | None, clock: float) -> None:
        """An event of a task of this queue."""
        if queue is None:
            if kind == "task-received":
                self._unplaced_at = clock
            return
        if queue not in self.queues and len(self.queues) >= MOST_QUEUES:
            return
        tally = self.queues.setdefault(queue, Tally())
        tally.fetched += kind == "task-received"
        tally.ended += kind in ENDS
        tally.failed += kind == "task-failed"
        tally.retried += kind == "task-retried"

    def totals(self, queue: str, ready: int | None, clock: float) -> Totals | None:
        """At a look that found `ready` waiting."""
        tally = self.queues.get(queue)
        if tally is None or not tally.fetched or ready is None:
            return None
        came = tally.fetched + ready
        if came >= tally.came:
            tally.came, tally.short_at = came, None
        elif tally.short_at is None:
            tally.short_at = clock
        elif clock - tally.short_at >= SILENT_SECONDS:
            tally.came, tally.short_at, tally.silent_at = came, None, clock
        if _lately(self._unplaced_at, clock) or self.silent(queue, clock):
            return None
        return Totals(tally.came, tally.fetched, tally.ended)

    def silent(self, queue: str, clock: float) -> bool:
        """Whether tasks left the queue that no event tells of."""
        return queue in self.queues and _lately(self.queues[queue].silent_at, clock)

    def unplaced(self, clock: float) -> bool:
        """Whether tasks were fetched of which nobody says the queue."""
        return _lately(self._unplaced_at, clock)


def _lately(at: float | None, clock: float) -> bool:
    return at is not None and clock - at < UNPLACED_SECONDS
