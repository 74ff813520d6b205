"""Reads of what a rule can be tried against: lag as sampled and minute by minute, dead letters by their arrival.

Bounded: groups are sifted by one sum over the history first; only those that ever came near the limit are read whole,
and of these at most `READ_GROUPS`. What was left out is counted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter

from django.db.models import F, Min, Q

from eventflow.domain import alert, alert_backtest, lag
from eventflow.domain.alert import Kind, Measurement, Rule
from eventflow.domain.alert_backtest import BackTest, Fired, Moment, Track
from eventflow.domain.lag import LagStatus
from eventflow.store.models import AlertRule, ConsumerGroup, DeadLetter, LagPoint
from eventflow.store.queries.alert_measurements import ARRIVAL_HOURS, FLOOD_SECONDS
from eventflow.store.queries.alerts import as_rule
from eventflow.store.queries.lag import subject

DAYS = 7
SIFT_GROUPS = 200
READ_GROUPS = 30
LETTERS = 20_000
MINUTE_GAP = 180.0
MINUTES = (
    "Samples are kept for hours only; before that the history is minute by minute, each minute's worst, "
    "so that short spikes may count longer than they were."
)
LOST = "What was lost is not recorded, only how near it came."
QUIET = "An arrival counts as over an hour after its last letter; a person may have ended it sooner."
NOT_RECORDED = "Whether a source was in sight is not recorded, so this kind of rule cannot be tried."
NO_PLACES = "Where dead letters could not arrive is not recorded, so this kind of rule cannot be tried."
RECORDED = {Kind.LAG: Q(), Kind.SKEW: Q(skew__isnull=False)}
"""Since when a kind's measure is in the history; for the others since verdicts are."""
VALUES = ("group_id", "at", "ready", "age_seconds", "status", "kept_share", "skew", "resolution_seconds")
Row = tuple[int, datetime, int | None, float | None, int | None, float | None, float | None, int]


def backtest(rule: Rule, now: datetime) -> BackTest:
    """The rule against the last seven days."""
    start = now - timedelta(days=DAYS)
    if rule.kind == Kind.UNREACHABLE:
        return BackTest(start, now, note=NO_PLACES, possible=False)
    if rule.kind == Kind.BLIND:
        return BackTest(start, now, note=NOT_RECORDED, possible=False)
    if rule.kind == Kind.DEAD_LETTERS:
        return _letters(rule, start, now)
    return _flood(rule, start, now) if rule.kind == Kind.FLOOD else _lag(rule, start, now)


# ---------- groups ----------


@dataclass(frozen=True, slots=True)
class _Group:
    """A group without its numbers."""

    pk: int
    measurement: Measurement
    source: str


def _groups(rule: Rule) -> list[_Group]:
    """The groups that a rule names, those that wait for most first. One query."""
    rows = ConsumerGroup.objects.order_by(F("ready").desc(nulls_last=True), "pk")
    found = []
    for pk, source, destination, name, service in rows.values_list("pk", "source", "destination", "name", "service"):
        subject_name = subject(source, destination, name)
        names = (name, subject_name, destination, service)
        if alert.matches(rule.pattern, names):
            found.append(_Group(pk, Measurement(subject_name, name, names, place=destination), source))
    return found


def _lag(rule: Rule, start: datetime, now: datetime) -> BackTest:
    groups = _groups(rule)
    sifted = {group.pk: group for group in groups[:SIFT_GROUPS]}
    points = LagPoint.objects.filter(group__in=sifted, at__gte=start, at__lte=now)
    recorded = RECORDED.get(rule.kind, Q(status__isnull=False))
    since = points.filter(recorded).aggregate(first=Min("at"))["first"]
    near = list(points.filter(_near(rule)).order_by().values_list("group_id", flat=True).distinct())
    read = near[:READ_GROUPS]
    rows = points.filter(group__in=read).order_by("group_id", "at", "-resolution_seconds").values_list(*VALUES)
    stops = [as_rule(row) for row in AlertRule.objects.filter(kind=Kind.STOPPED, enabled=True)]
    fired = alert_backtest.fired(rule, _tracks(rows.iterator(), sifted, [rule, *stops]), stops)
    left = len(groups) - len(sifted) + len(near) - len(read)
    note = f"{MINUTES} {LOST}" if rule.kind == Kind.RETENTION else MINUTES
    return BackTest(start, now, since, tuple(fired), len(groups) - left, left, note if since else "")


def _near(rule: Rule) -> Q:
    """Points that break the rule's limit: a group without one can't have fired."""
    if rule.kind == Kind.STOPPED:
        return Q(status__in=[lag.RANK[LagStatus.STOPPED], lag.RANK[LagStatus.STALLED]])
    if rule.kind == Kind.DRIFTING:
        return Q(status=lag.RANK[LagStatus.DRIFTING])
    limit = alert.SHARES.get(rule.kind, 0.0) if rule.share is None else rule.share
    if rule.kind == Kind.RETENTION:
        return Q(kept_share__gt=limit)
    if rule.kind == Kind.SKEW:
        return Q(skew__gt=limit, ready__gt=rule.messages or 0)
    old = Q(pk__in=[]) if rule.seconds is None else Q(age_seconds__gt=rule.seconds)
    return old if rule.messages is None else old | Q(ready__gt=rule.messages)


def _tracks(rows: Iterator[Row], groups: Mapping[int, _Group], rules: Sequence[Rule]) -> Iterator[Track]:
    """A track for each group; `rules`: all that its moments will be held against."""
    for pk, points in groupby(rows, key=itemgetter(0)):
        group = groups[pk]
        label = f"{group.measurement.label} on {group.measurement.place}"
        yield Track(pk, label, _moments(_telling(points, rules), group.measurement), MINUTE_GAP)


def _telling(points: Iterable[Row], rules: Sequence[Rule]) -> Iterator[Row]:
    """Samples where there are any and minutes before, without what changes no rule's mind: a week is mostly quiet.

    After a point that is not quiet all are told for as long as the slowest rule takes to end.
    """
    quiet = [_quiet(rule) for rule in rules]
    patience = timedelta(seconds=2 * MINUTE_GAP + max(rule.recover_seconds for rule in rules))
    sampled = False
    until: datetime | None = None
    for point in points:
        sampled = sampled or point[7] == 0
        if sampled and point[7]:
            continue
        if not all(each(point) for each in quiet):
            until = point[1] + patience
        if until is not None and point[1] <= until:
            yield point


def _quiet(rule: Rule) -> Callable[[Row], bool]:
    """Whether a point says to this rule that all is well, told from the bare row."""
    if rule.kind in (Kind.STOPPED, Kind.DRIFTING):
        words = (LagStatus.STOPPED, LagStatus.STALLED) if rule.kind == Kind.STOPPED else (LagStatus.DRIFTING,)
        loud = {lag.RANK[word] for word in words}
        return lambda point: point[4] not in loud
    low = rule.recover_ratio * (alert.SHARES.get(rule.kind, 0.0) if rule.share is None else rule.share)
    if rule.kind == Kind.RETENTION:
        return lambda point: (point[5] or 0.0) <= low
    if rule.kind == Kind.SKEW:
        return lambda point: (point[6] or 0.0) <= low
    age = float("inf") if rule.seconds is None else rule.seconds * rule.recover_ratio
    ready = float("inf") if rule.messages is None else rule.messages * rule.recover_ratio
    return lambda point: (point[3] or 0.0) <= age and (point[2] or 0) <= ready


def _moments(points: Iterable[Row], empty: Measurement) -> Iterator[Moment]:
    for _, at, ready, age, status, kept, skew, _ in points:
        word = None if status is None else lag.BY_RANK[status]
        yield (
            at,
            replace(
                empty,
                known=ready is not None and word not in (LagStatus.UNKNOWN, LagStatus.ABANDONED),
                messages=ready,
                seconds=0.0 if ready == 0 else age,
                status=word or "",
                shares={Kind.RETENTION: kept, Kind.SKEW: skew},
            ),
        )


# ---------- dead letters ----------


def _letters(rule: Rule, start: datetime, now: datetime) -> BackTest:
    """Arrivals by cause. One query."""
    rows = (
        DeadLetter.objects.filter(failed_at__gte=start, captured_at__gte=start, captured_at__lte=now)
        .order_by("-captured_at")
        .values_list(
            "captured_at",
            "group__fingerprint",
            "group__title",
            "group__consumer_group",
            "group__destination",
            "group__location",
            "group__service",
        )[: LETTERS + 1]
    )
    causes: dict[tuple[str, ...], list[datetime]] = {}
    for at, fingerprint, title, *names in reversed(rows[:LETTERS]):
        if alert.matches(rule.pattern, (*names, fingerprint)):
            causes.setdefault((fingerprint, title, *names), []).append(at)
    quiet = timedelta(hours=ARRIVAL_HOURS)
    tracks = [
        Track(
            None,
            title,
            alert_backtest.arrivals(rule, times, Measurement(fingerprint, title, tuple(names)), quiet),
            float("inf"),
        )
        for (fingerprint, title, *names), times in causes.items()
    ]
    fired = [_until(one, now) for one in alert_backtest.fired(rule, tracks)]
    oldest = DeadLetter.objects.order_by("failed_at").values_list("captured_at", flat=True).first()
    since = None if oldest is None else max(start, oldest)
    note = QUIET if len(rows) <= LETTERS else f"Only the newest {LETTERS:,} letters were looked at. {QUIET}"
    return BackTest(start, now, since, tuple(fired), len(causes), 0, note)


def _until(fired: Fired, now: datetime) -> Fired:
    """What would end after now fires still."""
    return replace(fired, resolved_at=None) if fired.resolved_at and fired.resolved_at > now else fired


def _flood(rule: Rule, start: datetime, now: datetime) -> BackTest:
    """Letters against what their group finished meanwhile, minute by minute. 3 queries."""
    letters: dict[tuple[str, str], list[datetime]] = {}
    rows = DeadLetter.objects.filter(failed_at__gte=start, failed_at__lte=now).exclude(consumer_group="")
    for source, name, at in rows.order_by("failed_at").values_list("source", "consumer_group", "failed_at")[:LETTERS]:
        letters.setdefault((source, name), []).append(at)
    groups = {group.pk: group for group in _groups(rule) if (group.source, group.measurement.label) in letters}
    read = dict(list(groups.items())[:READ_GROUPS])
    points = LagPoint.objects.filter(group__in=read, at__gte=start, at__lte=now, resolution_seconds=60)
    taken = points.order_by("group_id", "at").values_list("group_id", "at", "settled_total", "delivered_total")
    tracks = []
    since: datetime | None = None
    for pk, found in groupby(taken.iterator(), key=itemgetter(0)):
        group, series = read[pk], [(at, settled if settled is not None else handed) for _, at, settled, handed in found]
        since = min(since or series[0][0], series[0][0])
        times = letters[group.source, group.measurement.label]
        tracks.append(Track(pk, group.measurement.label, _shares(times, series, group.measurement), MINUTE_GAP))
    fired = alert_backtest.fired(rule, tracks)
    return BackTest(start, now, since, tuple(fired), len(read), len(groups) - len(read))


def _shares(
    letters: Sequence[datetime], series: Sequence[tuple[datetime, int | None]], empty: Measurement
) -> Iterator[Moment]:
    window = timedelta(seconds=FLOOD_SECONDS)
    for index, (at, total) in enumerate(series):
        arrived = bisect_right(letters, at) - bisect_left(letters, at - window)
        first = series[bisect_left(series, at - window, 0, index, key=itemgetter(0))][1]
        took = None if total is None or first is None or total < first else total - first
        share = alert_backtest.flood_share(arrived, took)
        yield at, replace(empty, messages=arrived, shares={Kind.FLOOD: share})
