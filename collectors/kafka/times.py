"""When was the record at an offset written? What ListOffsets told about one partition, kept as proofs. Pure.

Asked for a time t the broker names the first record written at or after t. So every record before that one is older
than t, and the named one's own time is known. With rising timestamps each answer narrows the time of every offset.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

KEPT = 64
NEAR_MS = 1000
NEAR_SHARE = 0.02
SLACK_MS = 1000
"""Between the writer's clock, the broker's and ours."""


class Estimate(NamedTuple):
    """The record's time in ms since the epoch, and how wrong it may be either way."""

    at: int
    error: int
    exact: bool


@dataclass(slots=True)
class Times:
    """One partition's proofs. `records`: (offset, its time). `below`: (offset, t): what lies before is older than t."""

    records: list[tuple[int, int]] = field(default_factory=list)
    below: list[tuple[int, int]] = field(default_factory=list)
    seen: list[tuple[int, int]] = field(default_factory=list)
    """(end offset, when it was seen): no proof, but a good first guess."""
    settled: dict[int, Estimate] = field(default_factory=dict)
    """Offsets whose time is known well enough: it does not change any more."""
    _turn: int = 0
    _first: int = -1

    def saw_end(self, end: int, at: int) -> None:
        """The poll history: records below `end` were there at `at`."""
        if not self.seen or self.seen[-1][0] < end:
            self.seen.append((end, at))
            del self.seen[:-KEPT]
        elif self.seen[-1][0] > end:
            self.forget()
            self.seen.append((end, at))

    def answered(self, asked: int, offset: int | None, at: int | None, end: int) -> None:
        """The broker's answer to "first record at or after `asked`?"; None: there is none, up to `end`."""
        if offset is None or at is None:
            _keep(self.below, (end, asked))
            return
        _keep(self.records, (offset, at))
        _keep(self.below, (offset, asked))

    def forget(self) -> None:
        """The topic was made anew, or its timestamps do not rise: nothing proved holds."""
        self.records.clear()
        self.below.clear()
        self.seen.clear()
        self.settled.clear()

    def forget_before(self, offset: int) -> None:
        """No group asks for offsets under `offset` any more; the last proof below stays as the lower edge."""
        if offset == self._first:
            return
        self._first = offset
        self.settled = {kept: found for kept, found in self.settled.items() if kept >= offset}
        cut = bisect_right(self.records, (offset, 1 << 62)) - 1
        if cut > 0:
            del self.records[:cut]
        cut = bisect_right(self.below, (offset, 1 << 62))
        del self.below[:cut]
        cut = bisect_right(self.seen, (offset, 1 << 62)) - 1
        if cut > 0:
            del self.seen[:cut]

    def edges(self, offset: int, now: int) -> tuple[int | None, int]:
        """The record's time lies between these."""
        place = bisect_right(self.records, (offset, 1 << 62))
        low = self.records[place - 1][1] if place else None
        high = self.records[place][1] if place < len(self.records) else now
        place = bisect_right(self.below, (offset, 1 << 62))
        if place < len(self.below):
            high = min(high, self.below[place][1])
        return low, min(high, now)

    def estimate(self, offset: int, now: int) -> Estimate | None:
        """The time of the record at `offset`; None while nothing is known of it."""
        place = bisect_left(self.records, (offset, -1))
        if place < len(self.records) and self.records[place][0] == offset:
            at = self.records[place][1]  # from the future: its writer's clock is wrong, so it tells no age
            return Estimate(min(at, now), 0, exact=True) if at <= now + SLACK_MS else None
        low, high = self.edges(offset, now)
        if low is None:
            return None
        place = bisect_right(self.seen, (offset, 1 << 62))
        if place < len(self.seen):  # it was there when we looked, so it is not younger than that
            high = min(high, max(low, self.seen[place][1] + SLACK_MS))
        if low > high:  # timestamps that do not rise
            return Estimate(high, low - high, exact=False)
        at = min(max(self._between(offset, now) or (low + high) // 2, low), high)
        return Estimate(at, max(at - low, high - at), exact=False)

    def near(self, offset: int, now: int) -> bool:
        """Whether the time is known well enough not to ask again."""
        if offset in self.settled:
            return True
        found = self.estimate(offset, now)
        if found is None or found.error > max(NEAR_MS, NEAR_SHARE * (now - found.at)):
            return False
        self.settled[offset] = found
        return True

    def date(self, offset: int, now: int) -> Estimate | None:
        """The best that is known now."""
        return self.settled.get(offset) or self.estimate(offset, now)

    def next_question(self, offset: int, now: int) -> int:
        """The time to ask for next. 0 finds the oldest record there is, a lower edge for everything."""
        low, high = self.edges(offset, now)
        if low is not None and low > high:
            self.forget()
            return 0
        shortly_before = self._not_there_at(offset)
        if shortly_before is not None and (low or 0) < shortly_before <= high:
            return shortly_before
        if low is None:
            return 0
        self._turn += 1
        guess = self._between(offset, now) if self._turn % 3 else None
        if guess is None or not low < guess <= high:
            guess = (low + high + 1) // 2
        return guess

    def _not_there_at(self, offset: int) -> int | None:
        """Our own polls saw the log end before this record then: asked for, that becomes a proof in one step."""
        place = bisect_right(self.seen, (offset, 1 << 62))
        return self.seen[place - 1][1] - SLACK_MS if place else None

    def _between(self, offset: int, now: int) -> int | None:
        """A straight line through the nearest known points on both sides."""
        points = sorted({*self.records, *self.below, *self.seen})
        place = bisect_right(points, (offset, 1 << 62))
        if not 0 < place < len(points):
            return None
        (before, early), (after, late) = points[place - 1], points[place]
        if after <= before or late < early:
            return None
        return early + (late - early) * (offset - before) // (after - before)


def _keep(points: list[tuple[int, int]], point: tuple[int, int]) -> None:
    place = bisect_left(points, point)
    if place < len(points) and points[place] == point:
        return
    points.insert(place, point)
    if len(points) > KEPT:
        del points[0 if place > KEPT // 2 else -1]
