"""Which alerts follow from a stop in their chain: A → B → C with B stopped is one page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventflow.domain import alert, alert_chain, lag_rules, topology
from eventflow.domain.alert import Event, Incident, Kind, Measurement, Reading, Rule, State
from eventflow.domain.alert_chain import Chains, Trouble
from eventflow.domain.edge import EdgeKey
from eventflow.domain.lag import LagPoint, LagStatus, Window
from eventflow.domain.lag_rules import Facts
from eventflow.domain.topology_model import GroupLag

START = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
STOPPED = Rule(1, "Consumer stopped", Kind.STOPPED, seconds=60, for_seconds=10, recover_seconds=120)
LATE = Rule(2, "Consumer lag", Kind.LAG, seconds=300, for_seconds=120, recover_seconds=300)
DRIFT = Rule(3, "Will not recover", Kind.DRIFTING, severity="warning", for_seconds=0, recover_seconds=600)
LOSS = Rule(4, "Messages may be lost", Kind.RETENTION, for_seconds=0)
CHAIN = (("a", "t0"), ("b", "t1"), ("c", "t2"))
"""Group and service of one name, and what it reads; each sends what the next one reads, c sends t3."""


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def graph(*extra: EdgeKey, configured: bool = True, seen: bool = True) -> Chains:
    """The chain as spans tell it, as the broker is configured, or both. Without spans nobody is known to publish."""
    edges = [EdgeKey("publish", "source", "kafka", "t0"), EdgeKey("publish", "c", "kafka", "t3")]
    for name, place in CHAIN:
        edges.append(EdgeKey("consume", name, "kafka", place, name))
    edges += [EdgeKey("publish", "a", "kafka", "t1"), EdgeKey("publish", "b", "kafka", "t2")]
    groups = [GroupLag(n, "shop", "kafka", place, name) for n, (name, place) in enumerate(CHAIN)]
    for key in extra:
        edges.append(key)
        if key.kind == "consume":
            groups.append(GroupLag(99, "shop", "kafka", key.destination, key.group, key.service))
    built = topology.build(
        (), groups if configured else (), (), (), window_seconds=60, now=START, known=edges if seen else ()
    )
    return Chains(built)


def trouble(name: str, rule: Rule = STOPPED, since: float = 0, **given: Any) -> Trouble:
    """A group of the chain in trouble; `began` seconds after START it got something done for the last time."""
    place = dict(CHAIN).get(name, given.pop("place", "t1"))
    began, told = given.pop("began", since), given.pop("told", False)
    recovering = given.pop("recovering", None)
    values: dict[str, Any] = {"status": "stalled", "seconds": 100.0, "messages": 10, "progress_at": after(began)}
    measured = Measurement(f"shop/{place}/{name}", name, (name,), **{**values, **given})
    back = None if recovering is None else after(recovering)
    return Trouble(rule, measured, after(since), told=told, recovering_since=back)


def held(*troubles: Trouble, chains: Chains | None = None) -> dict[str, str]:
    """Who is held back by whom."""
    found = alert_chain.follow(troubles, chains or graph())
    return {key[1].rpartition("/")[2]: cause.rpartition("/")[2] for key, cause in found.items()}


def test_what_lies_up_and_down_the_chain_of_a_stopped_group_follows_from_it() -> None:
    b = trouble("b", began=0, since=60, status="stopped")
    assert held(b, trouble("a", began=30, since=90), trouble("c", began=10, since=70)) == {"a": "b", "c": "b"}
    assert held(b, trouble("c", LATE, since=400, seconds=310)) == {"c": "b"}


def test_a_group_behind_the_stop_that_still_gets_messages_and_is_late_is_slow_by_itself() -> None:
    b, late = trouble("b", began=0, since=60, status="stopped"), {"since": 400, "seconds": 310}
    assert held(b, trouble("c", LATE, **late, in_rate=2.0)) == {}
    assert held(b, trouble("c", LATE, **late, in_rate=0.0)) == {"c": "b"}
    assert held(b, trouble("a", LATE, **late, in_rate=2.0)) == {"a": "b"}  # before the stop messages pile up
    waits = trouble("c", began=10, since=70, in_rate=2.0)  # as one that joins two topics does
    assert len(alert_chain.follow([b, waits, trouble("c", LATE, **late, in_rate=2.0)], graph())) == 2


def test_the_order_in_which_rules_are_read_changes_nothing() -> None:
    troubles = [trouble("b", began=0, since=60, status="stopped"), trouble("a", began=30), trouble("c", began=10)]
    assert held(*troubles) == held(*reversed(troubles)) == {"a": "b", "c": "b"}


def test_spans_alone_make_a_chain_of_the_brokers_groups_and_without_them_there_is_none() -> None:
    b, a = trouble("b", began=0, status="stopped"), trouble("a", began=30)
    assert held(b, a, chains=graph()) == {"a": "b"}
    assert held(b, a, chains=graph(seen=False)) == {}
    assert held(b, a, chains=graph(configured=False)) == {}


def test_two_consumers_of_one_topic_are_no_chain() -> None:
    beside = graph(EdgeKey("consume", "audit", "kafka", "t1", "audit"))
    assert held(trouble("b", status="stopped"), trouble("audit", began=5), chains=beside) == {}


def test_who_is_gone_too_is_an_outage_of_its_own() -> None:
    gone = {"status": "stopped"}
    assert held(trouble("b", began=0, **gone), trouble("a", began=5, **gone), trouble("c", began=5, **gone)) == {}


def test_the_groups_of_one_process_that_is_gone_are_one_alert() -> None:
    both = graph(EdgeKey("consume", "b", "kafka", "t9", "b"))
    one, other = trouble("b", status="stopped"), trouble("b", status="stopped")
    other = Trouble(STOPPED, Measurement("shop/t9/b", "b", ("b",), status="stopped", progress_at=after(4)), after(4))
    assert list(alert_chain.follow([one, other], both).values()) == ["shop/t1/b"]


def test_what_began_before_or_long_after_the_stop_has_a_cause_of_its_own() -> None:
    b = trouble("b", began=0, since=60, status="stopped", told=True)
    assert held(b, trouble("a", LATE, since=100, seconds=310)) == {}  # late since 200 s before the stop
    assert held(b, trouble("a", began=-3600)) == {}
    assert held(b, trouble("a", began=1000)) == {}
    assert held(b, trouble("a", began=800)) == {"a": "b"}


def test_the_wave_after_the_stop_is_a_consequence_too() -> None:
    b = trouble("b", began=0, since=60, told=True, recovering=3600)
    assert held(b, trouble("c", LATE, since=3700, seconds=310)) == {"c": "b"}


def test_what_people_were_told_of_is_never_held_back_and_a_warning_holds_back_no_page() -> None:
    assert held(trouble("b", status="stopped"), trouble("a", began=5, told=True)) == {}
    warns = Rule(9, "x", Kind.STOPPED, severity="warning")
    assert held(trouble("b", warns, status="stopped"), trouble("a", LATE, since=400, seconds=310)) == {}
    assert held(trouble("b", warns, status="stopped"), trouble("a", DRIFT, since=1900)) == {"a": "b"}


def test_loss_is_told_of_whatever_it_follows_from() -> None:
    assert held(trouble("b", status="stopped"), trouble("b", LOSS), trouble("a", LOSS)) == {}


def test_a_jam_reaches_only_as_far_as_services_are_hampered() -> None:
    """c stopped: with b in order, what a suffers from is something else."""
    c = trouble("c", status="stopped")
    assert held(c, trouble("a", began=30)) == {}
    assert held(c, trouble("a", began=30), trouble("b", began=20)) == {"a": "c", "b": "c"}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_any_set_of_stops_one_is_nobodys_consequence(count: int) -> None:
    circle = graph(EdgeKey("publish", "c", "kafka", "t0"))
    stops = [trouble(name, began=number) for number, (name, _) in enumerate(CHAIN[:count])]
    assert len(held(*stops, chains=circle)) == count - 1


# ---------- the whole of it: samples, verdicts, rules, incidents ----------


@dataclass
class Group:
    """A consumer group over time: what arrives, what it gets done, what waits; and what its rules made of it."""

    name: str
    place: str
    window: Window = field(default_factory=Window)
    published: int = 0
    settled: int = 0
    in_flight: int = 0
    arrived: list[int] = field(default_factory=list)
    """The second each message arrived."""

    def look(self, second: int) -> Measurement:
        ready = self.published - self.settled - self.in_flight
        age = float(second - self.arrived[self.settled]) if ready or self.in_flight else 0.0
        self.window.add(LagPoint(after(second), ready, self.in_flight, age, self.published, None, self.settled))
        verdict = lag_rules.judge(self.window, Facts(members=1))
        return Measurement(
            f"shop/{self.place}/{self.name}", self.name, (self.name,),
            seconds=age, messages=ready, status=verdict.status, progress_at=self.window.progress_at,
        )  # fmt: skip

    def take(self, number: int) -> int:
        done = min(number, self.published - self.settled)
        self.settled += done
        return done

    def arrive(self, number: int, second: int) -> None:
        self.published += number
        self.arrived += [second] * number


def outage(
    b_back_at: int, until: int, *, a_stays_broken: bool = False, chains: Chains | None = None
) -> tuple[list[tuple[int, str, str]], set[str]]:
    """b stops at second 300. It has room for 600 messages before it: then a can't send any more, holds one message and
    finishes none. c joins each message with the next: the last one waits in its hands for what b sends next.

    What was told (second, event, group and kind), and what was ever held back.
    """
    groups = {name: Group(name, place) for name, place in CHAIN}
    a, b, c = groups["a"], groups["b"], groups["c"]
    states: dict[tuple[int, str], Incident | None] = {}
    told, waited = [], set()
    rules = (LATE, DRIFT, LOSS, STOPPED)
    chains = chains or graph()
    for second in range(0, until, 5):
        works = second < 300 or second >= b_back_at
        a.arrive(10, second)
        jammed = b.published - b.settled >= 600 or (a_stays_broken and second >= 400)
        a.in_flight = 1 if jammed else 0
        b.arrive(0 if jammed else a.take(40), second)
        sent = b.take(60) if works else 0
        c.arrive(sent, second)
        c.in_flight = min(1, c.published - c.settled)
        c.take(c.published - c.settled - 1)
        looked = [group.look(second) for group in groups.values()]
        measured = [(rule, seen) for seen in looked for rule in rules]
        looks = (
            alert_chain.trouble_of(rule, seen, states.get((rule.pk, seen.subject)), after(second))
            for rule, seen in measured
        )
        causes = alert_chain.follow([one for one in looks if one], chains)
        for rule, seen in measured:
            key = (rule.pk, seen.subject)
            state, event = alert.step(
                rule, alert.read(rule, seen), None, states.get(key), after(second), held=key in causes
            )
            states[key] = None if state is not None and state.state == State.RESOLVED else state
            if state is not None and state.held:
                waited.add(seen.label)
            if event:
                told.append((second, event.value, f"{seen.label} {rule.kind}"))
    return told, waited


def test_chain_a_b_c_with_b_stopped_is_one_page() -> None:
    """§9.6, test 8."""
    told, waited = outage(b_back_at=1500, until=3600)
    assert [(event, what) for _, event, what in told] == [(Event.FIRING, "b stopped"), (Event.RESOLVED, "b stopped")]
    assert waited == {"a", "b", "c"}  # each had something to say, and it was held back
    assert 360 <= told[0][0] <= 380


def test_a_consequence_that_outlasts_its_cause_pages_by_itself() -> None:
    told, _ = outage(b_back_at=900, until=3600, a_stays_broken=True)
    firing = [(second, what) for second, event, what in told if event == Event.FIRING]
    ended = next(second for second, event, what in told if (event, what) == (Event.RESOLVED, "b stopped"))
    assert [what for _, what in firing] == ["b stopped", "a stopped"]
    assert firing[1][0] >= ended + STOPPED.for_seconds


def test_without_the_graph_the_same_outage_pages_three_times() -> None:
    told, _ = outage(b_back_at=1500, until=1500, chains=alert_chain.NO_CHAINS)
    assert [what for _, event, what in told if event == Event.FIRING] == ["c stopped", "b stopped", "a stopped"]


def test_an_idle_group_behind_a_stopped_one_is_not_in_trouble_at_all() -> None:
    c = Group("c", "t2")
    for second in range(0, 1200, 5):
        if second < 300:
            c.arrive(10, second)
            c.take(10)
        seen = c.look(second)
    assert seen.status == LagStatus.IDLE
    assert alert.read(STOPPED, seen) == Reading.CLEAR


def test_a_consequence_that_ends_with_its_cause_is_remembered_but_never_told_of() -> None:
    state: Incident | None = None
    for second in range(0, 60, 2):
        state, event = alert.step(STOPPED, Reading.BREACH, 1.0, state, after(second), held=True)
        assert event is None
    assert state is not None and (state.state, state.held) == (State.PENDING, True)
    for second in range(60, 182, 2):
        assert state is not None and state.state == State.PENDING
        state, event = alert.step(STOPPED, Reading.CLEAR, 0.0, state, after(second), held=second < 100)
        assert event is None
    assert state is not None and (state.state, state.fired_at, state.held) == (State.RESOLVED, None, True)


def test_a_short_consequence_leaves_nothing() -> None:
    state, _ = alert.step(STOPPED, Reading.BREACH, 1.0, None, START, held=True)
    assert alert.step(STOPPED, Reading.CLEAR, 0.0, state, after(4), held=True) == (None, None)
