"""The overview as people get it, and what it says before anything has arrived."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from eventflow.web.figures import split
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make.user("viewer"))
    return client


def part(client: Client, name: str) -> str:
    answer = client.get(reverse("overview:part", args=[name]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_empty_instance_says_where_it_listens_and_how_to_begin(viewer: Client, settings: object) -> None:
    page = viewer.get("/").content.decode()
    assert "Nothing has arrived yet" in page
    assert f"http://{settings.EVENTFLOW_OTLP_HTTP}/v1/traces" in page  # type: ignore[attr-defined]  # Django's settings
    assert "EVENTFLOW_SOURCES=" in page and "data-arrived" not in page


def test_the_page_that_waits_learns_that_something_arrived(viewer: Client) -> None:
    make.consumer_group("payment", seen_at=timezone.now())
    assert "data-arrived" in viewer.get(reverse("overview:start")).content.decode()
    assert "Key figures" in viewer.get("/").content.decode()


def test_the_figures_name_the_oldest_the_letters_and_the_alert(viewer: Client) -> None:
    now = timezone.now()
    falling = {"status": "slow", "trend": 1, "in_rate": 12.0, "out_rate": 2.0}
    make.consumer_group("payment", seen_at=now, ready=1200, in_flight=4, age=332, **falling)
    make.letter(captured_at=now)
    make.incident(make.alert_rule(), title="payment is late", severity="critical", fired_at=now)
    page = part(viewer, "figures")
    assert "1,204" in page and "growing by 10 messages/s" in page
    assert "5<small>m</small> 32<small>s</small>" in page and "payment on orders.placed" in page
    assert "1 in the last 10 min" in page
    assert "payment is late" in page and "1 critical" in page


def test_groups_stand_worst_first(viewer: Client) -> None:
    now = timezone.now()
    make.consumer_group("calm", seen_at=now, ready=9000, age=1)
    make.consumer_group("stuck", seen_at=now, ready=5, age=400, status="stalled")
    page = part(viewer, "groups")
    assert page.index(">stuck<") < page.index(">calm<")


def test_failed_flows_link_to_their_page(viewer: Client) -> None:
    letter = make.letter()
    page = part(viewer, "failed")
    assert reverse("flows:page", args=[letter.correlation_id]) in page and "Dead-lettered at payment-service" in page


def test_the_feed_tells_alerts_replays_and_new_causes_newest_first(viewer: Client) -> None:
    now = timezone.now()
    letter = make.letter(failed_at=now - timedelta(minutes=9), captured_at=now - timedelta(minutes=9))
    make.incident(make.alert_rule(), title="email is late", fired_at=now)
    page = part(viewer, "activity")
    assert page.index("email is late") < page.index("GiftCardBalanceError")
    replay = make.replay_of(letter)
    replay.created_at = now
    replay.save(update_fields=["created_at"])
    assert "1 message, 0 done" in part(viewer, "activity")


def test_hostile_names_are_only_text(viewer: Client) -> None:
    now = timezone.now()
    name = "<script>alert(1)</script>"
    make.consumer_group(name, name, seen_at=now, ready=5, age=400, service=name)
    make.letter(captured_at=now, service=name, error_type=name, correlation_id=name)
    make.incident(make.alert_rule(name=name), title=name, fired_at=now)
    page = viewer.get("/").content.decode()
    assert "Key figures" in page and "<script>alert" not in page


def test_a_part_that_does_not_exist_is_not_found(viewer: Client) -> None:
    assert viewer.get("/overview/secrets/").status_code == 404


def test_the_page_costs_the_same_however_much_there_is(
    viewer: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    now = timezone.now()
    for number in range(20):
        make.consumer_group(f"group-{number}", seen_at=now, ready=number)
        make.letter(captured_at=now)
    with django_assert_max_num_queries(45):
        viewer.get("/")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("5 m 32 s", (("5", "m"), ("32", "s"))),
        ("1,057/s", (("1,057", "/s"),)),
        ("18 per min", (("18", "per min"),)),
        ("0.62 %", (("0.62", "%"),)),
        ("–", (("–", ""),)),
    ],
)
def test_a_figure_is_split_into_digits_and_units(text: str, parts: tuple[tuple[str, str], ...]) -> None:
    assert split(text) == parts
