"""The lag pages as people get them."""

import pytest
from django.test import Client
from django.utils import timezone

from eventflow.store.record import observations
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(make.user("viewer"))
    return client


def test_a_recorded_sample_stands_in_the_table_in_messages_and_seconds(viewer: Client) -> None:
    now = timezone.now()
    observations([make.lag_sample("email", now, ready=1204, age=332)], now)
    page = viewer.get("/lag/").content.decode()
    assert "email" in page and "1,204" in page and "5 m 32 s" in page and "told by the broker" in page


def test_unknown_lag_is_a_dash_with_its_reason_never_a_zero(viewer: Client) -> None:
    now = timezone.now()
    observations([make.lag_sample("email", now, ready=None, unknown_reason="not permitted to look")], now)
    page = viewer.get("/lag/").content.decode()
    assert "Unknown" in page and "not permitted to look" in page


def test_hostile_group_names_are_only_text(viewer: Client) -> None:
    now = timezone.now()
    observations([make.lag_sample("<script>alert(1)</script>", now, ready=1)], now)
    for url in ("/lag/", "/lag/table/"):
        page = viewer.get(url).content.decode()
        assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_the_table_filters_and_sorts_by_its_address(viewer: Client) -> None:
    now = timezone.now()
    make.consumer_group("email", "emails.requested", seen_at=now, ready=5, age=1)
    make.consumer_group("payment", seen_at=now, ready=9, age=400, status="stopped")
    assert "payment" not in viewer.get("/lag/table/?q=emails.requested").content.decode()
    behind = viewer.get("/lag/table/?status=behind").content.decode()
    assert "payment" in behind and "emails.requested" not in behind
    page = viewer.get("/lag/table/?sort=group").content.decode()
    assert page.index(">email<") < page.index(">payment<") and 'aria-sort="ascending"' in page
    page = viewer.get("/lag/table/?sort=-lag").content.decode()
    assert page.index(">payment<") < page.index(">email<")
