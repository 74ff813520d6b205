"""Keeps the history of lag small: minutes out of samples, both packed when they are an hour old, and the end of what
is too old.

Nothing high is lost on the way: a minute, and the 15 s that samples are thinned to, keep their worst.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db import transaction
from django.db.models import Max, Min
from django.db.models.functions import TruncMinute

from eventflow.store import lag_open
from eventflow.store.lag_open import AS_SAMPLED
from eventflow.store.lag_pack import MINUTE, OPEN, SAMPLE, SPAN, TENTHS, Lags, joined, merged, packed, thinned, unpacked
from eventflow.store.models import ConsumerGroup, LagPack, LagPoint, PartitionMinute, Rebalance
from eventflow.store.spans.columns import Ints
from eventflow.store.spans.rows import insert

QUARTER = 900
PARTITION_HOURS = 48
GROUPS = 100
"""Packed in one transaction: no writer waits long."""


def compact(now: datetime, since: datetime | None = None) -> int:
    """Write each finished minute's worst as one row, from `since` or else the oldest sample on. Returns their number.

    Done again it changes nothing.
    """
    end = now.replace(second=0, microsecond=0)
    raw = LagPoint.objects.filter(resolution_seconds=AS_SAMPLED, at__lt=end)
    if since is not None:
        raw = raw.filter(at__gte=since.replace(second=0, microsecond=0))
    minutes = (
        raw.annotate(minute=TruncMinute("at"))
        .values("group_id", "minute")
        .annotate(
            fewest=Min("ready"),
            ready=Max("ready"),
            in_flight=Max("in_flight"),
            age=Max("age_seconds"),
            published=Max("published_total"),
            delivered=Max("delivered_total"),
            settled=Max("settled_total"),
            worst=Max("status"),
            kept=Max("kept_share"),
            skewed=Max("skew"),
        )
        .order_by()
    )
    rows = [
        LagPoint(
            group_id=minute["group_id"],
            at=minute["minute"],
            resolution_seconds=MINUTE,
            ready=minute["ready"],
            low=minute["fewest"],
            in_flight=minute["in_flight"],
            age_seconds=minute["age"],
            published_total=minute["published"],
            delivered_total=minute["delivered"],
            settled_total=minute["settled"],
            status=minute["worst"],
            kept_share=minute["kept"],
            skew=minute["skewed"],
        )
        for minute in minutes
    ]
    LagPoint.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)
    return len(rows)


def pack(now: datetime) -> int:
    """Turn rows older than an hour, by whole quarters of it, into packs. Returns how many samples those hold.

    Rows of a group go in one transaction with what they become; done again it changes nothing.
    """
    quarter = (now - OPEN).timestamp() // QUARTER * QUARTER
    end = datetime.fromtimestamp(quarter, UTC)
    pks = list(ConsumerGroup.objects.order_by("pk").values_list("pk", flat=True))
    return sum(_pack(pks[first : first + GROUPS], end) for first in range(0, len(pks), GROUPS))


@transaction.atomic
def _pack(pks: Sequence[int], end: datetime) -> int:
    """Whoever packs the same rows at the same time waits for their locks, and then finds none."""
    whose, samples = lag_open.read(pks, AS_SAMPLED, None, end, locked=True)
    whose_minute, written = lag_open.read(pks, MINUTE, None, end, locked=True)
    if not len(samples) and not len(written):
        return 0
    short, begins = thinned(samples, SAMPLE, whose)
    minutes, minute_begins = thinned(samples, MINUTE, whose)
    minutes = Lags(minutes.at // (MINUTE * TENTHS) * (MINUTE * TENTHS), minutes.columns)
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
    rows = [(pk, seconds, at, packed(part)) for (pk, at), part in fresh.items()]
    insert(LagPack, ("group_id", "seconds", "at", "body"), rows, unique=("group_id", "seconds", "at"), update=("body",))


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
