"""Evaluating alert rules on what is recorded."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain.alert import Event
from eventflow.domain.observations import DestinationSample, SourceStatus
from eventflow.store.models import AlertRule, ConsumerGroup, DeadLetter, Incident, Source
from eventflow.store.record import alert, alert_settings, notification, observations
from tests import factories as make

pytestmark = pytest.mark.django_db


def see(second: float, age: float | None, ready: int | None = 10, group: str = "email") -> alert.Outcome:
    """A look at the group and an evaluation."""
    at = make.after(second)
    observations([make.lag_sample(group, at, ready=ready, age=age)], at)
    return alert.evaluate(at)


def test_a_late_group_is_pending_then_fires_then_resolves_as_one_incident() -> None:
    make.alert_rule()
    told = []
    for second in range(0, 40, 2):
        told += see(second, age=20 if second < 16 else 1).told
    row = Incident.objects.get()
    assert told == [(row.pk, Event.FIRING), (row.pk, Event.RESOLVED)]
    assert (row.state, row.peak, row.subject) == ("resolved", 20.0, "shop/emails.requested/email")
    assert row.title == "email is 20 s behind" and "15 s" in row.detail


def test_what_never_fired_leaves_no_incident() -> None:
    make.alert_rule()
    assert see(0, age=20).news == {"alerts"}
    assert Incident.objects.get().state == "pending"
    see(2, age=1)
    assert not Incident.objects.exists()


def test_two_evaluators_at_the_same_instant_make_one_incident() -> None:
    make.alert_rule(for_seconds=0)
    assert len(see(0, age=20).told) == 1
    assert alert.evaluate(make.after(0)).told == []
    assert Incident.objects.count() == 1


def test_a_blind_collector_neither_fires_nor_resolves_lag_rules() -> None:
    make.alert_rule(for_seconds=0, recover_seconds=0)
    see(0, age=20)
    see(2, age=None, ready=None)
    assert alert.evaluate(make.after(500)).told == []
    assert Incident.objects.get().state == "firing"


def test_a_rule_switched_off_ends_what_it_had_firing() -> None:
    rule = make.alert_rule(for_seconds=0)
    see(0, age=20)
    alert_settings.switch_rule(rule.pk, False)
    assert [event for _, event in see(2, age=20).told] == [Event.RESOLVED]


def test_a_deleted_group_ends_its_incident() -> None:
    make.alert_rule(for_seconds=0)
    see(0, age=20)
    ConsumerGroup.objects.all().delete()
    assert [event for _, event in alert.evaluate(make.after(2)).told] == [Event.RESOLVED]


def test_a_pattern_limits_a_rule_to_its_groups() -> None:
    make.alert_rule(for_seconds=0, pattern="pay*")
    assert see(0, age=20).told == []
    assert len(see(2, age=20, group="payment").told) == 1


def test_a_blind_source_fires_its_own_rule() -> None:
    AlertRule.objects.create(name="Blind", kind="blind", severity="warning", for_seconds=30, recover_seconds=0)
    observations([SourceStatus("shop", "nats", "ok", make.NOW)], make.NOW)
    observations([SourceStatus("shop", "nats", "blind", make.after(5), "refused")], make.NOW)
    assert alert.evaluate(make.after(5)).told == []
    assert len(alert.evaluate(make.after(36)).told) == 1
    assert Incident.objects.get().title == "shop is out of sight"
    observations([SourceStatus("shop", "nats", "ok", make.after(40))], make.NOW)
    assert [event for _, event in alert.evaluate(make.after(40)).told] == [Event.RESOLVED]


def test_a_source_that_nobody_has_looked_at_for_long_is_out_of_sight_and_a_quiet_receiver_is_not() -> None:
    AlertRule.objects.create(name="Blind", kind="blind", severity="warning", for_seconds=30, recover_seconds=0)
    observations([SourceStatus("shop", "nats", "ok", make.NOW, cycle_seconds=0.02)], make.NOW)
    observations([SourceStatus("OTLP", "otlp", "ok", make.NOW)], make.NOW)
    for second in (10, 20, 40, 60):
        alert.evaluate(make.after(second))
    assert list(Incident.objects.filter(state="firing").values_list("subject", flat=True)) == ["shop"]
    observations([SourceStatus("shop", "nats", "ok", make.after(61), cycle_seconds=0.02)], make.after(61))
    assert [event for _, event in alert.evaluate(make.after(61)).told] == [Event.RESOLVED]


def test_the_default_rules_are_those_of_the_facts() -> None:
    """§9.4, row by row: limit, how long, what is enough to recover, for how long, severity."""
    alert_settings.ensure_default_rules()
    page, warn = "critical", "warning"
    names = ("seconds", "messages", "share", "for_seconds", "recover_ratio", "recover_seconds", "severity")
    assert {rule.kind: tuple(getattr(rule, name) for name in names) for rule in AlertRule.objects.all()} == {
        "lag": (300, None, None, 120, 0.8, 300, page),
        "stopped": (60, None, None, 10, 0.8, 120, page),
        "drifting": (None, None, None, 0, 0.8, 600, warn),
        "retention": (None, None, 70, 10, 0.72, 60, page),
        "skew": (None, 100, 50, 120, 0.5, 120, warn),
        "dead_letters": (None, 0, None, 0, 0.8, 0, warn),
        "flood": (None, 10, 1, 300, 0.2, 600, page),
        "unreachable": (None, None, 70, 30, 0.72, 0, warn),
        "blind": (None, None, None, 30, 0.8, 0, warn),
    }


def letters_rule() -> AlertRule:
    rule = AlertRule.objects.create(name="Letters", kind="dead_letters", messages=0, for_seconds=0, recover_seconds=0)
    AlertRule.objects.update(created_at=make.after(-7200))
    return rule


def test_the_first_dead_letter_of_a_cause_fires_and_later_ones_join_it() -> None:
    letters_rule()
    make.letter()
    assert len(alert.evaluate(make.NOW).told) == 1
    make.letter()
    assert alert.evaluate(make.after(5)).told == []
    assert Incident.objects.get().title.startswith("2 dead letters: payments.errors.GiftCardBalanceError")


def test_an_acknowledged_arrival_is_over_until_another_letter_comes() -> None:
    letters_rule()
    make.letter()
    alert.evaluate(make.NOW)
    alert_settings.acknowledge(Incident.objects.get().pk, "ops", make.after(1))
    assert [event for _, event in alert.evaluate(make.after(2)).told] == [Event.RESOLVED]
    assert alert.evaluate(make.after(4)).told == []
    make.letter(captured_at=make.after(60), failed_at=make.after(59))
    assert [event for _, event in alert.evaluate(make.after(61)).told] == [Event.FIRING]


def test_replayed_letters_end_the_incident() -> None:
    letters_rule()
    make.letter()
    alert.evaluate(make.NOW)
    DeadLetter.objects.update(status="resolved")
    assert [event for _, event in alert.evaluate(make.after(2)).told] == [Event.RESOLVED]


def test_a_pile_from_before_the_rule_is_no_arrival() -> None:
    AlertRule.objects.create(name="Letters", kind="dead_letters", messages=0, for_seconds=0)
    AlertRule.objects.update(created_at=make.NOW)
    make.letter()
    assert alert.evaluate(make.NOW).told == []


def test_twenty_groups_cost_no_more_queries_than_ten() -> None:
    make.alert_rule()

    def cost(groups: int) -> int:
        ConsumerGroup.objects.all().delete()
        for number in range(groups):
            make.consumer_group(f"g{number}", age=1, ready=1)
        with CaptureQueriesContext(connection) as captured:
            alert.evaluate(make.NOW)
        return len(captured)

    assert cost(20) == cost(10) <= 4


def test_default_rules_are_made_once_and_never_again_over_a_persons_choice() -> None:
    assert alert_settings.ensure_default_rules() == 9
    AlertRule.objects.filter(kind="lag").update(seconds=42, enabled=False)
    AlertRule.objects.filter(kind="blind").delete()
    assert alert_settings.ensure_default_rules() == 0
    assert AlertRule.objects.get(kind="lag").seconds == 42
    assert alert_settings.ensure_default_rules(demo=True) == 1
    assert alert_settings.ensure_default_rules(demo=True) == 0


def test_old_incidents_go_and_open_ones_stay() -> None:
    rule = make.alert_rule()
    make.incident(rule, state="resolved", resolved_at=make.NOW - timedelta(days=20))
    make.incident(rule)
    alert_settings.prune(make.NOW, keep_hours=24)
    assert Incident.objects.get().state == "firing"


def stopped_rule() -> AlertRule:
    return make.alert_rule(name="Stopped", kind="stopped", seconds=60, for_seconds=0)


def test_a_stopped_group_is_one_alert_though_its_lag_is_over_the_limit_too() -> None:
    make.alert_rule(for_seconds=0)
    stopped_rule()
    make.consumer_group("email", age=90, ready=5, status="stopped")
    make.consumer_group("billing", age=90, ready=5, status="slow")
    alert.evaluate(make.NOW)
    firing = Incident.objects.filter(state="firing").values_list("rule__kind", "subject")
    assert sorted(firing) == [("lag", "shop/orders.placed/billing"), ("stopped", "shop/orders.placed/email")]


def test_an_outage_of_a_broker_is_one_alert_and_not_one_for_each_of_its_hundred_groups() -> None:
    make.alert_rule(for_seconds=0)
    stopped_rule()
    make.alert_rule(name="Blind", kind="blind", seconds=None, for_seconds=0)
    Source.objects.create(name="shop", system="nats", state="blind", message="connection refused")
    for number in range(100):
        make.consumer_group(f"g{number}", age=900, ready=5, status="stopped")
    alert.evaluate(make.NOW)
    assert list(Incident.objects.values_list("rule__kind", "subject")) == [("blind", "shop")]
    Source.objects.update(state="ok")
    alert.evaluate(make.after(1))
    assert Incident.objects.filter(rule__kind="stopped", state="firing").count() == 100


def test_a_paused_source_raises_no_alert() -> None:
    make.alert_rule(name="Blind", kind="blind", seconds=None, for_seconds=0)
    Source.objects.create(name="shop", system="nats", state="paused")
    alert.evaluate(make.NOW)
    assert not Incident.objects.exists()


@pytest.mark.parametrize(
    ("kind", "given", "title"),
    [
        ("drifting", {"status": "drifting"}, "email will not recover by itself"),
        ("retention", {"kept_share": 82.4}, "email is at 82 % of what is kept"),
        ("retention", {"lost": 7}, "email lost messages"),
        ("skew", {"skew": 91.0}, "One partition holds 91 % of the lag of email"),
    ],
)
def test_each_kind_of_rule_fires_on_what_the_lag_engine_found(kind: str, given: dict[str, Any], title: str) -> None:
    make.alert_rule(name=kind, kind=kind, seconds=None, for_seconds=0)
    make.consumer_group("email", age=5, ready=500, **({"status": "ok"} | given))
    make.consumer_group("billing", age=5, ready=500, status="ok")
    alert.evaluate(make.NOW)
    assert list(Incident.objects.values_list("title", flat=True)) == [title]


def test_a_flood_of_dead_letters_is_measured_against_what_the_group_takes() -> None:
    rule = make.alert_rule(name="Flood", kind="flood", seconds=None, share=1, messages=10, for_seconds=0)
    make.consumer_group("payment", out_rate=1.0, ready=0)
    make.consumer_group("billing", out_rate=100.0, ready=0)
    ConsumerGroup.objects.update(first_seen_at=make.after(-3600))
    for group in ("payment", "billing"):
        for _ in range(20):
            make.letter(group=group, failed_at=make.after(-30))
    alert.evaluate(make.NOW)
    found = Incident.objects.get(rule=rule)
    assert (found.subject, found.unit, round(found.value, 1)) == ("shop/payment", "%", 6.7)


def test_the_old_letters_of_a_new_broker_are_no_flood() -> None:
    make.alert_rule(name="Flood", kind="flood", seconds=None, share=1, messages=10, for_seconds=0)
    make.consumer_group("payment", out_rate=1.0, ready=0)
    ConsumerGroup.objects.update(first_seen_at=make.after(-60))
    for _ in range(20):
        make.letter(group="payment", failed_at=make.after(-30))
    alert.evaluate(make.NOW)
    assert not Incident.objects.exists()


# ---------- chains ----------


SPANS = (
    ("publish", "a", "orders"),
    ("consume", "b", "orders"),
    ("publish", "b", "payments"),
    ("consume", "c", "payments"),
)


def chain(now_seconds: float, **status: str) -> None:
    """a → orders → b → payments → c: what spans told of it, and how the groups fare `now_seconds` after b stopped."""
    for number, (kind, service, place) in enumerate(
        [
            ("publish", "a", "orders"),
            ("consume", "b", "orders"),
            ("publish", "b", "payments"),
            ("consume", "c", "payments"),
        ]
    ):
        make.edge(number, kind, service, place, at=make.after(now_seconds))
    for name, place in (("a", "carts"), ("b", "orders"), ("c", "payments")):
        word = status.get(name, "ok")
        values = {
            "status": word,
            "oldest_at": None if word in ("ok", "idle") else make.NOW,
            "ready": 0 if word in ("ok", "idle") else 10,
            "progress_at": make.after({"a": 20, "b": 0, "c": 10}[name]),
            "seen_at": make.after(now_seconds),
        }
        ConsumerGroup.objects.update_or_create(
            source="shop", system="nats", destination=place, name=name, defaults={"service": name, **values}
        )


def told(now_seconds: float) -> list[str]:
    """One evaluation, and what goes out to a channel."""
    alert.evaluate(make.after(now_seconds))
    due = notification.claim(make.after(now_seconds))
    for delivery in due:
        notification.delivered(delivery, make.after(now_seconds))
    return [delivery.message.headline for delivery in due]


def test_chain_a_b_c_with_b_stopped_is_one_page_and_shows_what_follows_from_it() -> None:
    """§9.6, test 8, as it is recorded and told."""
    alert_settings.save_channel("Hook", "webhook", "https://example.org/hook")
    alert_settings.ensure_default_rules()
    sent = []
    for second in range(70, 600, 10):
        chain(second, a="stalled", b="stopped", c="idle")
        sent += told(second)
    assert sent == ["Critical: b finishes nothing"]
    cause = Incident.objects.get(state="firing")
    behind = Incident.objects.filter(follows_from=cause).values_list("subject", "rule__kind", "state")
    assert sorted(behind) == [
        ("shop/carts/a", "lag", "pending"),
        ("shop/carts/a", "stopped", "pending"),
        ("shop/orders/b", "lag", "pending"),
    ]
    for second in range(600, 900, 10):  # all of it goes on again
        chain(second, b="ok")
        ConsumerGroup.objects.update(progress_at=make.after(second))
        sent += told(second)
    for second in range(900, 1300, 10):
        chain(second)
        sent += told(second)
    assert sent == ["Critical: b finishes nothing", "Resolved: b finishes nothing"]
    assert set(Incident.objects.filter(follows_from=cause).values_list("state", "fired_at")) == {("resolved", None)}


def test_what_outlasts_its_cause_pages_by_itself() -> None:
    alert_settings.save_channel("Hook", "webhook", "https://example.org/hook")
    alert_settings.ensure_default_rules()
    sent = []
    for second in range(70, 200, 10):
        chain(second, a="stalled", b="stopped", c="idle")
        sent += told(second)
    for second in range(200, 400, 10):
        chain(second, a="stalled", b="ok")
        sent += told(second)
    assert sent == ["Critical: b finishes nothing", "Resolved: b finishes nothing", "Critical: a finishes nothing"]
    assert not Incident.objects.filter(state="firing", follows_from__isnull=False).exists()


def test_a_stop_of_a_group_that_nothing_ties_to_the_other_is_a_page_of_its_own() -> None:
    alert_settings.ensure_default_rules()
    chain(100, b="stopped")
    make.consumer_group("alone", "elsewhere", age=90, ready=5, status="stalled", seen_at=make.after(100))
    for second in (100, 110, 120):
        alert.evaluate(make.after(second))
    assert sorted(Incident.objects.filter(state="firing").values_list("subject", flat=True)) == [
        "shop/elsewhere/alone",
        "shop/orders/b",
    ]


def test_consequences_of_a_stop_that_came_to_nothing_fire_as_if_it_had_never_been() -> None:
    stopped_rule()
    AlertRule.objects.update(for_seconds=30)
    chain(100, a="stalled", b="stopped")
    alert.evaluate(make.after(100))
    alert.evaluate(make.after(102))
    assert Incident.objects.get(subject="shop/carts/a").follows_from == Incident.objects.get(subject="shop/orders/b")
    chain(104, a="stalled", b="ok")
    alert.evaluate(make.after(104))
    assert Incident.objects.get().follows_from is None
    for second in (106, 120, 140):
        chain(second, a="stalled", b="ok")
        alert.evaluate(make.after(second))
    assert Incident.objects.get(state="firing").subject == "shop/carts/a"


# ---------- dead letters that can't arrive or stay ----------


def destination(second: float = 0, name: str = "orders", **given: Any) -> None:
    at = make.after(second)
    observations([DestinationSample("shop", "rabbitmq", name, "queue", at, **given)], at)


def lost_letters_rule(**given: Any) -> AlertRule:
    values = {"name": "Lost", "kind": "unreachable", "severity": "warning", "seconds": None, "share": 70.0}
    return make.alert_rule(**{**values, "recover_ratio": 0.72, "for_seconds": 0, "recover_seconds": 0, **given})


def test_a_dead_letter_exchange_without_a_target_warns_until_it_is_mended() -> None:
    lost_letters_rule()
    destination(letters_lost="nothing is bound to exchange dlx")
    assert [event for _, event in alert.evaluate(make.NOW).told] == [Event.FIRING]
    row = Incident.objects.get()
    assert (row.title, row.severity, row.subject) == ("Dead letters of orders can't arrive", "warning", "shop/orders")
    assert row.detail.startswith("Nothing is bound to exchange dlx. Rule: Dead letters of any queue or topic can't")
    destination(2)
    assert [event for _, event in alert.evaluate(make.after(2)).told] == [Event.RESOLVED]


def test_letters_near_their_end_warn_and_those_that_somebody_dealt_with_do_not() -> None:
    lost_letters_rule()
    place = {"name": "dlq.payment", "dead_letters_of": ("payment",), "messages": 3, "kept_seconds": 600.0}
    make.letter(location="dlq.payment", failed_at=make.after(-300))
    destination(**place)
    assert alert.evaluate(make.NOW).told == []
    assert len(alert.evaluate(make.after(130)).told) == 1
    assert Incident.objects.get().title == "Dead letters at dlq.payment are at 72 % of what is kept"
    DeadLetter.objects.update(status="resolved")
    assert [event for _, event in alert.evaluate(make.after(140)).told] == [Event.RESOLVED]


def test_where_letters_are_only_counted_their_age_is_that_of_the_filled_queue() -> None:
    lost_letters_rule()
    place = {"name": "dlq", "dead_letters_of": ("*",), "kept_seconds": 600.0}
    destination(0, **place, messages=0)
    destination(100, **place, messages=1)
    destination(300, **place, messages=5)
    assert alert.evaluate(make.after(500)).told == []
    assert len(alert.evaluate(make.after(530)).told) == 1
    destination(531, **place, messages=0)
    destination(532, **place, messages=1)
    assert [event for _, event in alert.evaluate(make.after(533)).told] == [Event.RESOLVED]


def test_a_full_stream_of_letters_and_one_out_of_sight() -> None:
    lost_letters_rule()
    destination(name="DLQ", dead_letters_of=("*",), messages=80, kept_messages=100)
    Source.objects.create(name="shop", system="nats", state="blind")
    assert alert.evaluate(make.NOW).told == []
    Source.objects.update(state="ok")
    assert len(alert.evaluate(make.after(1)).told) == 1
    assert alert.evaluate(make.after(5000)).told != []  # gone from the broker for over an hour: nothing to warn of
    assert Incident.objects.get().state == "resolved"
