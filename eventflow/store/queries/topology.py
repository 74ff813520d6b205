"""Reads the edges of the topology for any window, out of the rollups only: the number of spans never matters.

Windows are half open, [start, end). A window's ends are widened to the slots that are kept for that time: ten seconds
while young, minutes and then hours later. Whether a publish goes to a dead-letter destination is judged when reading.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil, floor

import numpy as np
from django.db import connection

from eventflow.domain.edge import EdgeKey, EdgeKind, EdgePoint, EdgeStats, Histogram
from eventflow.store.models import DeadLetter, Destination, Edge, EdgeSlot
from eventflow.store.spans import slots
from eventflow.store.spans.rows import select


@dataclass(frozen=True, slots=True)
class TotalPoint:
    """The whole system in one step of time: messages published, deliveries, and deliveries that failed."""

    at: datetime
    published: int
    consumed: int
    errors: int


def edges(start: datetime, end: datetime) -> list[EdgeStats]:
    """Every edge with traffic in the window, in the order of their keys."""
    keys = _edge_keys()
    parts = slots.together(lambda: _slots(start, end))
    times = slots.bounds(parts)
    ids, rows = slots.table(slots.neighbours(parts))
    columns = (ids, rows[:, slots.COUNT], rows[:, slots.ERRORS], *slots.histograms(rows))
    found = [
        EdgeStats(
            keys[edge_id],
            count,
            max(0, errors),
            Histogram.over(processing),
            Histogram.over(wait),
            *map(_instant, times[edge_id]),
        )
        for edge_id, count, errors, processing, wait in zip(*(column.tolist() for column in columns), strict=True)
        if edge_id in keys and edge_id in times and count > 0
    ]
    return sorted(found, key=_order)


def _order(stats: EdgeStats) -> tuple[str, ...]:
    """As the keys are ordered; tuples compare much faster than they do."""
    key = stats.key
    return key.kind, key.service, key.system, key.destination, key.group


def known(since: datetime) -> list[EdgeKey]:
    """Every edge that had traffic since then."""
    recent = set(Edge.objects.filter(last_ns__gte=int(since.timestamp() * 1e9)).values_list("id", flat=True))
    return sorted(key for edge_id, key in _edge_keys().items() if edge_id in recent)


def edge_series(start: datetime, end: datetime, step_seconds: int) -> Mapping[EdgeKey, list[EdgePoint]]:
    """Counts per step for every edge with traffic in the window; a step without traffic is a point with zero."""
    steps = _steps(start, end, step_seconds)
    found: dict[EdgeKey, dict[int, tuple[int, int]]] = {}
    for key, step, count, errors in _summed(start, end, step_seconds):
        total, failed = found.setdefault(key, {}).get(step, (0, 0))
        found[key][step] = (total + count, failed + errors)
    return {
        key: [EdgePoint(_instant(step), *points.get(step, (0, 0))) for step in steps]
        for key, points in sorted(found.items())
        if any(total for total, _ in points.values())
    }


def totals(start: datetime, end: datetime, step_seconds: int) -> list[TotalPoint]:
    """Published, consumed and failed per step, every step of the window once. Dead-letter publishes are no events."""
    published: dict[int, int] = defaultdict(int)
    consumed: dict[int, int] = defaultdict(int)
    failed: dict[int, int] = defaultdict(int)
    for key, step, count, errors in _summed(start, end, step_seconds):
        if key.kind == "publish":
            published[step] += count
        elif key.kind == "consume":
            consumed[step] += count
            failed[step] += errors
    return [
        TotalPoint(_instant(step), published[step], consumed[step], failed[step])
        for step in _steps(start, end, step_seconds)
    ]


def _summed(start: datetime, end: datetime, step_seconds: int) -> Iterator[tuple[EdgeKey, int, int, int]]:
    """(edge, step, count, errors): an hour is many slots but few steps."""
    keys = _edge_keys()
    for part in slots.together(lambda: _slots(start, end)):
        steps = part.at - part.at % step_seconds
        pairs, inverse = np.unique(np.stack((part.edge, steps)), axis=1, return_inverse=True)
        counts, errors = (np.bincount(inverse.reshape(-1), weights=one) for one in (part.count, part.errors))
        for edge_id, at, count, failed in zip(*pairs.tolist(), counts.tolist(), errors.tolist(), strict=True):
            if (key := keys.get(edge_id)) is not None:
                yield key, _step_of(at, start, step_seconds), int(count), int(failed)


def dead_letter_destinations() -> frozenset[str]:
    """The destinations known to hold dead letters: the broker says so, or a letter was found there."""
    places, letters = (connection.ops.quote_name(one._meta.db_table) for one in (Destination, DeadLetter))
    with connection.cursor() as cursor:
        # Asked for every drawing: building this with the ORM takes longer than the answer.
        cursor.execute(
            f"SELECT name FROM {places} WHERE dead_letters_of <> '[]' OR dead_letter_certainty <> ''"  # noqa: S608  # our own tables
            f" UNION SELECT location FROM {letters}"
        )
        return frozenset(name for (name,) in cursor.fetchall())


def _edge_keys() -> dict[int, EdgeKey]:
    """Every edge by its id."""
    dead = dead_letter_destinations()
    found = {}
    columns = ("id", "kind", "service", "system", "destination", "group")
    for edge_id, kind, service, system, destination, group in select(Edge, columns, {"kind": ("publish", "consume")}):
        word: EdgeKind = "consume" if kind == "consume" else "dead-letter" if destination in dead else "publish"
        found[edge_id] = _key(word, service, system, destination, group)
    return found


@lru_cache(maxsize=16_384)
def _key(kind: EdgeKind, service: str, system: str, destination: str, group: str) -> EdgeKey:
    return EdgeKey(kind, service, system, destination, group)


def _slots(start: datetime, end: datetime) -> list[slots.Stamp]:
    first, last = floor(start.timestamp()), ceil(end.timestamp())
    table = connection.ops.quote_name(EdgeSlot._meta.db_table)
    # The index begins with `at`: an hour before the window nothing reaches into it.
    sql = f"SELECT at, seconds, token FROM {table} WHERE at > %s AND at < %s AND at + seconds > %s"  # noqa: S608  # our own table
    with connection.cursor() as cursor:
        cursor.execute(sql, [first - 3600, last, first])
        return [(at, seconds, token) for at, seconds, token in cursor.fetchall()]


def _steps(start: datetime, end: datetime, seconds: int) -> list[int]:
    first = _align(start, seconds)
    return list(range(first, max(ceil(end.timestamp()), first + 1), seconds))


def _align(start: datetime, seconds: int) -> int:
    return int(start.timestamp()) // seconds * seconds


def _step_of(at: int, start: datetime, seconds: int) -> int:
    """A slot that began before the window counts in its first step."""
    return max(at // seconds * seconds, _align(start, seconds))


@lru_cache(maxsize=4_096)
def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
