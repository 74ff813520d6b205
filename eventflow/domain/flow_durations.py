"""How long flows took, over time: a table of counts with a logarithmic scale of durations and even columns of time.

Pure. The scale's bounds are round numbers that people say, three to a decade up to minutes.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from eventflow.domain.flow_query import FlowMark

_MS = 1_000_000
_S = 1_000 * _MS
BOUNDS_NS: tuple[int, ...] = (
    *(0, 1 * _MS, 3 * _MS, 10 * _MS, 30 * _MS, 100 * _MS, 300 * _MS, 1 * _S, 3 * _S, 10 * _S, 30 * _S),
    *(60 * _S, 300 * _S, 900 * _S, 3_600 * _S, 21_600 * _S, 86_400 * _S),
)
"""Where each row begins; the last has no end."""
COLUMNS = 60
FEWEST_ROWS, MOST_ROWS = 5, 9
"""A table that would have more rows has every other bound only."""


@dataclass(frozen=True, slots=True)
class DurationRow:
    """Flows that took [low, high): all, those that failed, and both by column of time (only columns with any)."""

    low_ns: int
    high_ns: int | None
    count: int
    failed: int
    cells: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Durations:
    """The table, longest durations first; rows beyond the shortest and the longest flow are left out."""

    start_ns: int
    end_ns: int
    rows: tuple[DurationRow, ...]

    @property
    def most(self) -> int:
        """The largest number in a cell."""
        return max((count for row in self.rows for count, _ in row.cells.values()), default=0)


def durations(marks: Iterable[FlowMark], start_ns: int, end_ns: int) -> Durations:
    """Count flows that started in [start, end) by duration and start."""
    bounds, counts = BOUNDS_NS, _counted(marks, start_ns, end_ns)
    if not counts:
        return Durations(start_ns, end_ns, ())
    low, high = min(counts)[0], max(counts)[0]
    if high - low + 1 > MOST_ROWS:
        bounds, counts = BOUNDS_NS[::2], _coarser(counts)
        low, high = low // 2, high // 2
    while high - low + 1 < FEWEST_ROWS:
        low, high = max(0, low - 1), min(len(bounds) - 1, high + 1)
    rows = []
    for row in range(high, low - 1, -1):
        cells = {column: cell for (at, column), cell in sorted(counts.items()) if at == row}
        rows.append(
            DurationRow(
                bounds[row],
                bounds[row + 1] if row + 1 < len(bounds) else None,
                sum(count for count, _ in cells.values()),
                sum(failed for _, failed in cells.values()),
                cells,
            )
        )
    return Durations(start_ns, end_ns, tuple(rows))


_Counts = dict[tuple[int, int], tuple[int, int]]
"""(row, column) → flows, those that failed."""


def _counted(marks: Iterable[FlowMark], start_ns: int, end_ns: int) -> _Counts:
    step = max(1, -(-(end_ns - start_ns) // COLUMNS))
    found: _Counts = {}
    # Thousands of flows for every page: as little as can be for each.
    for started_ns, duration_ns, failed in marks:
        column = (started_ns - start_ns) // step
        if not 0 <= column < COLUMNS:
            column = 0 if column < 0 else COLUMNS - 1
        at = bisect_right(BOUNDS_NS, duration_ns) - 1, column
        before = found.get(at)
        found[at] = (1, int(failed)) if before is None else (before[0] + 1, before[1] + failed)
    return found


def _coarser(counts: _Counts) -> _Counts:
    found: _Counts = {}
    for (row, column), (count, failed) in counts.items():
        before = found.get((row // 2, column), (0, 0))
        found[row // 2, column] = before[0] + count, before[1] + failed
    return found
