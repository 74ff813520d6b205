"""How incidents live."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventflow.domain import alert, alert_words, lag_skew
from eventflow.domain.alert import Event, Incident, Kind, Measurement, Reading, Rule, State

START = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
RULE = Rule(1, "Late", Kind.LAG, "email", "warning", seconds=15, for_seconds=5, recover_ratio=0.8, recover_seconds=60)


def email(seconds: float | None, messages: int | None = 10, known: bool = True) -> Measurement:
    return Measurement("shop/emails/email", "email", ("email",), known=known, seconds=seconds, messages=messages)


def run(
    values: list[float | None], every: float = 2.0, rule: Rule = RULE
) -> tuple[Incident | None, list[tuple[float, Event]]]:
    """Feed one value each `every` seconds (None: not known); the last state, and what was told with its second."""
    state: Incident | None = None
    told = []
    for index, value in enumerate(values):
        reading = alert.read(rule, email(value, known=value is not None))
        state, event = alert.step(rule, reading, value, state, START + timedelta(seconds=index * every))
        if event:
            told.append((index * every, event))
    return state, told


def test_it_fires_after_its_time_and_resolves_after_its_recovery() -> None:
    state, told = run([20.0] * 10 + [1.0] * 31)
    assert told == [(6, Event.FIRING), (80, Event.RESOLVED)]
    assert state is not None and state.state == State.RESOLVED and state.peak == 20


def test_a_breach_shorter_than_its_time_is_no_incident() -> None:
    assert run([20.0, 20.0, 1.0, 1.0]) == (None, [])


def test_lag_that_crosses_the_limit_each_30_seconds_for_an_hour_is_one_incident() -> None:
    """§9.6, test 7."""
    values: list[float | None] = [(30.0 if (second // 30) % 2 == 0 else 2.0) for second in range(0, 3600, 2)]
    _, told = run([*values, *[1.0] * 40])
    assert [event for _, event in told] == [Event.FIRING, Event.RESOLVED]
    assert told[1][0] > 3600


def test_between_the_limits_it_neither_fires_nor_recovers() -> None:
    assert run([14.0] * 50) == (None, [])
    state, told = run([20.0] * 5 + [14.0] * 100)
    assert state is not None and state.state == State.FIRING and len(told) == 1


def test_what_is_not_known_neither_fires_nor_resolves() -> None:
    state, told = run([20.0] * 5 + [None] * 200)
    assert state is not None and state.state == State.FIRING and len(told) == 1
    state, told = run([20.0] + [None] * 200)
    assert state is not None and state.state == State.PENDING and told == []


def test_time_out_of_sight_counts_neither_for_firing_nor_for_recovery() -> None:
    _, told = run([20.0] + [None] * 100 + [20.0] * 2)
    assert told == []
    _, told = run([20.0] * 5 + [1.0] + [None] * 100 + [1.0] * 2)
    assert [event for _, event in told] == [Event.FIRING]


def test_a_restart_goes_on_with_the_same_incident_and_resolves_it_once() -> None:
    state, told = run([20.0] * 5)
    for second in range(10, 200, 2):
        state, event = alert.step(RULE, Reading.CLEAR, 1.0, state, START + timedelta(seconds=second))
        told += [(second, event)] if event else []
        if event == Event.RESOLVED:
            break
    assert [event for _, event in told] == [Event.FIRING, Event.RESOLVED]


def test_seconds_or_messages_whichever_is_over() -> None:
    rule = Rule(1, "Many", Kind.LAG, seconds=15, messages=100)
    assert alert.read(rule, email(1, 500)) == Reading.BREACH
    assert alert.read(rule, email(None, 500)) == Reading.BREACH
    assert alert.read(rule, email(None, 5)) == Reading.UNKNOWN
    assert alert.read(rule, email(1, 90)) == Reading.BETWEEN
    assert alert.read(rule, email(1, 5)) == Reading.CLEAR


def test_a_rule_reads_as_a_sentence() -> None:
    rule = Rule(1, "x", Kind.LAG, "email", seconds=30, for_seconds=10)
    assert alert_words.sentence(rule) == "Oldest waiting message of email is older than 30 s for 10 s"
    both = Rule(1, "x", Kind.LAG, "*", seconds=300, messages=10_000, for_seconds=120)
    assert alert_words.sentence(both) == (
        "Oldest waiting message of any group is older than 5 min"
        " or more than 10,000 messages wait for any group for 2 min"
    )
    assert alert_words.sentence(Rule(1, "x", Kind.BLIND, for_seconds=30)) == "Any source is out of sight for 30 s"
    assert alert_words.sentence(Rule(1, "x", Kind.DEAD_LETTERS, messages=0, for_seconds=0)) == "A dead letter arrives"


def test_a_pattern_is_one_or_several_globs() -> None:
    assert alert.matches("email*, payment", ["payment"])
    assert not alert.matches("email", ["email-confirmations"])


# No deadline: the machine may be busy.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from([20.0, 14.0, 1.0, None]), max_size=80), st.floats(0, 20), st.floats(0, 30))
def test_firing_and_resolved_always_take_turns(values: list[float | None], wait: float, recover: float) -> None:
    rule = Rule(1, "x", Kind.LAG, seconds=15, for_seconds=wait, recover_seconds=recover)
    state, told = run(values, rule=rule)
    events = [event for _, event in told]
    assert events == [Event.FIRING, Event.RESOLVED] * (len(events) // 2) + [Event.FIRING] * (len(events) % 2)
    assert (state is not None and state.state in (State.FIRING, State.RECOVERING)) == (len(events) % 2 == 1)


# ---------- the other kinds ----------


def group(**given: Any) -> Measurement:
    values = {"subject": "shop/emails/email", "label": "email", "names": ("email",), "seconds": 90.0, "messages": 500}
    return Measurement(**{**values, **given})


@pytest.mark.parametrize(
    ("rule", "given", "reading"),
    [
        (Rule(1, "x", Kind.STOPPED, seconds=60), {"status": "stopped"}, Reading.BREACH),
        (Rule(1, "x", Kind.STOPPED, seconds=60), {"status": "stalled", "seconds": None}, Reading.BREACH),
        (Rule(1, "x", Kind.STOPPED, seconds=60), {"status": "stopped", "seconds": 30}, Reading.BETWEEN),
        (Rule(1, "x", Kind.STOPPED, seconds=60), {"status": "slow"}, Reading.CLEAR),
        (Rule(1, "x", Kind.DRIFTING), {"status": "drifting"}, Reading.BREACH),
        (Rule(1, "x", Kind.DRIFTING), {"status": "slow"}, Reading.CLEAR),
        (Rule(1, "x", Kind.RETENTION, share=70, recover_ratio=0.72), {"shares": {Kind.RETENTION: 71}}, Reading.BREACH),
        (Rule(1, "x", Kind.RETENTION, share=70, recover_ratio=0.72), {"shares": {Kind.RETENTION: 60}}, Reading.BETWEEN),
        (Rule(1, "x", Kind.RETENTION, share=70, recover_ratio=0.72), {"shares": {Kind.RETENTION: 50}}, Reading.CLEAR),
        (Rule(1, "x", Kind.RETENTION, share=70), {"shares": {Kind.RETENTION: None}}, Reading.CLEAR),
        (Rule(1, "x", Kind.RETENTION, share=70), {"lost": True}, Reading.BREACH),
        (Rule(1, "x", Kind.SKEW, share=50, messages=100), {"shares": {Kind.SKEW: 80}}, Reading.BREACH),
        (Rule(1, "x", Kind.SKEW, share=50, messages=100), {"shares": {Kind.SKEW: 80}, "messages": 99}, Reading.CLEAR),
        (Rule(1, "x", Kind.SKEW, share=50, messages=100), {"shares": {Kind.SKEW: 0}}, Reading.CLEAR),
        (Rule(1, "x", Kind.SKEW, share=50, messages=100), {"shares": {Kind.SKEW: None}}, Reading.UNKNOWN),
        (
            Rule(1, "x", Kind.FLOOD, share=1, messages=10, recover_ratio=0.2),
            {"shares": {Kind.FLOOD: 4}},
            Reading.BREACH,
        ),
        (
            Rule(1, "x", Kind.FLOOD, share=1, messages=10, recover_ratio=0.2),
            {"shares": {Kind.FLOOD: 0.5}},
            Reading.BETWEEN,
        ),
        (Rule(1, "x", Kind.FLOOD, share=1, messages=10), {"shares": {Kind.FLOOD: None}, "messages": 3}, Reading.CLEAR),
        (Rule(1, "x", Kind.FLOOD, share=1, messages=10), {"shares": {Kind.FLOOD: None}}, Reading.UNKNOWN),
        (Rule(1, "x", Kind.STOPPED), {"status": "stopped", "known": False}, Reading.UNKNOWN),
    ],
)
def test_each_kind_reads_its_own_measure(rule: Rule, given: dict[str, Any], reading: Reading) -> None:
    assert alert.read(rule, group(**given)) == reading


def test_what_follows_from_a_stop_is_held_back_and_the_rest_is_not() -> None:
    for kind in Kind:
        held = alert.held_back(Rule(1, "x", kind), group(), {"shop/emails/email"})
        assert held.known is (kind not in (Kind.LAG, Kind.DRIFTING, Kind.SKEW))
        assert alert.held_back(Rule(1, "x", kind), group(), {"shop/other/email"}).known


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (Rule(1, "x", Kind.STOPPED, "orders.*", seconds=60, for_seconds=10),
         "Orders.* finishes nothing while a message waits longer than 1 min for 10 s"),
        (Rule(1, "x", Kind.DRIFTING, for_seconds=0),
         "The lowest lag of any group keeps rising, so that it will not recover by itself"),
        (Rule(1, "x", Kind.RETENTION, "email", share=70, for_seconds=10),
         "What waits for email is over 70 % of what is kept, or some was lost for 10 s"),
        (Rule(1, "x", Kind.SKEW, share=50, messages=100, for_seconds=0),
         "One partition has over 50 % of more than 100 messages that wait for any group"),
        (Rule(1, "x", Kind.UNREACHABLE, "email", share=70, for_seconds=30),
         "Dead letters of email can't arrive, or those that wait are at over 70 % of what is kept for 30 s"),
        (Rule(1, "x", Kind.FLOOD, share=1, messages=10, for_seconds=300),
         "Over 1 % of what any group takes becomes dead letters, more than 10 within 5 min, for 5 min"),
    ],
)  # fmt: skip
def test_every_kind_reads_as_a_sentence(rule: Rule, sentence: str) -> None:
    assert alert_words.sentence(rule) == sentence
    assert alert_words.title(rule, group(shares={rule.kind: 80.0})).count("email") == 1
    assert alert_words.detail(rule, group(shares={rule.kind: 80.0})).endswith(f"Rule: {sentence}.")


@pytest.mark.parametrize(
    ("lags", "share"),
    [
        ([10, 10, 10, 900], 100 * 900 / 930),
        ([0, 0, 0, 5], 100.0),
        ([100, 110, 90, 110], 0.0),
        ([0, 0, 0, 0], 0.0),
        ([10, 10, 900], None),
        ([10, None, 10, 10, 900], None),
        ([0, 300, 0, 300, 310, 0], 0.0),
    ],
)
def test_one_partition_stands_out_against_the_others(lags: list[int | None], share: float | None) -> None:
    assert lag_skew.worst_share(lags) == (None if share is None else pytest.approx(share))
