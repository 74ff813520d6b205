"""Reads of what a rule can be tried against: lag minute by minute and as sampled, dead letters, blind spells.

Bounded: all groups are read by minutes; those that ever broke the limit also by samples, where it was not quiet, up to
so many. What was left out is counted.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter

import numpy as np
from django.db.models import F, Max, Min, Q

from eventflow.domain import alert, alert_backtest
from eventflow.domain.alert import Kind, Measurement, Rule
from eventflow.domain.alert_backtest import BackTest, Fired, Moment, Track
from eventflow.store import lag_hours
from eventflow.store.lag_hours import HOUR
from eventflow.store.lag_open import AS_SAMPLED
from eventflow.store.lag_pack import MINUTE, TENTHS, Lags, moment
from eventflow.store.models import AlertRule, ConsumerGroup, DeadLetter, LagPoint
from eventflow.store.queries import blind_history, lag_past, lag_series
from eventflow.store.queries.alert_measurements import ARRIVAL_HOURS, FLOOD_SECONDS
from eventflow.store.queries.alerts import as_rule
from eventflow.store.queries.lag import subject
from eventflow.store.spans.columns import Ints
from eventflow.store.spans.rows import CHUNK

DAYS = 7
MOST_GROUPS = 2_000
AT_ONCE = 50
"""Groups held in memory together."""
MOST_HOURS = 3_000
"""Hours of a group that are read by samples."""
MOST_MOMENTS = 60_000
READ_GROUPS = 30
"""For floods."""
LETTERS = 20_000
MINUTES = (
    "Where samples are gone, or more than one wants to wait for, the history is minute by minute, each minute's worst, "
    "so that short spikes may count longer than they were."
)
LOST = "What was lost is not recorded, only how near it came."
QUIET = "An arrival counts as over an hour after its last letter; a person may have ended it sooner."
NO_PLACES = "Where dead letters could not arrive is not recorded, so this kind of rule cannot be tried."
RECORDED = {Kind.LAG: "ready", Kind.SKEW: "skew"}
"""Since when a kind's measure is in the history; for the others since verdicts are."""


def backtest(rule: Rule, now: datetime, most_moments: int = MOST_MOMENTS) -> BackTest:
    """The rule against the last seven days; `most_moments` of lag bound what it costs."""
    start = now - timedelta(days=DAYS)
    if rule.kind == Kind.UNREACHABLE:
        return BackTest(start, now, note=NO_PLACES, possible=False)
    if rule.kind == Kind.BLIND:
        return blind_history.backtest(rule, start, now)
    if rule.kind == Kind.DEAD_LETTERS:
        return _letters(rule, start, now)
    return _flood(rule, start, now) if rule.kind == Kind.FLOOD else _lag(rule, start, now, most_moments)


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


def _lag(rule: Rule, start: datetime, now: datetime, most: int) -> BackTest:
    """First all groups by minutes; then those that ever broke the limit by samples, where it was not quiet."""
    everything = _groups(rule)
    groups = {group.pk: group.measurement for group in everything[:MOST_GROUPS]}
    stops = [as_rule(row) for row in AlertRule.objects.filter(kind=Kind.STOPPED, enabled=True)]
    rules = [rule, *(stops if rule.kind in alert.HELD_BACK_BY_STOPPED else [])]
    near, since = _near(rule, list(groups), start, now)
    tracks: list[Track] = []
    left, hours = len(everything) - len(groups), MOST_HOURS
    for part in _parts(near, AT_ONCE):
        if most < 0:
            left += len(part)
            continue
        read = lag_series.minutes_of(part, start, now, lag_past.columns(rules))
        loud = {pk: _loud_hours(rule, lags) for pk, lags in read.items()}
        sampled = lag_series.hours_of(loud, lag_past.columns(rules), now, hours)
        hours = max(0, hours - sum(map(len, loud.values())))
        for pk, lags in read.items():
            past = _past(rules, groups[pk], lag_series.closer(lags, sampled[pk]) if pk in sampled else lags)
            most -= len(past.lags)
            if most < 0 and tracks:
                left += 1
                continue
            tracks.append(Track(pk, _label(groups[pk]), past.moments(groups[pk]), float("inf")))
    fired = alert_backtest.fired(rule, tracks, stops)
    note = f"{MINUTES} {LOST}" if rule.kind == Kind.RETENTION else MINUTES
    return BackTest(start, now, since, tuple(fired), len(everything) - left, left, note if since else "")


def _near(rule: Rule, pks: Sequence[int], start: datetime, now: datetime) -> tuple[list[int], datetime | None]:
    """The groups that may have broken the limit, by the worst of each hour, and since when the measure is recorded."""
    measure = RECORDED.get(rule.kind, "status")
    whose, begins, hours = lag_series.days(pks, start, now)
    worst = {name: hours[:, place] for place, name in enumerate(lag_hours.COLUMNS)}
    at = begins[:, None] + np.arange(lag_hours.NUMBER) * HOUR
    wanted = at + HOUR > start.timestamp()
    told = at[wanted & ~np.isnan(worst[measure])]
    since = [_first(whose[(at == told.min()).any(axis=1)], measure, int(told.min()), start)] if len(told) else []
    near = set(whose[(lag_past.broken(rule, worst) & wanted).any(axis=1)].tolist())
    for part in _parts(pks, CHUNK):
        for resolution, first in ((MINUTE, start), (AS_SAMPLED, now - lag_series.TAIL)):
            young = LagPoint.objects.filter(group__in=part, resolution_seconds=resolution, at__gte=first, at__lte=now)
            summed = young.values_list("group_id", *(Max(name) for name in lag_hours.COLUMNS))
            rows = list(summed.annotate(first=Min("at", filter=Q(**{f"{measure}__isnull": False}))).order_by())
            since += [row[-1] for row in rows if row[-1] is not None]
            columns = np.array([row[1:-1] for row in rows], np.float64).reshape(len(rows), len(lag_hours.COLUMNS)).T
            broken = lag_past.broken(rule, dict(zip(lag_hours.COLUMNS, columns, strict=True)))
            near |= {rows[place][0] for place in np.flatnonzero(broken).tolist()}
    return [pk for pk in pks if pk in near], min(since, default=None)


def _past(rules: Sequence[Rule], group: Measurement, lags: Lags) -> lag_past.Past:
    return lag_past.past(rules[0], [stop for stop in rules[1:] if alert.matches(stop.pattern, group.names)], lags)


def _label(group: Measurement) -> str:
    return f"{group.label} on {group.place}"


def _first(pks: Ints, measure: str, hour: int, start: datetime) -> datetime:
    """The first minute of that hour, as far as few of these groups tell it."""
    begin = max(start, datetime.fromtimestamp(hour, UTC))
    end = datetime.fromtimestamp(hour + HOUR, UTC)
    few = lag_series.minutes_of(pks[:AT_ONCE].tolist(), begin, end, (measure,)).values()
    told = [int(lags.at[known[0]]) for lags in few if len(known := np.flatnonzero(~np.isnan(lags[measure])))]
    return moment(min(told)) if told else begin


def _loud_hours(rule: Rule, lags: Lags) -> list[int]:
    """The hours (seconds since 1970) in which not all was well, and those after them."""
    loud = lags.at[lag_past.readings(rule, lags) != lag_past.CLEAR] // (HOUR * TENTHS) * HOUR
    return [int(hour) for hour in np.unique(np.concatenate([loud, loud + HOUR]))]


def _parts(pks: Sequence[int], size: int) -> list[Sequence[int]]:
    return [pks[first : first + size] for first in range(0, len(pks), size)]


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
    tracks = []
    since: datetime | None = None
    for pk, lags in lag_series.minutes_of(read, start, now, ("settled_total", "delivered_total")).items():
        group, series = read[pk], _taken(lags)
        if not series:
            continue
        since = min(since or series[0][0], series[0][0])
        times = letters[group.source, group.measurement.label]
        tracks.append(
            Track(pk, group.measurement.label, _shares(times, series, group.measurement), lag_past.GAP_SECONDS)
        )
    fired = alert_backtest.fired(rule, tracks)
    return BackTest(start, now, since, tuple(fired), len(read), len(groups) - len(read))


def _taken(lags: Lags) -> list[tuple[datetime, int | None]]:
    """What a group had finished, or else been handed, at the end of each minute."""
    total = np.where(np.isnan(lags["settled_total"]), lags["delivered_total"], lags["settled_total"])
    return [
        (moment(at), None if taken != taken else int(taken))  # noqa: PLR0124  # NaN is what differs from itself
        for at, taken in zip(lags.at.tolist(), total.tolist(), strict=True)
    ]


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
