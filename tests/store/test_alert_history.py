"""What a rule can be tried against, as it is recorded."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain.alert import Kind, Rule
from eventflow.domain.lag import RANK, LagStatus
from eventflow.store.models import ConsumerGroup, DeadLetter, LagPoint
from eventflow.store.queries import alert_history
from eventflow.store.record import lag_history
from tests import factories as make

pytestmark = pytest.mark.django_db
HOUR = 3600.0


def rule(kind: Kind = Kind.LAG, **given: Any) -> Rule:
    values = {"seconds": 60.0 if kind == Kind.LAG else None, "for_seconds": 60.0, "recover_seconds": 60.0}
    return Rule(0, "x", kind, **{**values, **given})


def history(group: ConsumerGroup, start: float, ages: list[float], every: float = 60, **given: Any) -> None:
    """Points from `start` seconds before NOW."""
    status = given.pop("status", LagStatus.OK)
    LagPoint.objects.bulk_create(
        LagPoint(
            group=group,
            at=make.after(number * every - start),
            resolution_seconds=60 if every == 60 else 0,
            ready=500,
            age_seconds=age,
            status=RANK[status] if status else None,
            **{name: value(number) if callable(value) else value for name, value in given.items()},
        )
        for number, age in enumerate(ages)
    )


def test_a_rule_is_tried_on_minutes_and_on_the_samples_that_are_still_there() -> None:
    email = make.consumer_group("email", "emails.requested")
    history(email, 48 * HOUR, [0.0] * 5 + [90.0] * 5 + [0.0] * 5)
    history(email, 0.5 * HOUR, [0.0] * 10 + [90.0] * 10 + [0.0] * 10)
    history(email, 0.5 * HOUR, [0.0] * 40 + [90.0] * 40 + [0.0] * 40, every=15)
    found = alert_history.backtest(rule(), make.NOW)
    assert [(one.key, one.label) for one in found.fired] == [(email.pk, "email on emails.requested")] * 2
    assert [one.fired_at for one in found.fired] == [make.after(6 * 60 - 48 * HOUR), make.after(660 - 0.5 * HOUR)]
    assert (found.since, found.tried, found.left) == (make.after(-48 * HOUR), 1, 0)


def test_what_is_packed_is_tried_like_what_is_not() -> None:
    email, billing = make.consumer_group("email", "emails.requested"), make.consumer_group("billing")
    history(email, 48 * HOUR, [0.0] * 20 + [90.0] * 15 + [0.0] * 20, every=20, skew=80.0)
    history(billing, 47 * HOUR, [10.0] * 20)
    lag_history.compact(make.NOW)
    skewed = rule(Kind.SKEW, messages=1)
    (before,) = alert_history.backtest(skewed, make.NOW).fired
    lag_history.pack(make.NOW)
    assert not LagPoint.objects.exists()
    found = alert_history.backtest(rule(), make.NOW)
    start = make.after(-48 * HOUR)
    assert [one.label for one in found.fired] == ["email on emails.requested"]
    # Twenty quiet samples, then three minutes, of which the rule waits one and its end another.
    seconds = [(at - start).total_seconds() for one in found.fired for at in (one.fired_at, one.resolved_at) if at]
    assert seconds == [460, 760]
    assert found.since is not None and abs((found.since - start).total_seconds()) < 60
    (after,) = alert_history.backtest(skewed, make.NOW).fired
    assert (after.label, after.peak) == (before.label, before.peak) == ("email on emails.requested", 80.0)
    assert abs(after.fired_at - before.fired_at) < timedelta(seconds=60)


def test_without_history_the_answer_is_that_there_is_none() -> None:
    make.consumer_group("email")
    found = alert_history.backtest(rule(), make.NOW)
    assert (found.since, found.fired) == (None, ())


def test_only_the_groups_that_the_pattern_names_are_tried() -> None:
    for name in ("email", "billing"):
        history(make.consumer_group(name), HOUR, [90.0] * 10)
    assert [one.label for one in alert_history.backtest(rule(pattern="bill*"), make.NOW).fired] == [
        "billing on orders.placed"
    ]


def test_verdicts_are_those_of_then_and_reach_as_far_as_they_were_recorded() -> None:
    email = make.consumer_group("email")
    history(email, 5 * HOUR, [90.0] * 10, status=None)
    history(email, HOUR, [90.0] * 10, status=LagStatus.STOPPED)
    history(email, 0.5 * HOUR, [1.0] * 10, status=LagStatus.DRIFTING, kept_share=80.0, skew=95.0)
    for kind, start in ((Kind.STOPPED, HOUR), (Kind.DRIFTING, 0.5 * HOUR), (Kind.RETENTION, 0.5 * HOUR)):
        found = alert_history.backtest(rule(kind), make.NOW)
        assert [one.fired_at for one in found.fired] == [make.after(60 - start)]
        assert found.since == make.after(-HOUR)
    assert len(alert_history.backtest(rule(Kind.SKEW, messages=100), make.NOW).fired) == 1
    assert alert_history.backtest(rule(Kind.SKEW, messages=500), make.NOW).fired == ()


def test_a_lag_that_a_stop_explains_is_left_to_the_rule_for_stops() -> None:
    history(make.consumer_group("email"), HOUR, [90.0] * 10, status=LagStatus.STOPPED)
    assert len(alert_history.backtest(rule(), make.NOW).fired) == 1
    make.alert_rule(kind="stopped", seconds=None, for_seconds=0)
    assert alert_history.backtest(rule(), make.NOW).fired == ()


def test_arrivals_of_dead_letters_are_tried_by_cause() -> None:
    for hour in (-30.0, -29.9, -3.0, -2.9):
        make.letter(captured_at=make.after(hour * HOUR), failed_at=make.after(hour * HOUR))
    found = alert_history.backtest(rule(Kind.DEAD_LETTERS, messages=1, for_seconds=0), make.NOW)
    assert [one.fired_at for one in found.fired] == [make.after(-29.9 * HOUR), make.after(-2.9 * HOUR)]
    assert (found.tried, found.since) == (1, make.after(-30 * HOUR))


def test_a_flood_is_tried_against_what_the_group_finished_meanwhile() -> None:
    payment = make.consumer_group("payment")
    history(payment, HOUR, [0.0] * 60, settled_total=lambda minute: minute * 60)
    for second in range(0, 600, 20):
        make.letter(captured_at=make.after(-1800 + second), failed_at=make.after(-1800 + second))
    flood = rule(Kind.FLOOD, share=1.0, messages=10, recover_ratio=0.2)
    found = alert_history.backtest(flood, make.NOW)
    assert [one.label for one in found.fired] == ["payment"]
    assert found.fired[0].peak == pytest.approx(5, abs=0.5)
    assert alert_history.backtest(rule(Kind.FLOOD, share=20.0, messages=10), make.NOW).fired == ()


def test_what_is_too_much_is_left_out_and_counted() -> None:
    for number in range(12):
        history(make.consumer_group(f"g{number}"), HOUR, [90.0] * 3)
    found = alert_history.backtest(rule(), make.NOW, most_moments=15)
    assert (len(found.fired), found.tried, found.left) == (5, 5, 7)


@pytest.mark.parametrize("kind", list(Kind))
def test_twenty_groups_cost_no_more_queries_than_ten(kind: Kind) -> None:
    def cost(groups: int) -> int:
        ConsumerGroup.objects.all().delete()
        DeadLetter.objects.all().delete()
        for number in range(groups):
            history(make.consumer_group(f"g{number}"), HOUR, [90.0] * 3, settled_total=5)
            make.letter(group=f"g{number}", failed_at=make.after(-1800), captured_at=make.after(-1800))
        with CaptureQueriesContext(connection) as captured:
            alert_history.backtest(rule(kind, messages=0), make.NOW)
        return len(captured)

    assert cost(20) == cost(10) <= 10
