"""Records lag samples: the group's row as it is now, judged by the lag engine, and a thinned history of points.

The engine's windows live in memory and are trusted only as long as they end where the row does; otherwise (restart,
second worker) they are read back from the history. A batch costs a fixed number of queries however many its groups.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter

from django.db import transaction

from eventflow.domain import lag, lag_rules, lag_skew
from eventflow.domain.observations import LagSample
from eventflow.store.models import ConsumerGroup, Destination, LagPoint
from eventflow.store.record import partitions
from eventflow.store.spans import rows as bulk

POINT_SECONDS = 5.0
STRONG_CHANGE = 0.2
VALUES = (
    "system",
    "container",
    "subscriptions",
    "ready",
    "in_flight",
    "redelivered",
    "members",
    "paused",
    "oldest_at",
    "unknown_reason",
    "method",
    "error_seconds",
    "in_rate",
    "out_rate",
    "status",
    "status_reason",
    "status_since",
    "trend",
    "drain_seconds",
    "progress_at",
    "kept_share",
    "lost",
    "skew",
    "seen_at",
)
POINT = (
    "group_id",
    "resolution_seconds",
    "at",
    "ready",
    "in_flight",
    "age_seconds",
    "published_total",
    "delivered_total",
    "settled_total",
    "status",
    "kept_share",
    "skew",
)
COUNTED = POINT[3:9]
"""What a window is made of."""
MOMENTS = {"oldest_at", "status_since", "progress_at", "seen_at"}
_state = attrgetter(*(name for name in VALUES if name != "seen_at"))
_row_values = attrgetter(*VALUES)
_AS_STORED = tuple(
    bulk.instant if name in MOMENTS else json.dumps if name == "subscriptions" else None for name in VALUES
)
Key = tuple[str, str, str]


@dataclass(slots=True)
class _Memory:
    """A group's window, and the newest point of it that is stored."""

    window: lag.Window
    stored: lag.LagPoint | None = None


_memories: dict[int, _Memory] = {}


@transaction.atomic
def record(samples: Sequence[LagSample], now: datetime) -> set[str]:
    """Take in samples; one group's partitions that were sampled together are summed. Returns the news topics."""
    looks = _looks(samples)
    rows = {
        (row.source, row.destination, row.name): row
        for row in ConsumerGroup.objects.filter(
            source__in={key[0] for key in looks}, name__in={key[2] for key in looks}
        )
    }
    fresh = [_new_row(key, look[0]) for key, look in looks.items() if key not in rows]
    if fresh:
        ConsumerGroup.objects.bulk_create(fresh, ignore_conflicts=True)
        created = ConsumerGroup.objects.filter(
            source__in={row.source for row in fresh}, name__in={row.name for row in fresh}
        )
        rows |= {(row.source, row.destination, row.name): row for row in created}
    is_new = {(row.source, row.destination, row.name) for row in fresh}
    remember([rows[key] for key in looks if key not in is_new])
    retained = _retained(looks)

    news: set[str] = {"topology"} if fresh else set()
    changed: list[ConsumerGroup] = []
    touched: list[ConsumerGroup] = []
    points, minutes = [], []
    for key, parts in looks.items():
        row, point = rows[key], _sum(parts)
        memory = _memories.setdefault(row.pk, _Memory(lag.Window()))
        if key in is_new:
            memory = _memories[row.pk] = _Memory(lag.Window())
        if (key not in is_new and point.at <= row.seen_at) or not memory.window.add(point):
            continue
        if minute := partitions.note(row.pk, parts, point.at):
            minutes.append(minute)
        before, state = _shown(row), _state(row)
        _update(row, parts, point, memory.window, _kept(parts, retained.get((row.source, row.destination))))
        (touched if _state(row) == state else changed).append(row)
        if _worth_storing(memory.stored, point):
            memory.stored = point
            points.append(_stored(row, point))
            news.add(f"lag:{row.pk}")
        if _shown(row) != before:
            news |= {"lag", f"lag:{row.pk}"}
    bulk.update(ConsumerGroup, VALUES, map(_values, changed))
    bulk.update(ConsumerGroup, ("seen_at",), ((bulk.instant(row.seen_at), row.pk) for row in touched))
    bulk.insert(LagPoint, POINT, points, unique=POINT[:3])
    partitions.write(minutes)
    return news


def _looks(samples: Iterable[LagSample]) -> dict[Key, list[LagSample]]:
    """The newest sample of each partition, by group."""
    newest: dict[Key, dict[str | None, LagSample]] = defaultdict(dict)
    for sample in sorted(samples, key=attrgetter("at")):
        newest[sample.source, sample.destination[:300], sample.group[:300]][sample.partition] = sample
    return {key: list(parts.values()) for key, parts in newest.items()}


def _total(values: Iterable[int | None]) -> int | None:
    """A sum is only known when all its parts are."""
    known = list(values)
    return None if None in known else sum(known)  # type: ignore[arg-type]  # no None in it


def _sum(parts: Sequence[LagSample]) -> lag.LagPoint:
    at = max(part.at for part in parts)
    oldest = lag.dated(min((part.oldest_at for part in _aged(parts) if part.oldest_at), default=None), at)
    ready = _total([part.ready for part in parts])
    return lag.LagPoint(
        at=at,
        ready=None if ready is None else max(0, ready),
        in_flight=_total([part.in_flight for part in parts]),
        age_seconds=max(0.0, (at - oldest).total_seconds()) if oldest else None,
        published=_total([part.published_total for part in parts]),
        delivered=_total([part.delivered_total for part in parts]),
        settled=_total([part.settled_total for part in parts]),
    )


def _aged(parts: Sequence[LagSample]) -> list[LagSample]:
    """Those whose oldest waiting message is dated. The oldest of all is believed or none is: it lies farthest back."""
    return [part for part in parts if part.oldest_at is not None and part.ready != 0]


def _new_row(key: Key, sample: LagSample) -> ConsumerGroup:
    source, destination, name = key
    return ConsumerGroup(source=source, destination=destination, name=name, system=sample.system, seen_at=sample.at)


def _update(
    row: ConsumerGroup, parts: Sequence[LagSample], point: lag.LagPoint, window: lag.Window, retained: int | None
) -> None:
    first = parts[0]
    row.system, row.container, row.subscriptions = first.system, first.container or "", list(first.subscriptions)
    row.ready, row.in_flight = point.ready, point.in_flight
    row.redelivered = _total([part.redelivered for part in parts])
    row.members, row.paused = (
        max((part.members for part in parts if part.members is not None), default=None),
        first.paused,
    )
    row.unknown_reason = next((part.unknown_reason[:300] for part in parts if part.unknown_reason), "")
    age, guessed = lag.age(window)
    row.oldest_at = point.at - timedelta(seconds=age) if age is not None and point.ready else None
    oldest = min(_aged(parts), key=attrgetter("oldest_at"), default=first)
    oldest = oldest if lag.dated(oldest.oldest_at, point.at) else first
    row.method = guessed or oldest.method
    row.error_seconds = oldest.error_seconds if guessed is None else None
    row.in_rate, row.out_rate = lag.in_rate(window), lag.out_rate(window)
    row.trend, row.drain_seconds = lag.trend(window), lag.drain_seconds(window)
    row.progress_at, row.seen_at = window.progress_at or row.progress_at, point.at
    row.kept_share = None if not retained or point.ready is None else round(100 * point.ready / retained, 1)
    row.lost = sum(part.lost or 0 for part in parts)
    skew = lag_skew.worst_share([part.ready for part in parts])
    row.skew = None if skew is None else round(skew, 1)
    facts = lag_rules.Facts(row.members, row.paused, row.unknown_reason or None, retained)
    verdict = lag_rules.judge(window, facts)
    if row.status != verdict.status or row.status_since is None:
        row.status, row.status_since = verdict.status, point.at
    row.status_reason = verdict.reason[:300]


def _shown(row: ConsumerGroup) -> tuple[object, ...]:
    """What a person sees change."""
    return (
        row.ready,
        row.in_flight,
        row.oldest_at,
        row.in_rate,
        row.out_rate,
        row.status,
        row.status_reason,
        row.members,
    )


def _kept(parts: Sequence[LagSample], by_destination: int | None) -> int | None:
    """What is kept, so that waiting over kept is the share of the worst partition: the others do not even it out.

    Where the samples do not tell it, what the destination holds.
    """
    if all(part.lost is None for part in parts):
        return by_destination
    told = [(part.ready / part.retained, part.retained) for part in parts if part.retained and part.ready is not None]
    ready = _total([part.ready for part in parts])
    if not told or not ready:
        return None
    worst, _ = max(told)
    return round(ready / worst) if worst else None


def _retained(looks: dict[Key, list[LagSample]]) -> dict[tuple[str, str], int]:
    """What destinations hold, where they are logs that are known to have dropped old messages already."""
    rows = Destination.objects.filter(
        source__in={key[0] for key in looks}, kind__in=("topic", "stream"), messages__isnull=False
    ).values_list("source", "name", "messages", "published_total")
    return {
        (source, name): messages
        for source, name, messages, published in rows
        if published is not None and messages is not None and 0 < messages < published
    }


def _worth_storing(stored: lag.LagPoint | None, point: lag.LagPoint) -> bool:
    """One point each 5 s, sooner when it changed strongly."""
    if stored is None or (point.at - stored.at).total_seconds() >= POINT_SECONDS:
        return True
    if (stored.ready is None) != (point.ready is None):
        return True
    before, after = stored.ready or 0, point.ready or 0
    return abs(after - before) > max(10, STRONG_CHANGE * max(before, after))


def _values(row: ConsumerGroup) -> tuple[object, ...]:
    """A row as its UPDATE wants it."""
    pairs = zip(_row_values(row), _AS_STORED, strict=True)
    return (*(value if turn is None else turn(value) for value, turn in pairs), row.pk)


def _stored(row: ConsumerGroup, point: lag.LagPoint) -> tuple[object, ...]:
    age = None if row.ready is None else ((row.seen_at - row.oldest_at).total_seconds() if row.oldest_at else None)
    return (
        row.pk,
        0,
        bulk.instant(point.at),
        point.ready,
        point.in_flight,
        0.0 if point.caught_up else age,
        point.published,
        point.delivered,
        point.settled,
        lag.RANK[lag.LagStatus(row.status)],
        row.kept_share,
        row.skew,
    )


def remember(rows: Sequence[ConsumerGroup]) -> None:
    """Read back the windows that are not in memory or do not end where their rows do, in one query."""
    lost = {row.pk: row for row in rows if not _current(row)}
    if not lost:
        return
    for pk in lost:
        _memories[pk] = _Memory(lag.Window())
    start = max(row.seen_at for row in lost.values()) - timedelta(seconds=lag.KEEP_SECONDS)
    history = LagPoint.objects.filter(group__in=lost, at__gte=start, resolution_seconds=0).order_by("at")
    for pk, *values in history.values_list("group_id", "at", *COUNTED).iterator():
        memory = _memories[pk]
        point = lag.LagPoint(*values)
        if memory.window.add(point):
            memory.stored = point
    for pk, row in lost.items():
        window = _memories[pk].window
        if window.points:  # else it was long out of sight, and what it did meanwhile is not known
            window.progress_at = row.progress_at or window.progress_at
            window.since = min(row.first_seen_at, window.points[0].at)


def _current(row: ConsumerGroup) -> bool:
    memory = _memories.get(row.pk)
    return memory is not None and bool(memory.window.points) and memory.window.points[-1].at == row.seen_at
