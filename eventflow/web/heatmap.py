"""Partition by time as inline SVG: a row a partition, a column a slice of the range, darker where more waited. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from eventflow.store.queries.lag_group import Inside, PartitionRow
from eventflow.web import formats

LEVELS = 5
CELL, ROW, HEIGHT = 6, 13, 11
SHOWN = 48
LITTLE = 0.002


@dataclass(frozen=True, slots=True)
class Row:
    """A row in words, for its labels and for the table that tells the same."""

    partition: str
    now: int | None
    worst: int | None
    hot: bool


@dataclass(frozen=True, slots=True)
class Heatmap:
    picture: SafeString
    rows: tuple[Row, ...]
    left_out: int
    column: str
    note: str


def of(inside: Inside) -> Heatmap | None:
    """None where nothing is known of single partitions. Of very many, those that hold most are drawn."""
    if not inside.rows:
        return None
    rows: Sequence[PartitionRow] = inside.rows
    if len(rows) > SHOWN:
        keep = {row.partition for row in sorted(rows, key=lambda row: -(row.now or row.worst or 0))[:SHOWN]}
        rows = [row for row in rows if row.partition in keep]
    return Heatmap(
        picture=_picture(rows),
        rows=tuple(Row(row.partition, row.now, row.worst, row.partition in inside.hot) for row in rows),
        left_out=len(inside.rows) - len(rows),
        column=formats.duration(inside.column_seconds),
        note=_note(inside),
    )


def _picture(rows: Sequence[PartitionRow]) -> SafeString:
    """One path for each level: thousands of cells stay a few kilobytes."""
    top = max((value for row in rows for value in row.cells if value is not None), default=0)
    paths: list[list[str]] = [[] for _ in range(LEVELS + 1)]
    for line, row in enumerate(rows):
        for column, value in enumerate(row.cells):
            if value is not None:
                paths[level(value, top)].append(f"M{column * CELL} {line * ROW + 1}h{CELL - 1}v{HEIGHT}h-{CELL - 1}z")
    drawn = "".join(f'<path class="heat-{number}" d="{"".join(path)}"/>' for number, path in enumerate(paths) if path)
    columns = len(rows[0].cells)
    return format_html(
        '<svg viewBox="0 0 {} {}" height="{}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        columns * CELL - 1,
        len(rows) * ROW,
        len(rows) * ROW,
        f"Lag of {len(rows)} partitions over time, at most {formats.count(top)}; the table below tells the same",
        mark_safe(drawn),  # noqa: S308  # numbers written above, nothing from outside
    )


def level(value: int, top: int) -> int:
    """0 for next to nothing, else 1 to 5; by the root, so that little is seen beside much."""
    return 0 if value <= LITTLE * top else min(LEVELS, 1 + int(LEVELS * math.sqrt(value / top)))


def _note(inside: Inside) -> str:
    if not inside.hot:
        return ""
    names = inside.hot[:3]
    if len(inside.hot) > len(names):
        names = (*names[:2], f"{len(inside.hot) - 2} more")
    listed = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
    which = f"Partition {listed} holds" if len(inside.hot) == 1 else f"Partitions {listed} hold"
    return f"{which} {round(100 * inside.hot_share)} % of the lag: look at the keys that are sent there."
