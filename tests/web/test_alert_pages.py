"""The alerts page: what it shows, who may do what on it."""

import html
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from eventflow.accounts.models import AuditEntry
from eventflow.store.models import (
    AlertRule,
    BlindSpell,
    ConsumerGroup,
    Incident,
    LagPoint,
    NotificationChannel,
    Silence,
    Source,
)
from eventflow.store.queries import alerts, lag
from eventflow.store.record.notification import signing_secret
from tests import factories as make

pytestmark = pytest.mark.django_db
RULE = {
    "kind": "lag",
    "name": "Email late",
    "pattern": "email",
    "severity": "warning",
    "age": "30",
    "age_unit": "s",
    "messages": "",
    "hold": "10",
    "hold_unit": "s",
    "recover": "1",
    "recover_unit": "min",
}


def as_role(client: Client, role: str) -> Client:
    client.force_login(make.user(role))
    return client


def test_what_fires_is_on_the_page_and_in_the_bell_of_every_page(client: Client) -> None:
    row = make.incident(make.alert_rule(severity="warning"))
    as_role(client, "viewer")
    assert "email is 27 s behind" in client.get("/alerts/").content.decode()
    bell = client.get("/lag/").content.decode()
    assert f'data-incident="{row.pk}"' in bell and "Alerts, 1 firing" in bell
    assert "email is 27 s behind" in client.get("/alerts/bell/").content.decode()


def test_what_follows_from_an_alert_stands_below_it_and_is_neither_pending_nor_in_the_bell(client: Client) -> None:
    rule = make.alert_rule(kind="stopped", name="Consumer stopped")
    cause = make.incident(rule, title="payment finishes nothing")
    held = {"rule": rule, "state": "pending", "fired_at": None, "follows_from": cause}
    make.incident(**held, subject="shop/t/a", title="inventory finishes nothing")
    page = as_role(client, "viewer").get("/alerts/").content.decode()
    assert "1 alert follows from this and is held back" in page and "1 firing" in page
    assert "follows from: payment finishes nothing" in page and "Pending" not in page
    assert "inventory" not in client.get("/alerts/bell/").content.decode()
    Incident.objects.update(state="resolved", resolved_at=timezone.now())
    page = client.get("/alerts/").content.decode()
    assert "1 alert follows from this and was not told of" in page
    assert page.count("inventory finishes nothing") == 1  # below its cause, not in the history beside it
    assert "inventory" not in client.get("/alerts/bell/").content.decode()


def test_a_viewer_is_offered_nothing_that_is_refused(client: Client) -> None:
    make.incident(make.alert_rule())
    page = as_role(client, "viewer").get("/alerts/?rule=new").content.decode()
    for words in ("Acknowledge", "New rule", "Save rule", "Send test", "End now"):
        assert words not in page


@pytest.mark.parametrize(
    ("role", "url", "allowed"),
    [
        ("viewer", "incidents/{incident}/acknowledge/", False),
        ("operator", "incidents/{incident}/acknowledge/", True),
        ("viewer", "silences/", False),
        ("operator", "silences/", True),
        ("operator", "rules/", False),
        ("admin", "rules/", True),
        ("operator", "rules/{rule}/switch/", False),
        ("admin", "rules/{rule}/switch/", True),
        ("operator", "rules/{rule}/delete/", False),
        ("admin", "rules/{rule}/delete/", True),
        ("operator", "channels/", False),
        ("admin", "channels/", True),
        ("operator", "channels/{channel}/test/", False),
        ("admin", "channels/{channel}/test/", True),
        ("operator", "channels/{channel}/delete/", False),
        ("admin", "channels/{channel}/delete/", True),
    ],
)
def test_each_role_may_do_its_part_and_no_more(client: Client, role: str, url: str, allowed: bool) -> None:
    rule = make.alert_rule()
    row = make.incident(rule)
    channel = NotificationChannel.objects.create(name="hook", kind="webhook", url="https://hooks.example/x")
    data = RULE | {"incident": row.pk, "seconds": "1800", "url": "https://hooks.example/y"}
    if url == "channels/":
        data |= {"kind": "webhook"}
    answer = as_role(client, role).post(
        "/alerts/" + url.format(incident=row.pk, rule=rule.pk, channel=channel.pk), data
    )
    assert answer.status_code == (302 if allowed else 403)
    assert AuditEntry.objects.exists() is allowed


def test_a_rule_is_written_as_a_sentence_and_read_as_one(client: Client) -> None:
    as_role(client, "admin").post(reverse("alerts:save_rule"), RULE)
    rule = AlertRule.objects.get()
    assert (rule.seconds, rule.messages, rule.for_seconds, rule.recover_seconds) == (30, None, 10, 60)
    assert "Oldest waiting message of email is older than 30 s for 10 s" in client.get("/alerts/").content.decode()
    client.post(reverse("alerts:save_rule"), RULE | {"pk": rule.pk, "messages": "500"})
    rule.refresh_from_db()
    assert rule.messages == 500 and AlertRule.objects.count() == 1


@pytest.mark.parametrize("change", [{"age": "", "messages": ""}, {"name": ""}, {"age": "nan"}, {"hold": "-1"}])
def test_a_rule_that_says_nothing_comes_back_with_what_is_wrong(client: Client, change: dict[str, str]) -> None:
    answer = as_role(client, "admin").post(reverse("alerts:save_rule"), RULE | change)
    assert answer.status_code == 422 and "Not saved" in answer.content.decode()
    assert not AlertRule.objects.exists()


def test_a_channels_address_is_never_shown_again_and_its_secret_only_to_admins(client: Client) -> None:
    data = {"kind": "webhook", "name": "hook", "url": "https://user:hunter2@hooks.example/T0/s3cret"}
    as_role(client, "admin").post(reverse("alerts:add_channel"), data)
    channel = NotificationChannel.objects.get()
    page = client.get("/alerts/?rule=new").content.decode()
    assert "hunter2" not in page and "s3cret" not in page and signing_secret(channel.pk) in page
    assert signing_secret(channel.pk) not in as_role(client, "operator").get("/alerts/").content.decode()
    assert "hunter2" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize("url", ["ftp://x/y", "file:///etc/passwd", "javascript:alert(1)", "https://[", "nothing"])
def test_an_address_that_is_no_webhook_is_refused(client: Client, url: str) -> None:
    as_role(client, "admin").post(reverse("alerts:add_channel"), {"kind": "webhook", "name": "hook", "url": url})
    assert not NotificationChannel.objects.exists()


def test_silencing_an_incident_silences_exactly_its_subject(client: Client) -> None:
    row = make.incident(make.alert_rule(), subject="shop/orders.[a-z]/email")
    as_role(client, "operator").post(reverse("alerts:silence"), {"incident": row.pk, "seconds": "1800"})
    assert Silence.objects.get().pattern == "shop/orders.[[]a-z]/email"
    assert "silenced until" in client.get("/alerts/").content.decode()
    client.post(reverse("alerts:end_silence", args=[Silence.objects.get().pk]))
    assert "Nothing is silenced" in client.get("/alerts/").content.decode()


def test_acknowledging_keeps_who_was_first(client: Client) -> None:
    row = make.incident(make.alert_rule())
    for name in ("mira", "jonas"):
        client.force_login(make.user("operator", name))
        client.post(reverse("alerts:acknowledge", args=[row.pk]))
    assert Incident.objects.get().acknowledged_by == "mira"


def test_hostile_names_are_only_text(client: Client) -> None:
    make.incident(make.alert_rule(name="<script>x</script>"), title="<img src=x onerror=alert(1)>")
    page = as_role(client, "admin").get("/alerts/").content.decode()
    assert "<script>x" not in page and "<img" not in page


def test_the_page_costs_the_same_for_twenty_incidents_as_for_ten(client: Client) -> None:
    rule = make.alert_rule()
    as_role(client, "admin")

    def cost(incidents: int) -> int:
        Incident.objects.all().delete()
        for number in range(incidents):
            make.incident(rule, subject=f"shop/x/{number}")
        with CaptureQueriesContext(connection) as captured:
            client.get("/alerts/")
        return len(captured)

    assert cost(20) == cost(10) <= 25


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("stopped", {"age": "1", "age_unit": "min"}, {"seconds": 60, "messages": None, "share": None}),
        ("stopped", {"age": ""}, {"seconds": None}),
        ("drifting", {}, {"seconds": None, "messages": None, "share": None}),
        ("retention", {"share": "70"}, {"seconds": None, "share": 70, "recover_ratio": 0.72}),
        ("skew", {"share": "50", "messages": "100"}, {"share": 50, "messages": 100, "recover_ratio": 0.5}),
        ("flood", {"share": "0.5", "messages": ""}, {"share": 0.5, "messages": 0, "recover_ratio": 0.2}),
        ("blind", {}, {"seconds": None, "messages": None}),
    ],
)
def test_every_kind_of_rule_has_a_form_and_is_kept_as_written(
    client: Client, kind: str, given: dict[str, str], kept: dict[str, object]
) -> None:
    form = as_role(client, "admin").get(f"/alerts/?rule=new&kind={kind}").content.decode()
    assert f'name="kind" value="{kind}"' in form
    assert client.post(reverse("alerts:save_rule"), RULE | {"kind": kind} | given).status_code == 302
    rule = AlertRule.objects.get()
    assert {name: getattr(rule, name) for name in kept} == kept
    assert f'value="{rule.pk}"' in client.get(f"/alerts/?rule={rule.pk}").content.decode()


@pytest.mark.parametrize("share", ["", "0", "101", "many"])
def test_a_share_is_a_percentage(client: Client, share: str) -> None:
    answer = as_role(client, "admin").post(reverse("alerts:save_rule"), RULE | {"kind": "flood", "share": share})
    assert answer.status_code == 422 and "percentage" in answer.content.decode()


def lagging(hours: float) -> ConsumerGroup:
    """A group that was late for five minutes, so many hours ago."""
    group = make.consumer_group("email", "emails.requested", seen_at=timezone.now())
    start = timezone.now() - timedelta(hours=hours)
    LagPoint.objects.bulk_create(
        LagPoint(group=group, at=start + timedelta(minutes=n), resolution_seconds=60, ready=9, age_seconds=age)
        for n, age in enumerate([0.0, 90.0, 90.0, 90.0, 90.0, 90.0, 0.0, 0.0, 0.0])
    )
    return group


def test_a_rule_is_tried_on_the_last_week_before_it_is_saved(client: Client) -> None:
    group = lagging(50)
    answer = as_role(client, "admin").post(reverse("alerts:try_rule"), RULE, headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert "Would have fired 1 time</b>" in text and "peak 1 m 30 s" in text
    assert not AlertRule.objects.exists() and not AuditEntry.objects.exists()
    link = re.search(rf'href="(/lag/groups/{group.pk}/[^"]*)"', text)
    assert link is not None
    page = client.get(html.unescape(link[1])).content.decode()
    assert "1 hour until" in page and "No sample in this time" not in page


def test_a_rule_for_blind_sources_is_tried_on_the_times_when_they_were_out_of_sight(client: Client) -> None:
    Source.objects.create(name="shop", system="nats", state="ok")
    began = timezone.now() - timedelta(hours=3)
    BlindSpell.objects.create(
        source="shop",
        system="nats",
        began_at=began,
        seen_at=began + timedelta(minutes=9),
        ended_at=began + timedelta(minutes=9),
    )
    rule = RULE | {"kind": "blind", "pattern": "*"}
    text = as_role(client, "admin").post(reverse("alerts:try_rule"), rule).content.decode()
    assert "Would have fired 1 time</b>" in text and "on 1 source." in text and "peak 9 m" in text


def test_an_existing_rule_is_tried_without_being_changed_and_without_a_script(client: Client) -> None:
    lagging(2)
    rule = make.alert_rule(name="Email late")
    page = as_role(client, "admin").post(reverse("alerts:try_rule"), RULE | {"pk": rule.pk, "age": "80"})
    assert page.status_code == 200 and "Would have fired 1 time</b>" in page.content.decode()
    assert "Edit rule: Email late" in page.content.decode()
    rule.refresh_from_db()
    assert rule.seconds == 15


def test_what_cannot_be_tried_says_why(client: Client) -> None:
    as_role(client, "admin")
    url = reverse("alerts:try_rule")
    assert "Nothing is recorded yet" in client.post(url, RULE).content.decode()
    answer = client.post(url, RULE | {"age": "old"}, headers={"HX-Request": "true"})
    assert "Not tried" in answer.content.decode()
    assert client.post(url, RULE | {"age": "old"}).status_code == 422
    assert as_role(client, "operator").post(url, RULE).status_code == 403


def test_a_tried_rules_hostile_names_are_only_text(client: Client) -> None:
    lagging(1)
    ConsumerGroup.objects.update(name="<script>x</script>")
    text = as_role(client, "admin").post(reverse("alerts:try_rule"), RULE | {"pattern": "*"}).content.decode()
    assert "Would have fired" in text and "<script>x" not in text


def test_a_stopped_groups_page_and_row_tell_of_its_alert_and_its_chart_draws_no_limit_of_that_rule(
    client: Client,
) -> None:
    group = make.consumer_group("email", "emails.requested", seen_at=timezone.now(), status="stopped")
    rule = make.alert_rule(name="Stopped", kind="stopped", seconds=60)
    make.incident(rule, title="email finishes nothing", fired_at=timezone.now())
    page = as_role(client, "viewer").get(f"/lag/groups/{group.pk}/").content.decode()
    assert "email finishes nothing" in page and "1 rule watches it" in page
    (row,) = lag.groups(timezone.now())
    assert [note.title for note in row.firing] == ["email finishes nothing"]
    assert [view.seconds for view in alerts.lag_rules_for("shop/emails.requested/email")] == [None]
