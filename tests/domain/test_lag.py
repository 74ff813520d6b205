"""The lag engine: rates, trend, age, and the rules in their order."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventflow.domain import lag, lag_rules
from eventflow.domain.lag import LagPoint, LagStatus, Window

START = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)


def window(points: int, make: Callable[[int], LagPoint], every: float = 2.0) -> Window:
    """A window of points `every` seconds apart; make(second) gives each, its instant is set here."""
    made = Window()
    for index in range(points):
        second = index * every
        point = make(int(second))
        made.add(
            LagPoint(
                START + timedelta(seconds=second),
                point.ready,
                point.in_flight,
                point.age_seconds,
                point.published,
                point.delivered,
                point.settled,
            )
        )
    return made


def point(ready: int | None, **more: int | float | None) -> LagPoint:
    return LagPoint(START, ready, **more)  # type: ignore[arg-type]  # ints and floats where each belongs


def status(of: Window, **facts: object) -> LagStatus:
    return lag_rules.judge(of, lag_rules.Facts(**facts)).status  # type: ignore[arg-type]  # as the test names them


def test_rates_come_from_counters_and_survive_a_reset() -> None:
    grows = window(16, lambda s: point(0, published=10 * s if s < 20 else 10 * (s - 20), settled=5 * s))
    assert lag.in_rate(grows) == pytest.approx(10)
    assert lag.out_rate(grows) == pytest.approx(5)


def test_without_counters_a_rate_is_not_known_and_not_zero() -> None:
    assert lag.in_rate(window(16, lambda s: point(4))) is None


def test_a_growing_lag_has_no_time_to_drain_and_a_shrinking_one_has() -> None:
    grows = window(31, lambda s: point(100 + 5 * s))
    assert (lag.trend(grows), lag.drain_seconds(grows)) == (1, None)
    drains = window(31, lambda s: point(900 - 10 * s))
    assert lag.trend(drains) == -1
    assert lag.drain_seconds(drains) == pytest.approx(30, rel=0.01)


def test_noise_is_no_trend() -> None:
    noise = random.Random(7)
    assert lag.trend(window(31, lambda s: point(1000 + noise.randint(-20, 20)))) == 0


def test_caught_up_needs_the_brokers_word() -> None:
    assert lag.age(window(3, lambda s: point(0)))[0] == 0.0
    assert lag.age(window(3, lambda s: point(None))) == (None, None)
    assert status(window(3, lambda s: point(None))) == LagStatus.UNKNOWN


def test_an_age_the_broker_does_not_tell_is_interpolated_from_what_was_published() -> None:
    behind = window(60, lambda s: point(100, published=10 * s + 100, settled=10 * s))
    seconds, method = lag.age(behind)
    assert (seconds, method) == (pytest.approx(10), "interpolated")


def test_a_consumer_nobody_runs_is_stopped() -> None:
    stopped = window(60, lambda s: point(10 + s, delivered=50, settled=50, in_flight=0))
    assert status(stopped) == LagStatus.STOPPED
    assert status(window(13, lambda s: point(10 + s, delivered=50, settled=50)), members=0) == LagStatus.STOPPED


def test_a_pause_shorter_than_a_deploy_is_no_stop() -> None:
    assert status(window(25, lambda s: point(3, delivered=50, settled=50))) != LagStatus.STOPPED


def test_messages_that_arrived_just_now_prove_no_stop_of_an_idle_consumer() -> None:
    woken = window(120, lambda s: point(0 if s < 236 else 2, delivered=50, settled=50))
    assert status(woken) == LagStatus.OK


def test_a_consumer_that_holds_messages_and_finishes_none_is_stalled() -> None:
    assert status(window(60, lambda s: point(10, delivered=60, settled=50, in_flight=10))) == LagStatus.STALLED
    assert status(window(60, lambda s: point(0, delivered=60, settled=50, in_flight=10))) == LagStatus.STALLED


def test_a_consumer_that_was_set_back_is_rewound_until_it_is_where_it_was() -> None:
    back = window(40, lambda s: point(500 - s, settled=1000 + s if s < 40 else 500 + s))
    assert status(back) == LagStatus.REWOUND


def test_a_rewound_consumer_that_caught_up_is_ok() -> None:
    back = window(40, lambda s: point(500 - s if s < 78 else 0, settled=1000 + s if s < 40 else 500 + s, published=s))
    assert status(back) == LagStatus.OK


def test_idle_and_ok_differ_by_whether_anything_moves() -> None:
    assert status(window(10, lambda s: point(0, published=9, settled=9))) == LagStatus.IDLE
    assert status(window(10, lambda s: point(0, published=9 + s, settled=9 + s))) == LagStatus.OK


def test_a_slow_consumer_and_then_a_draining_one() -> None:
    slow = window(60, lambda s: point(3 * s + 1, age_seconds=s / 2, published=5 * s, settled=2 * s))
    assert status(slow) == LagStatus.SLOW
    drains = window(60, lambda s: point(1000 - 5 * s, age_seconds=9, published=5 * s, settled=10 * s))
    assert status(drains) == LagStatus.DRAINING


def test_retention_risk_goes_before_all_that_only_costs_time() -> None:
    stopped = window(60, lambda s: point(800, delivered=50, settled=50))
    assert status(stopped, retained=1000) == LagStatus.RETENTION_RISK
    assert status(stopped, retained=10_000) == LagStatus.STOPPED


def test_after_a_week_without_anybody_it_is_abandoned() -> None:
    made = Window(since=START - timedelta(days=8))
    made.add(LagPoint(START, 5))
    assert status(made) == LagStatus.ABANDONED


def simulate(hours: float, consumed_share: float, seed: int, wave: float = 0.0) -> tuple[float | None, int]:
    """A group at 1,000 msg/s, a sample each 15 s: minutes until drift was first flagged, and how often it was."""
    noise, made, backlog, published, settled = random.Random(seed), Window(), 0.0, 0, 0
    first, flagged = None, 0
    for step in range(int(hours * 240)):
        turn = 1 + wave * (1 if (step // 60) % 2 else -1)
        came = max(0.0, 15_000 * turn + noise.gauss(0, 3 * 122))
        done = min(backlog + came, 15_000 * consumed_share)
        backlog += came - done
        published, settled = published + int(came), settled + int(done)
        at = START + timedelta(seconds=15 * step)
        made.add(LagPoint(at, int(backlog), 0, None, published, settled, settled))
        if status(made) == LagStatus.DRIFTING:
            flagged += 1
            first = step / 4 if first is None else first
    return first, flagged


def test_a_drift_of_one_percent_is_found_within_35_minutes() -> None:
    """§9.6, test 6: with the next one."""
    first, _ = simulate(1, 0.99, seed=3)
    assert first is not None and first <= 35


@pytest.mark.parametrize(("share", "wave"), [(1.3, 0.0), (1.1, 0.2)])
def test_healthy_bursts_and_waves_are_no_drift(share: float, wave: float) -> None:
    assert simulate(24, share, seed=5, wave=wave)[1] == 0


def test_a_drift_is_over_when_its_lowest_lag_falls_and_not_when_it_merely_stops_rising() -> None:
    """2 more a second for 40 minutes, then as many for 40, then 5 fewer every 10 s."""
    made, found = Window(), []
    for step in range(0, 6000, 10):
        risen = 2 * min(step, 2400)
        backlog = risen if step < 4800 else max(0, risen - (step - 4800) // 2)
        made.add(LagPoint(START + timedelta(seconds=step), backlog, 0, None, 10 * step, None, 10 * step - backlog))
        found.append(status(made))
    assert found[2000 // 10] == found[2300 // 10] == found[4700 // 10] == LagStatus.DRIFTING
    assert LagStatus.DRIFTING not in found[5500 // 10 :]


numbers = st.none() | st.integers(0, 10**12)


# No deadline: the machine may be busy.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.floats(0.01, 4000), numbers, numbers, numbers, numbers), min_size=1, max_size=60))
def test_whatever_a_broker_says_nothing_is_negative_and_a_verdict_has_its_reason(
    looks: list[tuple[float, int | None, int | None, int | None, int | None]],
) -> None:
    made, at = Window(), START
    for gap, ready, in_flight, published, settled in looks:
        at += timedelta(seconds=gap)
        made.add(LagPoint(at, ready, in_flight, None, published, None, settled))
    verdict = lag_rules.judge(made, lag_rules.Facts())
    assert verdict.reason
    for value in (lag.in_rate(made), lag.out_rate(made), lag.drain_seconds(made), lag.age(made)[0]):
        assert value is None or value >= 0
    assert len(made.points) <= 60 and len(made.lows) <= 40
    if looks[-1][1] is None:
        assert verdict.status == LagStatus.UNKNOWN


def test_a_window_stays_small_however_often_it_is_fed() -> None:
    made = window(4000, point, every=0.5)
    assert len(made.points) <= 601 and len(made.lows) <= 34


def test_the_same_sample_twice_changes_nothing() -> None:
    made = window(5, point)
    assert not made.add(made.points[-1]) and len(made.points) == 5
