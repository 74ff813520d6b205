"""What the flows that match have in common, as the list's page shows it: durations over time, and names with counts.

Everything is a link that narrows the list, so that it works without a script and can be sent on. Pure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from eventflow.domain.clock import instant, nanoseconds
from eventflow.domain.flow_durations import COLUMNS, Durations, durations
from eventflow.domain.flow_query import FlowFacets
from eventflow.domain.flow_summary import STATUS_WORDS
from eventflow.web import formats
from eventflow.web.flow_list import MARKS, STATUSES, Asked, said

LEVELS = 5
CELL = 10
SHOWN = 6
TICKS = (1, 5, 10, 30, 60, 300, 600, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800)
MOST_TICKS = 6
_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of the chart: how many took this long, and the list of those. `width`: percent of the longest bar."""

    words: str
    count: int
    failed: int
    url: str
    chosen: bool
    width: float


@dataclass(frozen=True, slots=True)
class Chart:
    """`dots`: (left, top) in percent of cells with failures; `ticks`: (left, words); `bounds`: rows', top first, ms."""

    picture: SafeString
    bars: tuple[Bar, ...]
    dots: tuple[tuple[float, float], ...]
    ticks: tuple[tuple[float, str], ...]
    most: int
    start_ms: int
    end_ms: int
    bounds: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A name to narrow by."""

    name: str
    words: str
    count: int
    url: str
    chosen: bool
    mark: tuple[str, str] | None = None


def chart(wanted: Asked, found: FlowFacets, now: datetime) -> Chart | None:
    """The durations of what was counted; None when nothing was."""
    if not found.lines:
        return None
    query = wanted.query(now)
    first = min(found.lines)[0]
    # What was not counted is no empty stretch of time; neither is all the time before the first flow.
    start = first if query.since_ns is None or not found.complete else max(0, query.since_ns)
    last = max(found.lines)[0]
    end = max(last + 1, nanoseconds(now) if query.until_ns is None else query.until_ns)
    table = durations(found.lines, start, end)
    longest = max((row.count for row in table.rows), default=0) or 1
    bars = []
    for row in table.rows:
        low, high = said(row.low_ns), said(row.high_ns) if row.high_ns is not None else ""
        chosen = bool(wanted.min or wanted.max) and (wanted.min, wanted.max) == (low, high)
        bars.append(
            Bar(
                words=_range(row.low_ns, row.high_ns),
                count=row.count,
                failed=row.failed,
                url=wanted.url(min="", max="") if chosen else wanted.url(min=low, max=high),
                chosen=chosen,
                width=round(row.count / longest * 100, 1),
            )
        )
    tops = [*(row.high_ns for row in table.rows), table.rows[-1].low_ns] if table.rows else []
    return Chart(
        picture=_picture(table),
        bars=tuple(bars),
        dots=tuple(
            (round((column + 0.5) / COLUMNS * 100, 2), round((place + 0.5) / len(table.rows) * 100, 2))
            for place, row in enumerate(table.rows)
            for column, (_, failed) in row.cells.items()
            if failed
        ),
        ticks=_ticks(start, end, now),
        most=table.most,
        start_ms=start // _MS,
        end_ms=-(-end // _MS),
        bounds=" ".join("Infinity" if top is None else str(top // _MS) for top in tops),
    )


def _range(low_ns: int, high_ns: int | None) -> str:
    low, high = formats.limit(low_ns / 1e9), formats.limit(high_ns / 1e9) if high_ns is not None else ""
    if not low_ns:
        return f"under {high}"
    return f"{low} to {high}" if high else f"over {low}"


def _picture(table: Durations) -> SafeString:
    """One path for each level; a cell is the darker the more flows it holds, by logarithm."""
    paths: list[list[str]] = [[] for _ in range(LEVELS + 1)]
    most = table.most
    for place, row in enumerate(table.rows):
        for column, (count, _) in row.cells.items():
            level = 1 + int((LEVELS - 1) * math.log(count) / math.log(most)) if most > 1 else 1
            paths[level].append(f"M{column * CELL} {place * CELL}h{CELL - 1}v{CELL - 1}h-{CELL - 1}z")
    drawn = "".join(f'<path class="heat-{number}" d="{"".join(path)}"/>' for number, path in enumerate(paths) if path)
    failed = sum(row.failed for row in table.rows)
    return format_html(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        COLUMNS * CELL,
        max(1, len(table.rows)) * CELL,
        f"Flows by duration and start; {failed} of them failed. The list of durations beside it tells the numbers.",
        mark_safe(drawn),  # noqa: S308  # numbers written above, nothing from outside
    )


def _ticks(start_ns: int, end_ns: int, now: datetime) -> tuple[tuple[float, str], ...]:
    """Round times within the chart."""
    start, end = start_ns / 1e9, end_ns / 1e9
    step = next((one for one in TICKS if (end - start) / one <= MOST_TICKS), TICKS[-1])
    found: list[tuple[float, str]] = []
    at: float = math.ceil(start / step) * step
    while at < end and len(found) <= MOST_TICKS:
        place = (at - start) / (end - start) * 100
        moment = instant(int(at * 1e9))
        words = formats.clock(moment, now)
        if 3 < place < 97:
            found.append((round(place, 2), words[:-3] if step >= 60 and words.count(":") == 2 else words))
        at += step
    return tuple(found)


def groups(wanted: Asked, found: FlowFacets) -> list[dict[str, Any]]:
    """(heading, names with counts) of what the list can be narrowed by."""
    statuses = []
    for status, number in found.statuses:
        name = next(name for name, (_, some) in STATUSES.items() if status in some)
        statuses.append(
            Choice(
                status.value,
                STATUS_WORDS[status],
                number,
                wanted.url(status="" if wanted.status == name else name),
                wanted.status == name,
                MARKS[status],
            )
        )
    made = [("Status", statuses)]
    for words, name, names in (
        ("Service", "service", found.services),
        ("Destination", "destination", found.destinations),
        ("Event type", "event", found.event_types),
    ):
        made.append((words, _choices(wanted, name, names)))
    return [{"words": words, "choices": choices[:SHOWN], "more": choices[SHOWN:]} for words, choices in made if choices]


def _choices(wanted: Asked, field: str, names: Sequence[tuple[str, int]]) -> list[Choice]:
    now = getattr(wanted, field)
    return [
        Choice(name, name, number, wanted.url(**{field: "" if name == now else name}), name == now)
        for name, number in names
    ]
