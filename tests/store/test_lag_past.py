"""The past of lag in bulk says what the domain says of each moment."""

from datetime import timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.domain import alert, alert_backtest
from eventflow.domain.alert import Kind, Measurement, Rule
from eventflow.domain.alert_backtest import Track
from eventflow.domain.lag import BY_RANK, LagStatus
from eventflow.store.lag_pack import COLUMNS, TENTHS, Lags
from eventflow.store.queries import lag_past
from eventflow.store.queries.lag_past import GAP_SECONDS, READINGS, Past

EMPTY = Measurement("shop/emails/email", "email", ("email",))
KINDS = (Kind.LAG, Kind.STOPPED, Kind.DRIFTING, Kind.RETENTION, Kind.SKEW)
SECONDS = st.sampled_from([0.0, 30.0, 60.0, 300.0])
RULES = st.builds(
    Rule,
    pk=st.just(0),
    name=st.just("x"),
    kind=st.sampled_from(KINDS),
    seconds=st.none() | st.sampled_from([30.0, 60.0]),
    messages=st.none() | st.sampled_from([0, 50]),
    share=st.none() | st.just(40.0),
    for_seconds=SECONDS,
    recover_seconds=SECONDS,
    recover_ratio=st.sampled_from([0.2, 0.8, 1.0]),
)
STOPS = st.builds(
    Rule, pk=st.just(1), name=st.just("s"), kind=st.just(Kind.STOPPED), for_seconds=SECONDS, recover_seconds=SECONDS
)
VALUE = st.none() | st.sampled_from([0.0, 20.0, 49.0, 51.0, 70.5, 100.0])
WHOLE = st.none() | st.sampled_from([0.0, 20.0, 49.0, 51.0, 100.0])
STATUS = st.none() | st.sampled_from(
    [float(BY_RANK.index(word)) for word in (LagStatus.OK, LagStatus.STOPPED, LagStatus.UNKNOWN, LagStatus.DRIFTING)]
)
RUN = st.tuples(
    WHOLE,
    VALUE,
    STATUS,
    VALUE,
    VALUE,
    st.integers(1, 60),
    st.sampled_from([15.0, 60.0, 170.0]),
    st.just(0) | st.just(500),
)
"""What stays the same for a while, every so many seconds, after so long out of sight."""


def lags(runs: list[tuple[float | None, ...]]) -> Lags:
    rows: list[list[float | None]] = []
    at: list[int] = []
    now = 1_000_000
    for ready, age, status, kept, skew, number, every, gap in runs:
        now += int(gap or 0) * TENTHS
        for step in range(int(number or 0)):
            now += int(every or 0) * TENTHS
            at.append(now)
            # It wavers a little, so that not every moment is the worst.
            old = None if age is None else age + step % 7 / 100
            rows.append([ready, None, None, old, None, None, None, status, kept, skew])
    columns = {name: np.array([row[number] for row in rows], np.float64) for number, name in enumerate(COLUMNS)}
    return Lags(np.array(at, np.int64), columns)


def everything(found: Lags) -> Past:
    return Past(found, np.zeros(len(found), bool))


@given(RULES, st.lists(RUN, min_size=1, max_size=12))
@settings(deadline=None, max_examples=100)
def test_a_reading_is_that_of_the_domain(rule: Rule, runs: list[tuple[float | None, ...]]) -> None:
    found = lags(runs)
    told = [READINGS[reading] for reading in lag_past.readings(rule, found).tolist()]
    moments = list(everything(found).moments(EMPTY))
    assert told == [alert.read(rule, measurement) for _, measurement in moments]
    values = [alert.value_of(rule, measurement)[0] for _, measurement in moments]
    np.testing.assert_array_equal(lag_past.value(rule, found), np.array(values, np.float64))


@given(RULES, st.lists(STOPS, max_size=2), st.lists(RUN, min_size=1, max_size=12))
@settings(deadline=None, max_examples=200)
def test_what_is_left_out_changes_nothing(rule: Rule, stops: list[Rule], runs: list[tuple[float | None, ...]]) -> None:
    stops = stops if rule.kind in alert.HELD_BACK_BY_STOPPED else []
    found = lags(runs)
    whole = Track(7, "email", everything(found).moments(EMPTY), GAP_SECONDS)
    short = Track(7, "email", lag_past.past(rule, stops, found).moments(EMPTY), float("inf"))
    expected, told = (alert_backtest.fired(rule, [track], stops) for track in (whole, short))
    assert told == expected


def test_of_a_long_time_in_which_nothing_changes_only_its_ends_and_its_worst_are_told() -> None:
    found = lags([(500.0, 20.0, 0.0, None, None, 5000, 60.0, 0)])
    rule = Rule(0, "x", Kind.LAG, seconds=10.0, for_seconds=120, recover_seconds=60)
    assert len(lag_past.past(rule, [], found).lags) <= 11
    assert timedelta(seconds=GAP_SECONDS) > timedelta(minutes=2)
