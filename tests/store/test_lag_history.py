"""Lag's history: samples and minutes packed, none lost, none twice, and the end of what is old."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.store.lag_pack import COLUMNS, SCALES, Lags, merged, packed, tenths, thinned, unpacked
from eventflow.store.models import ConsumerGroup, LagPack, LagPoint
from eventflow.store.record import lag_history
from tests import factories as make

HOUR = 3600
START = make.NOW.replace(minute=0, second=0)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


COUNTERS = st.integers(0, 2**50)
SMALL = st.integers(0, 1000)


def lags(rows: list[list[float | None]]) -> Lags:
    """One every 15 s, columns in their order."""
    columns = {name: np.array([row[number] for row in rows], np.float64) for number, name in enumerate(COLUMNS)}
    return Lags(np.arange(len(rows), dtype=np.int64) * 150 + 17_700_000_003, columns)


@given(
    st.lists(
        st.tuples(*(st.none() | (COUNTERS if name.endswith("total") else SMALL) for name in COLUMNS)).map(list),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None, max_examples=200)
def test_what_is_packed_comes_out_as_it_went_in(rows: list[list[float | None]]) -> None:
    before = lags(rows)
    after = unpacked(packed(before))
    assert after.at.tolist() == before.at.tolist() and tuple(after.columns) == COLUMNS
    for name in COLUMNS:
        np.testing.assert_allclose(after[name], before[name], atol=0.5 / SCALES[name] + 1e-9, rtol=0)
        np.testing.assert_array_equal(unpacked(packed(before), (name,))[name], after[name])


def test_a_quiet_hour_of_a_group_costs_two_bytes_a_sample() -> None:
    rows: list[list[float | None]] = [
        [0, 0, 0, 0, 20 * n + n % 3, None, 20 * n + n % 3, 1, None, 0] for n in range(240)
    ]
    assert len(packed(lags(rows))) < 2 * 240


def test_thinning_keeps_the_worst_of_each_slot_and_the_last_that_is_known_of_counters() -> None:
    rows: list[list[float | None]] = [[None] * len(COLUMNS) for _ in range(6)]
    for number, ready in enumerate((3, 90, None, 7, 8, 9)):
        rows[number][0] = rows[number][1] = ready
        rows[number][4] = 100 + number
    rows[2][4] = None
    base = lags(rows)
    whole = Lags(np.array([0, 50, 100, 160, 210, 260], np.int64), base.columns)
    short, begins = thinned(whole, 15)
    assert (short.at.tolist(), begins.tolist()) == ([100, 260], [0, 3])
    assert (short["ready"].tolist(), short["low"].tolist()) == ([90, 9], [3, 7])
    assert short["published_total"].tolist() == [101, 105]
    assert np.isnan(short["age_seconds"]).all()


def test_of_two_parts_the_first_one_wins_at_the_same_moment() -> None:
    one = lags([[float(n)] * len(COLUMNS) for n in range(3)])
    both = merged([one.cut(slice(1, 3)), Lags(one.at, {name: values + 50 for name, values in one.columns.items()})])
    assert both["ready"].tolist() == [50, 1, 2]


def points(group: ConsumerGroup, seconds: range, resolution: int = 0) -> None:
    LagPoint.objects.bulk_create(
        LagPoint(group=group, at=after(second), resolution_seconds=resolution, ready=second % 97, age_seconds=1.5)
        for second in seconds
    )


def kept(group: ConsumerGroup, seconds: int) -> Lags:
    bodies = LagPack.objects.filter(group=group, seconds=seconds).order_by("at").values_list("body", flat=True)
    return merged([unpacked(body) for body in bodies])


@pytest.mark.django_db
def test_samples_and_minutes_are_packed_when_they_are_an_hour_old_and_not_before() -> None:
    group = make.consumer_group("email")
    points(group, range(0, 2 * HOUR, 5))
    now = after(2 * HOUR)
    lag_history.compact(now)
    packed_samples = lag_history.pack(now)
    left = LagPoint.objects.filter(resolution_seconds=0).order_by("at")
    assert left[0].at == after(HOUR) and left.count() == HOUR // 5
    assert packed_samples == HOUR // 15
    samples, minutes = kept(group, 15), kept(group, 60)
    assert samples.at.tolist() == [tenths(after(second)) for second in range(10, HOUR, 15)]
    assert samples["ready"].tolist() == [
        max(second % 97 for second in range(start, start + 15, 5)) for start in range(0, HOUR, 15)
    ]
    assert minutes.at.tolist() == [tenths(after(second)) for second in range(0, HOUR, 60)]
    assert minutes["low"].tolist() == [min(n % 97 for n in range(at, at + 60, 5)) for at in range(0, HOUR, 60)]


@pytest.mark.django_db
def test_packing_quarter_by_quarter_is_packing_once_and_twice_changes_nothing() -> None:
    one, other = make.consumer_group("one"), make.consumer_group("other")
    for group in (one, other):
        points(group, range(0, 26 * HOUR, 60))
    for quarter in range(4, 27 * 4 + 1):
        if quarter % 7 == 0 or quarter > 100:
            lag_history.pack(after(quarter * 900))
    assert lag_history.pack(after(27 * HOUR)) == 0
    whole = kept(one, 15)
    assert len(whole) == 26 * 60 == len(kept(one, 60)) and not LagPoint.objects.exists()
    assert whole["ready"].tolist() == [second % 97 for second in range(0, 26 * HOUR, 60)]
    assert LagPack.objects.filter(group=one, seconds=15).count() == 26
    assert kept(other, 15).at.tolist() == whole.at.tolist()


@pytest.mark.django_db
def test_a_minute_that_was_written_too_early_is_corrected_and_one_without_samples_is_kept() -> None:
    group = make.consumer_group("email")
    LagPoint.objects.create(group=group, at=after(0), resolution_seconds=60, ready=1)
    LagPoint.objects.create(group=group, at=after(-60), resolution_seconds=60, ready=2)
    points(group, range(0, 60, 5))
    lag_history.pack(after(2 * HOUR))
    assert kept(group, 60)["ready"].tolist() == [2, 55]


@pytest.mark.django_db
def test_samples_go_after_days_and_minutes_after_months() -> None:
    group = make.consumer_group("email")
    points(group, range(0, HOUR, 60))
    lag_history.pack(after(3 * HOUR))

    def left(days: float) -> list[int]:
        lag_history.prune(after(days * 24 * HOUR), 24 * 14, sample_days=3, minute_days=90)
        return sorted(LagPack.objects.values_list("seconds", flat=True))

    assert (left(2.9), left(3.1), left(89), left(92)) == ([15, 60], [60], [60], [])


@pytest.mark.django_db
def test_the_history_of_a_group_goes_with_it() -> None:
    group = make.consumer_group("email")
    points(group, range(0, HOUR, 60))
    lag_history.pack(after(3 * HOUR))
    group.delete()
    assert not LagPack.objects.exists()


@pytest.mark.django_db
def test_packing_twenty_groups_costs_no_more_queries_than_ten() -> None:
    def cost(groups: int) -> int:
        for number in range(groups):
            points(make.consumer_group(f"{groups}-{number}"), range(0, HOUR, 300))
        with CaptureQueriesContext(connection) as captured:
            lag_history.pack(after(3 * HOUR))
        return len(captured)

    assert cost(20) == cost(10)
