"""A rule against the past."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.domain import alert
from eventflow.domain.alert import Event, Kind, Measurement, Rule
from eventflow.domain.alert_backtest import Fired, Moment, Track, arrivals, fired, flood_share

START = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
RULE = Rule(1, "Late", Kind.LAG, "*", seconds=60, for_seconds=120, recover_ratio=0.8, recover_seconds=60)
STOPPED = Rule(2, "Stopped", Kind.STOPPED, "*", for_seconds=0, recover_seconds=0)
EMAIL = Measurement("shop/emails/email", "email", ("email",))


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def moments(ages: list[float | None], status: str = "") -> Iterator[Moment]:
    """One a minute; None: known to be unknown."""
    for number, age in enumerate(ages):
        yield minute(number), Measurement(**base(), known=age is not None, seconds=age, messages=1, status=status)


def base() -> dict[str, object]:
    return {"subject": EMAIL.subject, "label": EMAIL.label, "names": EMAIL.names}


def track(found: Iterator[Moment]) -> Track:
    return Track(7, "email", found, 180)


def test_what_would_have_fired_is_told_with_its_time_duration_and_peak() -> None:
    ages = [0, 0, 90, 100, 120, 110, 0, 0, 0, 70, 0, 0, 90, 95, 99, 101]
    first, still = fired(RULE, [track(moments([float(age) for age in ages]))])
    assert first == Fired(7, "email", minute(4), minute(7), 120.0, "s")
    assert still == Fired(7, "email", minute(14), None, 101.0, "s")
    assert (first.lasted(minute(99)), still.lasted(minute(20))) == (180, 360)


def test_time_for_which_nothing_was_recorded_proves_nothing() -> None:
    late = [(minute(at), Measurement(**base(), seconds=90.0, messages=1)) for at in (0, 60, 61)]
    assert fired(RULE, [track(iter(late))]) == []
    late.append((minute(63), late[-1][1]))
    assert [one.fired_at for one in fired(RULE, [track(iter(late))])] == [minute(63)]


def test_a_gap_while_it_fires_neither_ends_it_nor_makes_it_two() -> None:
    values = [(0, 90.0), (1, 90.0), (2, 90.0), (30, 90.0), (31, 0.0), (32, 0.0)]
    past = [(minute(at), Measurement(**base(), seconds=age, messages=1)) for at, age in values]
    (only,) = fired(RULE, [track(iter(past))])
    assert (only.fired_at, only.resolved_at) == (minute(2), minute(32))


def test_what_a_rule_for_stopped_groups_would_have_told_is_not_told_twice() -> None:
    stopped = list(moments([90.0] * 10, status="stopped"))
    assert len(fired(RULE, [track(iter(stopped))])) == 1
    assert fired(RULE, [track(iter(stopped))], [STOPPED]) == []
    assert len(fired(STOPPED, [track(iter(stopped))], [STOPPED])) == 1
    other = Rule(3, "Stopped", Kind.STOPPED, "billing", for_seconds=0)
    assert len(fired(RULE, [track(iter(stopped))], [other])) == 1


def test_dead_letters_arrive_as_one_alert_until_it_was_quiet_for_an_hour() -> None:
    rule = Rule(1, "x", Kind.DEAD_LETTERS, messages=1, for_seconds=0, recover_seconds=0)
    times = [minute(at) for at in (0, 5, 10, 100, 300, 310, 311)]
    found = fired(rule, [Track(None, "cause", arrivals(rule, times, EMAIL, timedelta(hours=1)), float("inf"))])
    assert [(one.fired_at, one.resolved_at, one.peak) for one in found] == [
        (minute(5), minute(70), 3.0),
        (minute(310), minute(371), 3.0),
    ]


def test_a_rule_that_waits_before_it_fires_fires_on_letters_that_nobody_follows() -> None:
    rule = Rule(1, "x", Kind.DEAD_LETTERS, messages=0, for_seconds=300, recover_seconds=0)
    found = fired(rule, [Track(None, "cause", arrivals(rule, [START], EMAIL, timedelta(hours=1)), float("inf"))])
    assert [one.fired_at for one in found] == [minute(5)]


def test_a_share_of_what_is_not_known_is_not_known() -> None:
    assert (flood_share(0, None), flood_share(3, None), flood_share(3, 0), flood_share(3, 300)) == (0, None, 100, 1)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 200)), max_size=60), st.sampled_from([0.0, 60.0, 120.0]))
def test_the_past_is_judged_by_what_judges_the_present(ages: list[float | None], hold: float) -> None:
    rule = Rule(1, "Late", Kind.LAG, "*", seconds=60, for_seconds=hold, recover_seconds=60)
    state, told = None, []
    for at, measurement in moments(ages):
        reading = alert.read(rule, measurement)
        value = None if reading == alert.Reading.UNKNOWN else measurement.seconds
        state, event = alert.step(rule, reading, value, state, at)
        if event:
            told.append((event, at))
    found = fired(rule, [track(moments(ages))])
    assert [one.fired_at for one in found] == [at for event, at in told if event == Event.FIRING]
    assert [one.resolved_at for one in found if one.resolved_at] == [
        at for event, at in told if event == Event.RESOLVED
    ]
