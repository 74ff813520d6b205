"""Telling channels: real webhook and mail receivers get each piece of news once."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_string, policy

import pytest
from django.utils import timezone

from eventflow.domain import notification as words
from eventflow.domain.alert import Event
from eventflow.store.models import Incident, NotificationChannel, Silence
from eventflow.store.record import alert, alert_settings, lag, notification, observations
from eventflow.worker import notify_send
from eventflow.worker.tasks import notify
from tests import factories as make
from tests.sinks import MailSink, WebhookSink, serving

pytestmark = pytest.mark.django_db


@pytest.fixture
def hook() -> Iterator[WebhookSink]:
    sink = WebhookSink()
    with serving(sink):
        yield sink


def channel(url: str, kind: str = "webhook", name: str = "hook") -> NotificationChannel:
    return NotificationChannel.objects.create(name=name, kind=kind, url=url)


def firing(**given: object) -> Incident:
    return make.incident(make.alert_rule(name="Email late"), **given)


def resolve(row: Incident) -> None:
    Incident.objects.filter(pk=row.pk).update(state="resolved", resolved_at=timezone.now())


def events(hook: WebhookSink) -> list[str]:
    return [json.loads(content)["event"] for _, content in hook.got]


def test_a_webhook_receives_firing_and_resolved_exactly_once(hook: WebhookSink) -> None:
    target = channel(hook.url)
    make.alert_rule(name="Email late", for_seconds=0, recover_seconds=0)
    start = timezone.now()
    for step, age in enumerate([20, 30, 40, 1, 1]):
        at = start + timedelta(seconds=3 * step)
        observations([make.lag_sample(at=at, ready=5, age=age)], at)
        alert.evaluate(at)
        notify.deliver()
        notify.deliver()
    assert events(hook) == ["firing", "resolved"]
    first, last = (json.loads(content) for _, content in hook.got)
    assert first["key"] == last["key"] and last["incident"]["peak"] == 40
    assert first["incident"]["subject"] == "shop/emails.requested/email"
    for headers, content in hook.got:
        stamp = int(headers["Eventflow-Timestamp"])
        secret = notification.signing_secret(target.pk)
        assert headers["Eventflow-Signature"] == words.signature(secret, stamp, content)
        assert headers["path"] == "/hook?team=payments"


def test_a_restart_amid_an_incident_goes_on_under_the_same_key_and_tells_of_its_end_once(
    hook: WebhookSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§9.6, test 9. After a restart the database is all that is known."""
    channel(hook.url)
    make.alert_rule(name="Email late", for_seconds=0, recover_seconds=0)
    start = timezone.now()
    for step, age in enumerate([20, 30, 40, 1, 1]):
        monkeypatch.setattr(lag, "_memories", {})
        at = start + timedelta(seconds=3 * step)
        observations([make.lag_sample(at=at, ready=5, age=age)], at)
        alert.evaluate(at)
        notify.deliver()
    assert events(hook) == ["firing", "resolved"]
    first, last = (json.loads(content) for _, content in hook.got)
    assert first["key"] == last["key"] and last["incident"]["peak"] == 40
    assert Incident.objects.count() == 1


def test_chain_a_b_c_with_b_stopped_sends_one_message(hook: WebhookSink) -> None:
    """§9.6, test 8, up to the receiver: b stopped, a is jammed before it, c waits behind it for what does not come."""
    channel(hook.url)
    alert_settings.ensure_default_rules()
    now = timezone.now()
    spans = (("publish", "a", "t1"), ("consume", "b", "t1"), ("publish", "b", "t2"), ("consume", "c", "t2"))
    for number, (kind, service, place) in enumerate(spans):
        make.edge(number, kind, service, place, at=now)
    for name, place, status, quiet in (
        ("a", "t0", "stalled", 70),
        ("b", "t1", "stopped", 100),
        ("c", "t2", "stalled", 90),
    ):
        values = {"status": status, "service": name, "progress_at": now - timedelta(seconds=quiet)}
        make.consumer_group(name, place, age=90, ready=9, seen_at=now, **values)
    for second in (0, 11, 12, 14):
        alert.evaluate(now + timedelta(seconds=second))
        notify.deliver()
    assert [json.loads(content)["incident"]["title"] for _, content in hook.got] == ["b finishes nothing"]
    assert Incident.objects.filter(state="pending", follows_from__title="b finishes nothing").count() == 2


def test_mail_receives_firing_and_resolved_through_apprise() -> None:
    sink = MailSink()
    with serving(sink):
        url = f"mailto://127.0.0.1:{sink.port}?from=eventflow@shop.example&to=ops@shop.example&mode=insecure"
        channel(url, "apprise", "mail")
        row = firing()
        notify.deliver()
        resolve(row)
        notify.deliver()
        notify.deliver()
    assert NotificationChannel.objects.get().last_error == ""
    mails = [message_from_string(text, policy=policy.default) for text in sink.got]
    assert [mail["Subject"] for mail in mails] == [
        "Critical: email is 27 s behind",
        "Resolved: email is 27 s behind",
    ]
    assert "lasted" in mails[1].as_string() and f"incident-{row.pk}" in mails[1].as_string()


def test_a_failing_webhook_is_tried_again_after_a_pause_and_not_before(hook: WebhookSink) -> None:
    hook.statuses = [503, 200]
    channel(hook.url)
    row = firing()
    notify.deliver()
    notify.deliver()
    assert len(hook.got) == 1
    assert NotificationChannel.objects.get().last_error == "127.0.0.1 answered HTTP 503"
    later = timezone.now() + timedelta(seconds=words.PAUSES[0] + 1)
    for delivery in notification.claim(later):
        notify_send.send(delivery.channel, delivery.message, later)
        notification.delivered(delivery, later)
    assert events(hook) == ["firing", "firing"] and NotificationChannel.objects.get().last_error == ""
    assert "tries" not in Incident.objects.get(pk=row.pk).notified[str(NotificationChannel.objects.get().pk)]


def test_after_the_last_pause_it_is_given_up() -> None:
    channel("http://127.0.0.1:9/")
    firing()
    now = timezone.now()
    for _ in range(len(words.PAUSES) + 1):
        (delivery,) = notification.claim(now)
        notification.failed(delivery, "no answer", now)
        now += timedelta(hours=1)
    assert notification.claim(now + timedelta(days=1)) == []


def test_two_workers_at_once_claim_a_message_once(hook: WebhookSink) -> None:
    channel(hook.url)
    firing()
    now = timezone.now()
    assert len(notification.claim(now)) == 1
    assert notification.claim(now) == []
    assert len(notification.claim(now + timedelta(seconds=notification.LEASE_SECONDS + 1))) == 1


def test_a_silence_holds_messages_back_and_its_end_lets_them_go(hook: WebhookSink) -> None:
    channel(hook.url)
    firing()
    now = timezone.now()
    silence = Silence.objects.create(
        pattern="email", created_by_name="ops", created_at=now, until=now + timedelta(hours=1)
    )
    notify.deliver()
    assert hook.got == []
    silence.delete()
    notify.deliver()
    assert events(hook) == ["firing"]


def test_who_was_not_told_that_it_fires_is_not_told_that_it_ended(hook: WebhookSink) -> None:
    row = firing()
    resolve(row)
    channel(hook.url)
    notify.deliver()
    assert hook.got == []


def test_a_rule_with_channels_tells_those_only(hook: WebhookSink) -> None:
    channel(hook.url.replace("hook", "other"), name="other")
    row = firing()
    row.rule.channels.add(channel(hook.url))
    notify.deliver()
    assert [headers["path"] for headers, _ in hook.got] == ["/hook?team=payments"]


def test_a_redirect_is_not_followed(hook: WebhookSink) -> None:
    hook.statuses = [302, 204]
    channel(hook.url)
    firing()
    notify.deliver()
    assert len(hook.got) == 1
    assert NotificationChannel.objects.get().last_error == "127.0.0.1 answered HTTP 302"


def test_private_addresses_need_the_setting(hook: WebhookSink, settings: object) -> None:
    settings.EVENTFLOW_WEBHOOK_PRIVATE = False  # type: ignore[attr-defined]  # pytest-django's settings fixture
    channel(hook.url)
    firing()
    notify.deliver()
    assert hook.got == [] and "EVENTFLOW_WEBHOOK_PRIVATE=1" in NotificationChannel.objects.get().last_error


@pytest.mark.parametrize(
    ("address", "private", "refused"),
    [
        ("93.184.215.14", False, False),
        ("10.0.0.7", True, False),
        ("10.0.0.7", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("100.64.0.1", False, True),
        ("169.254.169.254", True, True),
        ("169.254.1.1", True, True),
        ("fe80::1", True, True),
        ("fd00:ec2::254", True, True),
        ("::ffff:169.254.169.254", True, True),
        ("64:ff9b::a9fe:a9fe", True, True),
        ("0.0.0.0", True, True),  # noqa: S104  # refused, not listened on
        ("224.0.0.1", True, True),
    ],
)
def test_where_our_news_may_go(address: str, private: bool, refused: bool) -> None:
    assert bool(words.refusal(address, private_allowed=private)) is refused


def test_a_test_message_goes_out_and_the_channel_tells_how_it_went(hook: WebhookSink) -> None:
    target = channel(hook.url)
    notify.test_channel(target.pk)
    assert json.loads(hook.got[0][1])["incident"]["title"] == "Test from Eventflow"
    hook.statuses = [401]
    notify.test_channel(target.pk)
    target.refresh_from_db()
    assert target.last_error == "127.0.0.1 answered HTTP 401" and target.last_sent_at is not None


def test_no_error_and_no_log_holds_a_channels_address(caplog: pytest.LogCaptureFixture) -> None:
    channel("http://user:hunter2@127.0.0.1:9/s3cret")
    channel("mailto://user:hunter2@127.0.0.1:9/s3cret", "apprise", "mail")
    firing()
    notify.deliver()
    told = caplog.text + str(list(NotificationChannel.objects.values_list("last_error", flat=True)))
    assert "hunter2" not in told and "s3cret" not in told
    assert "hunter2" not in repr(notification.claim(timezone.now() + timedelta(hours=1)))


def test_the_headline_names_severity_or_the_end() -> None:
    (delivery,) = _one_claim()
    assert delivery.message.headline == "Critical: email is 27 s behind" and delivery.message.event == Event.FIRING


def _one_claim() -> list[notification.Delivery]:
    channel("http://127.0.0.1:9/")
    firing()
    return notification.claim(timezone.now())


def test_a_channel_that_does_not_answer_keeps_no_other_waiting(hook: WebhookSink) -> None:
    told, in_time = threading.Event(), list[bool]()
    with serving(other := WebhookSink()):
        other.before_answering = told.set
        hook.before_answering = lambda: in_time.append(told.wait(5))
        channel(hook.url, name="hangs until the other was told")
        channel(other.url, name="other")
        firing()
        notify.deliver()
    assert in_time == [True] and events(hook) == events(other) == ["firing"]
    assert set(NotificationChannel.objects.values_list("last_error", flat=True)) == {""}


def test_a_round_claims_no_more_than_it_can_send_before_its_claims_end() -> None:
    channel("http://127.0.0.1:9/")
    rule = make.alert_rule(name="Email late")
    for number in range(20):
        make.incident(rule, subject=f"shop/queue/{number}")
    now = timezone.now()
    assert [len(notification.claim(now, 16)) for _ in range(3)] == [16, 4, 0]


def test_a_channel_that_fails_as_nobody_expected_lets_those_told_beside_it_be_noted() -> None:
    target = channel("http://127.0.0.1:9/")
    firing()
    (delivery,) = notification.claim(timezone.now())
    unreadable = notification.Channel(target.pk, "odd", "webhook", 7, "")  # type: ignore[arg-type]  # no URL at all
    assert notify._sent(notification.Delivery(unreadable, delivery.message)).startswith("unexpected ")
