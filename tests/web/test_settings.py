"""The settings pages: what is connected, for everybody; people and tokens for admins; the trail for operators."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from eventflow.accounts import audit, people, roles, tokens
from eventflow.store.models import ConsumerGroup, LibraryCount, Source

pytestmark = pytest.mark.django_db


def logged_in(role: str) -> Client:
    client = Client()
    client.force_login(people.set_role(f"a-{role}", role, timezone.now())[0])
    return client


def make_source(name: str, **fields: Any) -> None:
    Source.objects.create(name=name, system="nats", state="ok", **fields)
    ConsumerGroup.objects.create(
        source=name, system="nats", destination="orders.placed", name="email", seen_at=timezone.now()
    )


def test_a_source_is_shown_with_its_rights_and_its_cost() -> None:
    make_source("shop", rights={"read messages": "denied"}, calls=12, cycle_seconds=0.009)
    page = logged_in(roles.VIEWER).get("/settings/").content.decode()
    assert "Connected, 1 permission missing" in page
    assert "12 calls" in page
    assert "9 ms" in page


def test_without_sources_the_page_says_how_to_name_one() -> None:
    assert "EVENTFLOW_SOURCES=" in logged_in(roles.VIEWER).get("/settings/").content.decode()


def test_more_sources_cost_no_more_queries(django_assert_max_num_queries: Any) -> None:
    client = logged_in(roles.VIEWER)
    for number in range(20):
        make_source(f"source-{number}")
    with django_assert_max_num_queries(14):
        client.get("/settings/")


def test_tokens_are_listed_by_name_and_never_by_value() -> None:
    secret = tokens.create("ci", roles.OPERATOR, timezone.now())
    page = logged_in(roles.ADMIN).get("/settings/people/").content.decode()
    assert "ci" in page
    assert secret not in page


def test_people_are_for_admins_and_the_refusal_names_the_role() -> None:
    response = logged_in(roles.OPERATOR).get("/settings/people/")
    assert response.status_code == 403
    assert "needs the role admin" in response.content.decode()


def test_the_audit_trail_escapes_what_it_shows() -> None:
    audit.record("olga", "replay", target="<script>alert(1)</script>", now=timezone.now())
    page = logged_in(roles.OPERATOR).get("/settings/audit/").content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page


@pytest.mark.parametrize("path", ["/settings/", "/settings/people/", "/settings/audit/", "/"])
def test_strangers_are_sent_to_the_login_page(path: str, client: Client) -> None:
    assert client.get(path).url.startswith("/account/login/")


def test_the_instrumentation_page_says_what_a_library_leaves_out_and_escapes_its_name() -> None:
    LibraryCount.objects.create(
        service="billing",
        scope="<b>kafka</b>",
        dialect="1.16 or older",
        spans=10,
        consuming=4,
        no_destination=0,
        no_group=4,
        no_message_id=0,
        no_correlation_id=0,
        last_ns=1,
    )
    noticed = {"a span ends before it starts": 3, "spans": 9}
    Source.objects.create(name="otlp", system="otlp", state="ok", ok_at=timezone.now(), counters=noticed)
    page = logged_in(roles.VIEWER).get("/settings/instrumentation/").content.decode()
    assert "&lt;b&gt;kafka&lt;/b&gt; sends no consumer group: Eventflow shows the service&#x27;s name instead." in page
    assert "<b>kafka" not in page
    assert "a span ends before it starts" in page
    assert ">spans<" not in page


def test_without_messages_the_instrumentation_page_says_so() -> None:
    assert "No message span yet" in logged_in(roles.VIEWER).get("/settings/instrumentation/").content.decode()


def test_receivers_are_no_brokers_and_a_stopped_one_says_why() -> None:
    Source.objects.create(name="zipkin", system="zipkin", state="stopped", message="port 9411 is taken")
    page = logged_in(roles.VIEWER).get("/settings/").content.decode()
    assert "port 9411 is taken" in page
    assert "0 configured" in page
