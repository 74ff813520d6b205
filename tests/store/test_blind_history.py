"""For which times a source was out of sight, recorded and tried against."""

from datetime import datetime

import pytest

from eventflow.domain.alert import Kind, Rule
from eventflow.domain.alert_backtest import Fired
from eventflow.domain.observations import SourceStatus
from eventflow.store.models import BlindSpell, Source
from eventflow.store.queries import alert_history
from eventflow.store.record import blind, source
from tests import factories as make

pytestmark = pytest.mark.django_db
BLIND = Rule(0, "x", Kind.BLIND, "*", for_seconds=60, recover_seconds=60)
DAY = 86_400.0


def tell(second: float, state: str, message: str = "", name: str = "shop") -> None:
    source.record([SourceStatus(name, "nats", state, make.after(second), message)], make.after(second))


def spells() -> list[tuple[datetime, datetime, datetime | None]]:
    return list(BlindSpell.objects.order_by("began_at").values_list("began_at", "seen_at", "ended_at"))


def watch(first: float, last: float) -> None:
    """The rules are held against what is, again and again."""
    for second in range(int(first), int(last) + 1, 10):
        blind.touch(make.after(second))


def fired(rule: Rule = BLIND, now: float = 1000) -> list[Fired]:
    Source.objects.update(first_seen_at=make.after(-9 * DAY))
    return list(alert_history.backtest(rule, make.after(now)).fired)


def test_a_spell_begins_with_blindness_and_ends_with_sight() -> None:
    tell(0, "connecting")
    tell(1, "ok")
    tell(100, "blind", "connection refused")
    watch(100, 400)
    tell(300, "blind", "no answer")
    tell(400, "ok")
    tell(402, "ok")
    first, second = spells()
    assert (first[0], first[2]) == (make.after(0), make.after(1))
    assert (second[0], second[2]) == (make.after(100), make.after(400))
    assert BlindSpell.objects.latest("began_at").message == "no answer"


def test_a_pause_by_a_person_is_no_blindness_and_ends_it() -> None:
    tell(0, "paused")
    tell(10, "blind")
    tell(20, "paused")
    assert [(began, ended) for began, _, ended in spells()] == [(make.after(10), make.after(20))]


def test_a_source_that_is_looked_at_no_more_is_not_blind_for_ever() -> None:
    tell(0, "blind")
    source.forget("shop")
    assert spells()[0][2] == make.after(0)


def test_a_spell_that_nobody_saw_for_long_is_followed_by_a_new_one() -> None:
    tell(0, "blind")
    watch(0, 60)
    tell(2000, "connecting")
    watch(2000, 2100)
    (old, old_seen, old_end), (new, new_seen, new_end) = spells()
    assert (old, old_end, new, new_end) == (make.after(0), None, make.after(2000), None)
    assert make.after(30) <= old_seen <= make.after(60) and make.after(2070) <= new_seen <= make.after(2100)


def test_a_rule_is_tried_on_spells_by_source() -> None:
    tell(-5000, "ok", name="other")
    tell(-900, "ok")
    tell(-800, "blind", "gone")
    watch(-800, -500)
    tell(-500, "ok")
    tell(-400, "blind")
    tell(-370, "ok")
    found = alert_history.backtest(BLIND, make.after(1000))
    assert found.tried == 2 and found.since is not None
    assert fired() == [Fired(None, "shop", make.after(-740), make.after(-440), 300.0, "s")]
    assert fired(Rule(0, "x", Kind.BLIND, "other")) == []
    assert len(fired(Rule(0, "x", Kind.BLIND, "shop", for_seconds=10, recover_seconds=0))) == 2


def test_what_is_blind_still_fires_still() -> None:
    tell(0, "blind")
    watch(0, 990)
    assert fired() == [Fired(None, "shop", make.after(60), None, 1000.0, "s")]


def test_a_spell_during_which_eventflow_stood_still_neither_ends_nor_begins_an_alert() -> None:
    tell(0, "blind")
    watch(0, 90)
    tell(800, "ok")
    assert fired() == [Fired(None, "shop", make.after(60), make.after(860), 80.0, "s")]
    BlindSpell.objects.update(seen_at=make.after(30))
    assert fired() == []


def test_two_spells_that_follow_each_other_soon_are_one_alert() -> None:
    tell(0, "blind")
    watch(0, 200)
    tell(200, "ok")
    tell(220, "blind")
    watch(220, 400)
    tell(400, "ok")
    assert fired() == [Fired(None, "shop", make.after(60), make.after(460), 200.0, "s")]


def test_spells_go_after_months() -> None:
    tell(0, "blind")
    tell(10, "ok")
    blind.prune(make.after(89 * DAY), 90)
    assert BlindSpell.objects.exists()
    blind.prune(make.after(91 * DAY), 90)
    assert not BlindSpell.objects.exists()
