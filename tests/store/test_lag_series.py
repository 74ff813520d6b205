"""Lag read back: packed and not packed as one, and lines that lose no peak."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.store.lag_pack import COLUMNS, Lags, tenths
from eventflow.store.models import ConsumerGroup, LagPoint
from eventflow.store.queries import lag as queries
from eventflow.store.queries import lag_series
from eventflow.store.queries.lag_series import Series
from eventflow.store.record import lag_history
from tests import factories as make

HOUR = 3600
START = make.NOW.replace(minute=0, second=0)
NONE = float("nan")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def series(values: list[float], every: int = 15, **others: list[float]) -> Series:
    columns = {name: np.array(others.get(name, values), np.float64) for name in COLUMNS}
    if "low" not in others:
        columns["low"] = columns["ready"]
    return Series(Lags(np.arange(len(values), dtype=np.int64) * every * 10, columns))


@given(st.lists(st.none() | st.integers(0, 10**6), max_size=400), st.integers(4, 100))
@settings(deadline=None)
def test_a_thinned_line_keeps_the_greatest_and_the_least_where_they_were(given: list[int | None], most: int) -> None:
    made = series([NONE if value is None else value for value in given])
    line = made.line("ready", most)
    drawn = [(at, value) for at, value in zip(line.at, line.values, strict=True) if value is not None]
    known = [(number * 15_000, value) for number, value in enumerate(given) if value is not None]
    assert set(drawn) <= set(known) and len(drawn) <= most
    assert max((v for _, v in drawn), default=None) == max((v for _, v in known), default=None)
    assert min((v for _, v in drawn), default=None) == min((v for _, v in known), default=None)
    assert line.at == sorted(line.at)
    # Two that are connected have nothing unknown between them.
    holes = [number * 15_000 for number, value in enumerate(given) if value is None]
    for (left, one), (right, other) in zip(
        zip(line.at, line.values, strict=True), list(zip(line.at, line.values, strict=True))[1:], strict=False
    ):
        if one is not None and other is not None:
            assert not any(left < hole < right for hole in holes)


def test_minutes_are_drawn_with_their_low_and_their_high() -> None:
    line = series([9, 5, 7], 60, low=[1, 5, 2]).line("ready", 100)
    assert line.values == [1, 9, 5, 2, 7] and line.at == [0, 0, 60_000, 120_000, 120_000]


def test_a_line_does_not_go_over_time_for_which_nothing_was_seen() -> None:
    made = series([1, 2, 3, 4])
    late = Series(Lags(made.lags.at + np.array([0, 0, 2000, 2000]), made.lags.columns))
    assert late.line("ready", 100).values == [1, 2, None, 3, 4]
    assert late.line("in_rate", 100).values == [pytest.approx(1 / 15), None, pytest.approx(1 / 15)]


def test_a_rate_is_that_of_what_was_finished_or_else_handed_out_and_a_reset_has_none() -> None:
    made = series([0, 0, 0, 0], settled_total=[0, 30, 10, 40], delivered_total=[0, 15, 30, 45])
    assert made.line("out_rate", 100).values == [2.0, 1.0, 2.0]
    unsettled = series([0, 0], settled_total=[NONE, NONE], delivered_total=[0, 15])
    assert unsettled.line("out_rate", 100).values == [1.0]


def fill(group: ConsumerGroup, seconds: range, ready: Callable[[int], int] = lambda second: second % 97) -> None:
    LagPoint.objects.bulk_create(
        LagPoint(group=group, at=after(second), ready=ready(second), published_total=2 * second) for second in seconds
    )


@pytest.mark.django_db
def test_a_day_is_read_as_sampled_whether_packed_or_not() -> None:
    group = make.consumer_group("email")
    fill(group, range(0, 24 * HOUR, 15), lambda second: 5000 if second == 7335 else second % 97)
    now = after(24 * HOUR)
    lag_history.pack(now)
    assert LagPoint.objects.count() == 240
    detail = queries.group(group.pk, START, now, now)
    assert detail is not None and len(detail.series) == 5760
    line = detail.series.line("ready", 6000)
    assert line.values == [5000 if second == 7335 else second % 97 for second in range(0, 24 * HOUR, 15)]
    assert line.at[489] == (tenths(after(7335)) * 100)
    assert max(value for value in detail.series.line("ready", 300).values if value is not None) == 5000
    assert set(detail.series.line("in_rate", 6000).values) == {2.0}
    assert [point.at for point in detail.series.newest(2)] == [after(24 * HOUR - 15), after(24 * HOUR - 30)]


@pytest.mark.django_db
def test_where_samples_are_gone_minutes_take_their_place() -> None:
    group = make.consumer_group("email")
    fill(group, range(0, 6 * HOUR, 15))
    now = after(6 * HOUR)
    lag_history.pack(now)
    lag_history.prune(now, 24, sample_days=3 / 24, minute_days=90)
    found = lag_series.series(group.pk, START, now)
    minutes, rest = 3 * 60, 3 * 240
    assert np.diff(found.lags.at).tolist() == [600] * minutes + [150] * (rest - 1)


@pytest.mark.django_db
def test_a_week_is_read_by_minutes_up_to_the_last_sample() -> None:
    group = make.consumer_group("email")
    fill(group, range(0, 30 * HOUR, 60))
    now = after(30 * HOUR - 30)
    lag_history.compact(now)
    lag_history.pack(now)
    found = lag_series.series(group.pk, START - timedelta(days=6), now)
    assert found.lags.at.tolist() == [tenths(after(second)) for second in range(0, 30 * HOUR, 60)]


@pytest.mark.django_db
def test_a_sparkline_reaches_into_what_is_packed() -> None:
    group = make.consumer_group("email")
    ConsumerGroup.objects.update(first_seen_at=START - timedelta(days=2))
    fill(group, range(0, 6 * HOUR, 60), lambda second: 900 if second == HOUR + 60 else 7)
    now = after(6 * HOUR)
    lag_history.compact(now)
    lag_history.pack(now)
    (row,) = queries.with_sparks(queries.groups(now), 6 * HOUR, now)
    assert row.spark == (7,) * 10 + (900,) + (7,) * 49


@pytest.mark.django_db
def test_a_weeks_sparkline_is_made_of_the_worst_of_each_hour() -> None:
    group, other = make.consumer_group("email"), make.consumer_group("other")
    ConsumerGroup.objects.update(first_seen_at=START - timedelta(days=9))
    for hour in range(-7 * 24, -2):
        fill(
            group,
            range(hour * HOUR + 600, (hour + 1) * HOUR, 1200),
            lambda second: 16_777_217 if second == -600 - 7 * 3 * HOUR else 5,
        )
    fill(other, range(-HOUR * 50, -HOUR * 49, 60), lambda second: 3)
    lag_history.compact(START)
    lag_history.pack(START)
    rows = {row.group: row.spark for row in queries.with_sparks(queries.groups(START), 7 * 24 * HOUR, START)}
    assert rows["email"].count(16_777_216) == 1 and set(rows["email"]) == {5, 16_777_216}
    assert [value for value in rows["other"] if value is not None] in ([3], [3, 3])
    assert len(rows["email"]) == 60
