"""The frame around every page: its counts, their cost, the palette, and that hostile names stay text."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from eventflow.store.queries import shell
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make.user("viewer"))
    return client


def badge(page: str, label: str) -> str:
    """The count beside a page's name in the rail, empty without one."""
    found = re.search(rf"<span>{label}</span>(?:<span class=\"count[^>]*>([^<]*))?", page)
    assert found, f"{label} is not in the rail"
    return found.group(1) or ""


def test_the_rail_counts_what_waits_for_somebody(viewer: Client) -> None:
    now = timezone.now()
    make.consumer_group("payment", seen_at=now, status="stalled")
    make.consumer_group("email", "emails.requested", seen_at=now, status="ok")
    make.letter(captured_at=now)
    make.letter(status="archived")
    make.incident(make.alert_rule())
    page = viewer.get(reverse("overview:rail")).content.decode()
    assert [badge(page, label) for label in ("Lag", "Dead letters", "Replays", "Alerts")] == ["1", "1", "", "1"]


def test_the_counts_cost_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        shell.counts()


def test_dead_letters_are_red_only_while_new_ones_arrive() -> None:
    make.letter(captured_at=make.NOW)
    assert not shell.counts().letters_arriving
    make.letter(captured_at=timezone.now())
    assert shell.counts().letters_arriving


def test_the_rail_names_the_page_it_stands_on(viewer: Client) -> None:
    page = viewer.get(reverse("overview:rail") + "?page=topology").content.decode()
    assert re.search(r'href="/topology/" aria-current="page"', page)
    hostile = viewer.get(reverse("overview:rail") + '?page="><script>').content.decode()
    assert "<script>" not in hostile


def test_every_page_has_the_keys_the_palette_and_no_inline_script(viewer: Client) -> None:
    page = viewer.get("/topology/").content.decode()
    assert 'id="help"' in page and "<ef-palette" in page and 'id="toasts"' in page
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\son[a-z]+=", page)


def test_the_palette_finds_groups_by_a_part_of_their_name(viewer: Client) -> None:
    make.consumer_group("payment", seen_at=timezone.now(), ready=70, service="payment-service")
    found = viewer.get(reverse("search:palette") + "?q=paym").json()
    assert [(item["group"], item["title"]) for item in found["items"]] == [("Consumer groups", "payment")]
    assert found["items"][0]["sub"] == "70 behind, payment-service"
    assert viewer.get(found["items"][0]["url"]).status_code == 200


def test_an_id_in_full_opens_its_flow_and_a_part_only_suggests_it(viewer: Client) -> None:
    letter = make.letter()
    key = letter.correlation_id
    whole = viewer.get(reverse("search:palette"), {"q": key}).json()
    assert whole["flow"] == reverse("flows:page", args=[key])
    part = viewer.get(reverse("search:palette"), {"q": key[:-2]}).json()
    assert part["flow"] == "" and key in [item["title"] for item in part["items"]]


def test_the_palette_answers_an_empty_and_an_absurd_question(viewer: Client) -> None:
    assert viewer.get(reverse("search:palette")).json() == {"flow": "", "items": []}
    assert viewer.get(reverse("search:palette"), {"q": "x" * 5000}).json() == {"flow": "", "items": []}


def test_the_palette_is_for_people_who_are_logged_in(client: Client) -> None:
    assert client.get(reverse("search:palette") + "?q=payment").status_code == 302
