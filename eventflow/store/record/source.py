"""Records how collectors fare. A blind source takes its groups' verdicts with it: what is not seen is not healthy."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from eventflow.domain.lag import LagStatus
from eventflow.domain.observations import SourceStatus
from eventflow.store.models import ConsumerGroup, Destination, Source
from eventflow.store.record import blind

COST_MINUTES = 60


def record(statuses: Sequence[SourceStatus], now: datetime) -> set[str]:
    """Newest wins. `ok_at` stays at the last time the broker was seen, so that "blind since" can be told."""
    newest = {status.source: status for status in sorted(statuses, key=lambda status: status.at)}
    known = {row.name: row for row in Source.objects.filter(name__in=newest)}
    news: set[str] = set()
    for name, status in newest.items():
        row = known.get(name) or Source(name=name)
        if row.seen_at and row.seen_at > status.at:
            continue
        if row.pk is None or (row.state, row.message) != (status.state, status.message):
            news |= {"sources", "topology"}
        if status.state in ("blind", "stopped", "paused") and row.state != status.state:
            _lose_sight(name, status)
            news.add("lag")
        blind.note(status, row.state if row.pk else None)
        if row.pause_seconds != status.pause_seconds or status.pause_seconds:
            _slow_down(name, status.pause_seconds)
        _save(_fill(row, status))
    return news


def _save(row: Source) -> None:
    if not row._state.adding:
        row.save()
        return
    # Somebody may have told of it since it was looked for: what is told last holds.
    told = [field.name for field in Source._meta.concrete_fields if field.name not in ("id", "name", "first_seen_at")]
    Source.objects.bulk_create([row], update_conflicts=True, unique_fields=["name"], update_fields=told)


def forget(name: str) -> None:
    """A source that is not looked at any more says nothing about today: no alert, no line in the settings."""
    blind.end(name)
    Source.objects.filter(name=name).delete()


def forget_numbered(name: str, count: int) -> None:
    """Forget the receivers called `name` and a number that is larger than `count`."""
    for found in Source.objects.filter(name__startswith=f"{name} ").values_list("name", flat=True):
        number = found.removeprefix(f"{name} ")
        if number.isdigit() and int(number) > count:
            forget(found)


@transaction.atomic
def drop(name: str) -> None:
    """A broker that a person removed: what it told goes too. Letters and flows stay, they are evidence."""
    forget(name)
    ConsumerGroup.objects.filter(source=name).delete()
    Destination.objects.filter(source=name).delete()


def _fill(row: Source, status: SourceStatus) -> Source:
    row.system, row.state, row.message, row.seen_at = status.system, status.state, status.message, status.at
    row.address = status.address or row.address
    row.rights = dict(status.rights) or row.rights
    row.calls, row.received_bytes, row.cycle_seconds = status.calls, status.received_bytes, status.cycle_seconds
    row.pause_seconds = status.pause_seconds
    row.counters = dict(status.counters) or row.counters
    if status.state == "ok":
        row.ok_at = status.at
        row.cursors = dict(status.cursors) or row.cursors
        row.costs = _costs(row.costs, status)
    return row


def _costs(before: Sequence[Sequence[float]], status: SourceStatus) -> list[list[float]]:
    """The last hour's looks by minute, with this one. A receiver only listens: it costs nobody anything."""
    if not status.cycle_seconds:
        return list(map(list, before))
    minute = int(status.at.timestamp()) // 60
    kept = [list(cost) for cost in before if cost[0] > minute - COST_MINUTES]
    if not kept or kept[-1][0] != minute:
        kept.append([minute, 0, 0, 0, 0.0])
    look = (1, status.calls, status.received_bytes, status.cycle_seconds)
    kept[-1][1:] = [round(sum(pair), 3) for pair in zip(kept[-1][1:], look, strict=True)]
    return kept


def _slow_down(name: str, pause: float) -> None:
    """Its groups are not out of sight while it is left alone."""
    ConsumerGroup.objects.filter(source=name).exclude(pause_seconds=pause).update(pause_seconds=pause)


def _lose_sight(name: str, status: SourceStatus) -> None:
    reason = f"{name} is paused" if status.state == "paused" else f"cannot see {name}: {status.message}"[:300]
    ConsumerGroup.objects.filter(source=name).update(
        status=LagStatus.UNKNOWN, status_reason=reason, status_since=status.at, trend=0, drain_seconds=None
    )
