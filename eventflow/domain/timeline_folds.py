"""Folds what repeats in a very long timeline: `412 × audit-log` instead of 412 rows that say the same.

Only siblings of the same shape (who, what, where, and the same below them) are folded, and never one in which anything
failed. Linear; no recursion.
"""

from collections.abc import Sequence
from dataclasses import replace

from eventflow.domain.timeline_rows import Row, RowKind

FOLD_OVER = 500
"""Timelines up to this many rows are shown row by row."""

MAX_BARS = 200


def fold_repeats(rows: Sequence[Row], over: int = FOLD_OVER) -> list[Row]:
    """`rows`, top down, with repeated siblings folded into the first of them where there are more than `over` rows."""
    if len(rows) <= over:
        return list(rows)
    children: dict[str | None, list[Row]] = {}
    for row in rows:
        children.setdefault(row.parent, []).append(row)
    shapes = _shapes(rows, children)
    kept: list[Row] = []
    dropped: set[str] = set()
    more: dict[str, list[Row]] = {}
    first: dict[tuple[str | None, int], str] = {}
    for row in rows:
        if row.parent in dropped:
            dropped.add(row.id)
            continue
        shape = shapes[row.id]
        leader = first.setdefault((row.parent, shape), row.id) if shape else row.id
        if leader == row.id:
            kept.append(row)
        else:
            dropped.add(row.id)
            more.setdefault(leader, []).append(row)
    return [_with(row, more.get(row.id, ())) for row in kept]


def _with(row: Row, others: Sequence[Row]) -> Row:
    if not others:
        return row
    bars = [*row.bars, *(bar for other in others for bar in other.bars)]
    return replace(row, repeats=1 + len(others), bars=tuple(bars[:MAX_BARS]))


def _shapes(rows: Sequence[Row], children: dict[str | None, list[Row]]) -> dict[str, int]:
    """Row id → a number that equal shapes share; 0 is never folded."""
    numbers: dict[tuple[object, ...], int] = {}
    shapes: dict[str, int] = {}
    for row in reversed(rows):
        below = tuple(shapes[child.id] for child in children.get(row.id, ()))
        odd = row.bad or row.on_path or row.attempt_failed or row.kind in (RowKind.REPLAY, RowKind.AWAITED)
        if odd or 0 in below:
            shapes[row.id] = 0
            continue
        group = row.delivery.group if row.delivery else None
        key = (row.kind, row.service, row.destination, group, row.number, below)
        shapes[row.id] = numbers.setdefault(key, len(numbers) + 1)
    return shapes
