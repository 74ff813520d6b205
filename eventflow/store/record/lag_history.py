"""Keeps the history of lag small: minutes out of samples, both packed when they are an hour old, and the end of what
is too old.

Nothing high is lost on the way: a minute, and the 15 s that samples are thinned to, keep their worst.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat

import numpy as np
from django.db import transaction

from eventflow.store import lag_hours, lag_open
from eventflow.store.lag_open import AS_SAMPLED
from eventflow.store.lag_pack import (
    COLUMNS,
    MINUTE,
    OPEN,
    SAMPLE,
    SPAN,
    TENTHS,
    Lags,
    joined,
    merged,
    moment,
    packed,
    thinned,
    unpacked,
)
from eventflow.store.models import ConsumerGroup, LagPack, LagPoint, PartitionMinute, Rebalance
from eventflow.store.spans.columns import Ints
from eventflow.store.spans.rows import insert, instant

QUARTER = 900
_MINUTE = MINUTE * TENTHS
POINT = ("group_id", "resolution_seconds", "at", *COLUMNS)
PACK = ("group_id", "seconds", "at", "body", "hours")
PARTITION_HOURS = 48
GROUPS = 100
"""Packed in one transaction: no writer waits long."""


def compact(now: datetime, since: datetime | None = None) -> int:
    """Write each finished minute's worst as one row, from `since` or else the oldest sample on. Returns their number.

    Done again it changes nothing.
    """
    end = now.replace(second=0, microsecond=0)
    start = None if since is None else since.replace(second=0, microsecond=0)
    written = 0
    for part in _parts(GROUPS):
        whose, samples = lag_open.read(part, AS_SAMPLED, start, end)
        minutes, begins = thinned(samples, MINUTE, whose)
        written += len(minutes)
        columns = [_as_stored(minutes, name) for name in COLUMNS]
        at = [instant(moment(one // _MINUTE * _MINUTE)) for one in minutes.at.tolist()]
        rows = zip(whose[begins].tolist(), repeat(MINUTE), at, *columns)
        insert(LagPoint, POINT, rows, unique=POINT[:3])
    return written


def _as_stored(lags: Lags, name: str) -> list[float | int | None]:
    whole = name not in ("age_seconds", "kept_share", "skew")
    return [None if one != one else int(one) if whole else one for one in lags[name].tolist()]  # noqa: PLR0124  # NaN


def _parts(size: int) -> list[list[int]]:
    pks = list(ConsumerGroup.objects.order_by("pk").values_list("pk", flat=True))
    return [pks[first : first + size] for first in range(0, len(pks), size)]


def pack(now: datetime) -> int:
    """Turn rows older than an hour, by whole quarters of it, into packs. Returns how many samples those hold.

    Rows of a group go in one transaction with what they become; done again it changes nothing.
    """
    quarter = (now - OPEN).timestamp() // QUARTER * QUARTER
    end = datetime.fromtimestamp(quarter, UTC)
    return sum(_pack(part, end) for part in _parts(GROUPS))


@transaction.atomic
def _pack(pks: Sequence[int], end: datetime) -> int:
    """Whoever packs the same rows at the same time waits for their locks, and then finds none."""
    whose, samples = lag_open.read(pks, AS_SAMPLED, None, end, locked=True)
    whose_minute, written = lag_open.read(pks, MINUTE, None, end, locked=True)
    if not len(samples) and not len(written):
        return 0
    short, begins = thinned(samples, SAMPLE, whose)
    minutes, minute_begins = thinned(samples, MINUTE, whose)
    minutes = Lags(minutes.at // _MINUTE * _MINUTE, minutes.columns)
    # What was sampled knows a minute better than what was written of it before it was over.
    both = joined([minutes, written])
    groups = np.concatenate([whose[minute_begins], whose_minute])
    order = np.lexsort((np.arange(len(both)), both.at, groups))
    both, groups = both.cut(order), groups[order]
    fresh = np.ones(len(both), bool)
    fresh[1:] = (groups[1:] != groups[:-1]) | (both.at[1:] != both.at[:-1])
    _add(pks, SAMPLE, whose[begins], short)
    _add(pks, MINUTE, groups[fresh], both.cut(fresh))
    LagPoint.objects.filter(group__in=pks, resolution_seconds__in=(AS_SAMPLED, MINUTE), at__lt=end).delete()
    return len(short)


def _add(pks: Sequence[int], seconds: int, group: Ints, lags: Lags) -> None:
    """Into the packs where they belong. 2 queries."""
    fresh = dict(_by_pack(group, lags, SPAN[seconds]))
    if not fresh:
        return
    starts = sorted({at for _, at in fresh})
    known = LagPack.objects.filter(group__in=pks, seconds=seconds, at__gte=starts[0], at__lte=starts[-1])
    for pk, at, body in known.values_list("group_id", "at", "body"):
        if (pk, at) in fresh:
            fresh[pk, at] = merged([fresh[pk, at], unpacked(body)])
    rows = [
        (pk, seconds, at, packed(part), lag_hours.summed(part, at) if seconds == MINUTE else b"")
        for (pk, at), part in fresh.items()
    ]
    insert(LagPack, PACK, rows, unique=PACK[:3], update=PACK[3:])


def _by_pack(group: Ints, lags: Lags, span: int) -> Iterator[tuple[tuple[int, int], Lags]]:
    """Group and the time its pack begins, and what goes there."""
    begins = lags.at // (span * TENTHS) * span
    cuts = np.flatnonzero((np.diff(group) != 0) | (np.diff(begins) != 0)) + 1
    for first, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(lags)], strict=True):
        if end > first:
            yield (int(group[first]), int(begins[first])), lags.cut(slice(first, end))


def prune(now: datetime, keep_hours: float, sample_days: float, minute_days: float) -> int:
    """Drop packed samples and minutes that are too old; partitions and rebalances by `keep_hours`. Returns how many
    packs went."""
    dropped = 0
    for seconds, days in ((SAMPLE, sample_days), (MINUTE, minute_days)):
        oldest = (now - timedelta(days=days)).timestamp() - SPAN[seconds]
        dropped += LagPack.objects.filter(seconds=seconds, at__lte=oldest).delete()[0]
    PartitionMinute.objects.filter(at__lt=now - timedelta(hours=min(keep_hours, PARTITION_HOURS))).delete()
    Rebalance.objects.filter(at__lt=now - timedelta(hours=keep_hours)).delete()
    return dropped
