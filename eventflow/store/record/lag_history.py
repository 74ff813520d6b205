"""Keeps the history of lag small: minutes out of samples, and the end of what is too old."""

from datetime import datetime, timedelta

from django.db.models import Max, Min
from django.db.models.functions import TruncMinute

from eventflow.store.models import LagPoint, PartitionMinute, Rebalance

RAW_HOURS = 2
MINUTE = 60
PARTITION_HOURS = 48


def compact(now: datetime, since: datetime | None = None) -> int:
    """Write each finished minute's worst as one row, from `since` or else the oldest sample on. Returns their number.

    Done again it changes nothing.
    """
    end = now.replace(second=0, microsecond=0)
    raw = LagPoint.objects.filter(resolution_seconds=0, at__lt=end)
    if since is not None:
        raw = raw.filter(at__gte=since.replace(second=0, microsecond=0))
    minutes = (
        raw.annotate(minute=TruncMinute("at"))
        .values("group_id", "minute")
        .annotate(
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


def prune(now: datetime, keep_hours: float) -> int:
    """Drop samples older than two hours that are in a minute already, and minutes older than `keep_hours`."""
    raw_end = now - timedelta(hours=min(RAW_HOURS, keep_hours))
    oldest = LagPoint.objects.filter(resolution_seconds=0, at__lt=raw_end).aggregate(at=Min("at"))["at"]
    if oldest is not None:
        compact(now, oldest)
    dropped, _ = LagPoint.objects.filter(resolution_seconds=0, at__lt=raw_end).delete()
    PartitionMinute.objects.filter(at__lt=now - timedelta(hours=min(keep_hours, PARTITION_HOURS))).delete()
    Rebalance.objects.filter(at__lt=now - timedelta(hours=keep_hours)).delete()
    old, _ = LagPoint.objects.filter(resolution_seconds=MINUTE, at__lt=now - timedelta(hours=keep_hours)).delete()
    return dropped + old
