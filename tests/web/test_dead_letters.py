"""The dead-letters pages: what they show, to whom, how safely and at what cost."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from eventflow.accounts.models import AuditEntry
from eventflow.domain.observations import DestinationSample
from eventflow.store.models import DeadLetter, Replay
from eventflow.store.record import observations
from tests import factories as make

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make.user("operator", "mira"))
    return client


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make.user("viewer"))
    return client


def test_a_letter_is_listed_under_its_cause(viewer: Client) -> None:
    letter = make.letter()
    html = viewer.get(reverse("dead_letters:page")).content.decode()
    assert "GiftCardBalanceError" in html
    assert "balance lookup for card ‹id› returned HTTP 502" in html
    assert letter.correlation_id[-6:] in html
    assert "1 waiting in 1 destination" in html


def test_letters_that_cannot_arrive_or_stay_are_told_even_when_there_is_none(viewer: Client) -> None:
    now = timezone.now()
    evil = "there is no exchange <b>x</b>"
    observations(
        [
            DestinationSample("shop", "rabbitmq", "orders", "queue", now, letters_lost=evil),
            DestinationSample(
                "shop", "nats", "DLQ", "stream", now, messages=9, kept_messages=10, dead_letters_of=("payment",)
            ),
        ],
        now,
    )
    html = viewer.get(reverse("dead_letters:page")).content.decode()
    assert "No dead letters" in html
    assert "Letters of <code>orders</code> can&#x27;t arrive" in html.replace("can't", "can&#x27;t")
    assert "there is no exchange &lt;b&gt;x&lt;/b&gt;" in html
    assert "are near their end: 9 of at most 10 are kept" in html
    observations([DestinationSample("shop", "rabbitmq", "orders", "queue", timezone.now())], now)
    assert "Letters of" not in viewer.get(reverse("dead_letters:page")).content.decode()


def test_the_page_of_one_letter_shows_payload_headers_and_stack(viewer: Client) -> None:
    letter = make.letter()
    html = viewer.get(reverse("dead_letters:letter", args=[letter.pk])).content.decode()
    assert '<span class="jk">&quot;order_id&quot;</span>' in html or '<span class="jk">"order_id"</span>' in html
    assert "x-exception-type" in html
    assert '<span class="at">/srv/app/payments/giftcards.py:88 in balance</span>' in html
    assert "… 1 library frame" in html
    assert "header x-exception-type" in html


def test_nothing_from_outside_becomes_markup(viewer: Client) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    letter = make.letter(
        correlation_id=evil,
        error_message=evil,
        error_type=evil,
        stack=f'Traceback (most recent call last):\n  File "{evil}", line 1, in {evil}\n{evil}: {evil}',
        service=evil,
        group=evil,
        destination=evil,
        location=evil,
        event_type=evil,
        payload=b'{"<script>alert(1)</script>": "</script><script>alert(3)</script>"}',
        headers=((evil, evil),),
        evidence={evil: evil},
    )
    for url in (
        reverse("dead_letters:page"),
        reverse("dead_letters:letter", args=[letter.pk]),
        reverse("dead_letters:page") + "?q=%3Cscript%3Ealert(1)",
    ):
        html = viewer.get(url).content.decode()
        assert "<script>alert" not in html
        assert "<img src=x" not in html


def test_secrets_in_headers_and_payload_are_not_shown(viewer: Client) -> None:
    letter = make.letter(
        headers=(("Authorization", "Bearer s3cr3t-value"), ("x-api-key", "k-12345"), ("ce-id", "e1")),
        payload=b'{"password": "hunter2", "card": "4111 1111 1111 1111", "card_token": "tok_9fQ", "order": "SO-1"}',
        error_message="login with password=hunter2 failed at amqp://me:hunter2@broker/",
    )
    html = viewer.get(reverse("dead_letters:letter", args=[letter.pk])).content.decode()
    for secret in ("s3cr3t-value", "k-12345", "hunter2", "4111 1111", "tok_9fQ"):
        assert secret not in html
    assert "SO-1" in html
    letter.refresh_from_db()
    assert b"hunter2" in bytes(letter.payload)


def test_a_viewer_is_told_which_role_replay_needs(viewer: Client) -> None:
    letter = make.letter()
    assert "need the role operator" in viewer.get(reverse("dead_letters:page")).content.decode()
    for answer in (
        viewer.get(reverse("dead_letters:replay_dialog") + f"?letter={letter.pk}"),
        viewer.post(reverse("replays:create"), {"letters": str(letter.pk)}),
        viewer.get(reverse("dead_letters:archive_dialog") + f"?letter={letter.pk}"),
        viewer.post(reverse("dead_letters:archive"), {"letters": str(letter.pk)}),
        viewer.post(reverse("dead_letters:restore"), {"letters": str(letter.pk)}),
    ):
        assert answer.status_code == 403
        assert "operator" in answer.content.decode()
    assert not Replay.objects.exists()
    assert DeadLetter.objects.get().status == "open"


def test_somebody_who_is_not_logged_in_sees_nothing(client: Client) -> None:
    letter = make.letter()
    for name, args in (("dead_letters:page", []), ("dead_letters:letter", [letter.pk]), ("replays:page", [])):
        assert client.get(reverse(name, args=args)).status_code == 302


def test_a_replay_without_the_csrf_token_is_refused() -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make.user("operator"))
    letter = make.letter()
    assert strict.post(reverse("replays:create"), {"letters": str(letter.pk)}).status_code == 403
    assert not Replay.objects.exists()


def test_the_dialog_says_who_else_receives_it(operator: Client) -> None:
    letter = make.letter()
    make.consumer_group("payment")
    make.consumer_group("inventory")
    make.consumer_group("audit-orders", "orders.>", subscriptions=["orders.>"])
    make.consumer_group("shipping", "payments.captured")
    html = operator.get(reverse("dead_letters:replay_dialog") + f"?letter={letter.pk}", headers=HTMX).content.decode()
    assert "<html" not in html
    assert "1 × 3 = 3 deliveries" in html
    assert "audit-orders, inventory" in html
    assert "shipping" not in html


def test_the_dialog_works_as_a_page_without_scripts(operator: Client) -> None:
    letter = make.letter()
    html = operator.get(reverse("dead_letters:replay_dialog") + f"?letter={letter.pk}").content.decode()
    assert "<html" in html
    assert 'name="csrfmiddlewaretoken"' in html


def test_the_dialog_says_what_it_leaves_out_and_why(operator: Client) -> None:
    fine, gone = make.letter(), make.letter(payload=None, payload_note="the stream has dropped it")
    html = operator.get(
        reverse("dead_letters:replay_dialog") + f"?letter={fine.pk}&letter={gone.pk}", headers=HTMX
    ).content.decode()
    assert "Replay 1 dead letter" in html
    assert "1 left out." in html
    assert "the stream has dropped it" in html


def test_one_click_queues_a_replay_with_who_when_and_why(
    operator: Client, django_capture_on_commit_callbacks: Any
) -> None:
    letter = make.letter()
    answer = operator.post(
        reverse("replays:create"), {"letters": str(letter.pk), "reason": "PAY-3121 is fixed"}, headers=HTMX
    )
    assert answer.status_code == 200
    assert "ef:toast" in answer.headers["HX-Trigger"]
    replay = Replay.objects.get()
    assert (replay.created_by_name, replay.reason) == ("mira", "PAY-3121 is fixed")
    assert replay.items.get().state == "queued"
    entry = AuditEntry.objects.get(action="replay started")
    assert (entry.actor, entry.reason, entry.details["letters"]) == ("mira", "PAY-3121 is fixed", [letter.pk])
    assert DeadLetter.objects.get().status == "replaying"


def test_a_second_click_does_not_queue_a_second_replay(operator: Client) -> None:
    letter = make.letter()
    for _ in range(2):
        answer = operator.post(reverse("replays:create"), {"letters": str(letter.pk)}, headers=HTMX)
    assert "None of these can be replayed any more" in answer.content.decode()
    assert Replay.objects.count() == 1


def test_over_a_hundred_asks_for_the_number(operator: Client) -> None:
    pks = ",".join(str(make.letter().pk) for _ in range(101))
    url = reverse("replays:create")
    refused = operator.post(url, {"letters": pks, "confirm": "100"}, headers=HTMX)
    assert "Type 101 to confirm" in refused.content.decode()
    assert not Replay.objects.exists()
    operator.post(url, {"letters": pks, "confirm": "101", "rate": "50"}, headers=HTMX)
    replay = Replay.objects.get()
    assert (replay.items.count(), replay.rate_per_second) == (101, 50)


def test_archiving_keeps_the_reason_and_the_name(operator: Client) -> None:
    letter = make.letter()
    answer = operator.post(
        reverse("dead_letters:archive"), {"letters": str(letter.pk), "reason": "test order"}, headers=HTMX
    )
    assert answer.status_code == 204
    letter.refresh_from_db()
    assert (letter.status, letter.status_reason) == ("archived", "test order")
    assert AuditEntry.objects.get().reason == "test order"
    operator.post(reverse("dead_letters:restore"), {"letters": str(letter.pk)}, headers=HTMX)
    letter.refresh_from_db()
    assert letter.status == "open"


@pytest.mark.parametrize(
    "word", ["01JD3W8Q5Z7N4K2M9R6T0X", "GiftCard", "evt-", "payment-service", "x-original-subject"]
)
def test_the_search_finds_ids_errors_and_headers(viewer: Client, word: str) -> None:
    make.letter()
    make.letter(
        correlation_id="other", message_id="m1", error_type="A", error_message="b", service="c", stack="", headers=()
    )
    html = viewer.get(reverse("dead_letters:page"), {"q": word}).content.decode()
    assert "GiftCardBalanceError" in html
    assert 'title="other"' not in html


def test_the_next_page_goes_on_where_this_one_ends(viewer: Client) -> None:
    made = [make.letter() for _ in range(60)]
    seen: set[int] = set()
    url = reverse("dead_letters:page")
    for _ in range(2):
        response = viewer.get(url)
        seen |= {each.pk for each in response.context["page"].letters}
        url = response.context["next_url"]
    assert seen == {each.pk for each in made}
    assert url == ""


@pytest.mark.parametrize("name", ["dead_letters:page", "replays:page"])
def test_more_rows_cost_no_more_queries(viewer: Client, name: str) -> None:
    costs = []
    for _ in range(2):
        for number in range(10):
            make.replay_of(make.letter(group=f"g{number}"))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            viewer.get(reverse(name))
        costs.append(len(queries))
    assert costs[1] == costs[0]
    assert costs[0] < 31


def test_a_replay_page_says_who_when_why_and_how_we_know(viewer: Client) -> None:
    replay = make.replay_of(make.letter(), make.letter())
    item = replay.items.first()
    assert item is not None
    html = viewer.get(reverse("replays:replay", args=[replay.pk])).content.decode()
    assert "ops-lead" in html
    assert "gift card provider recovered" in html
    assert "Cancel rest" not in html
    assert viewer.get(reverse("replays:progress", args=[replay.pk])).status_code == 200


def test_an_operator_cancels_what_was_not_sent(operator: Client) -> None:
    replay = make.replay_of(make.letter(), make.letter())
    assert "Cancel rest" in operator.get(reverse("replays:replay", args=[replay.pk])).content.decode()
    operator.post(reverse("replays:cancel", args=[replay.pk]))
    replay.refresh_from_db()
    assert (replay.state, replay.note) == ("cancelled", "Cancelled by mira")
    assert DeadLetter.objects.filter(status="open").count() == 2
    assert AuditEntry.objects.filter(action="replay cancelled").exists()


def test_pause_holds_and_resume_goes_on(operator: Client) -> None:
    replay = make.replay_of(make.letter())
    for paused, state in (("1", "paused"), ("0", "running")):
        operator.post(reverse("replays:pause", args=[replay.pk]), {"paused": paused})
        replay.refresh_from_db()
        assert replay.state == state
