"""Settings → Brokers for admins: a broker added, tried, edited, paused and removed, its password never shown again."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from eventflow.accounts.models import AuditEntry
from eventflow.domain.source_setting import Setting
from eventflow.store.models import ConnectionTest, Source, SourceSetting
from eventflow.store.queries import source_setting as queries
from eventflow.store.record import connection_test, source_setting
from tests import factories as make

pytestmark = pytest.mark.django_db
SHOP = {
    "name": "shop",
    "scheme": "nats",
    "address": "broker.internal:4222",
    "user": "eventflow",
    "password": "hunter2",
    "options": "",
}
EDIT = SHOP | {"editing": "1", "password": "", "keep": "1"}


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(make.user("admin", "ada"))
    return client


def add(**given: str) -> None:
    source_setting.add(Setting(**(SHOP | given)), "ada", make.NOW)


def stored() -> Setting | None:
    return queries.wanted()[0].setting


def test_a_broker_is_added_and_its_password_is_nowhere_but_sealed(admin: Client) -> None:
    assert admin.post(reverse("sources:save"), SHOP).status_code == 302
    assert stored() == Setting("shop", "nats", "broker.internal:4222", "eventflow", "hunter2")
    page = admin.get("/settings/?source=shop").content.decode()
    assert "Not picked up yet" in page and "broker.internal:4222" in page
    assert "hunter2" not in page and "stored, not shown" in page
    assert "hunter2" not in str(list(AuditEntry.objects.values())) + str(list(SourceSetting.objects.values()))
    assert AuditEntry.objects.get().action == "source.add"


def test_what_is_wrong_comes_back_by_field_without_the_password(admin: Client) -> None:
    answer = admin.post(reverse("sources:save"), SHOP | {"address": "nats://x"})
    page = answer.content.decode()
    assert answer.status_code == 422 and "write host and port only" in page
    assert "hunter2" not in page and 'value="eventflow"' in page
    assert not SourceSetting.objects.exists()


@pytest.mark.parametrize("name", ["shop", "Shop", "env"])
def test_two_sources_of_one_name_are_refused(admin: Client, name: str) -> None:
    add()
    Source.objects.create(name="env", system="nats")
    answer = admin.post(reverse("sources:save"), SHOP | {"name": name})
    assert answer.status_code == 422 and "there is a source of this name" in answer.content.decode()


def test_editing_keeps_the_stored_password_or_takes_a_new_one(admin: Client) -> None:
    add()
    admin.post(reverse("sources:save"), EDIT | {"user": "other"})
    assert stored() == Setting("shop", "nats", "broker.internal:4222", "other", "hunter2")
    admin.post(reverse("sources:save"), EDIT | {"password": "swordfish"})
    assert stored() == Setting("shop", "nats", "broker.internal:4222", "eventflow", "swordfish")
    assert AuditEntry.objects.latest("pk").details["changed"] == ["user", "password"]


@pytest.mark.parametrize("change", [{"address": "evil.example:4222"}, {"scheme": "tls+nats"}, {"options": "domain=x"}])
@pytest.mark.parametrize("url", ["sources:save", "sources:try_form"])
def test_the_stored_password_goes_to_no_other_place(admin: Client, url: str, change: dict[str, str]) -> None:
    add()
    answer = admin.post(reverse(url), EDIT | change)
    assert answer.status_code == 422 and "type it again" in answer.content.decode()
    assert stored() == Setting("shop", "nats", "broker.internal:4222", "eventflow", "hunter2")
    assert not ConnectionTest.objects.exists()


def test_a_test_before_saving_is_asked_of_the_worker_and_shown_when_it_is_over(admin: Client) -> None:
    answer = admin.post(reverse("sources:try_form"), SHOP, headers={"HX-Request": "true"})
    row = ConnectionTest.objects.get()
    assert f"/settings/sources/tests/{row.pk}/" in answer.content.decode() and "Trying shop" in answer.content.decode()
    claimed = connection_test.claim(make.NOW)
    assert claimed is not None and claimed[1].password == "hunter2"
    findings = [{"severity": "crit", "text": "NATS at <b> refused the password", "hint": ""}]
    result = {"severity": "crit", "headline": "Not connected", "findings": findings}
    connection_test.finish(row.pk, result, make.NOW)
    page = admin.get(f"/settings/sources/tests/{row.pk}/", headers={"HX-Request": "true"}).content.decode()
    assert "NATS at &lt;b&gt; refused" in page and "hx-trigger" not in page and "hunter2" not in page
    assert "Not connected" in admin.get(f"/settings/sources/tests/{row.pk}/").content.decode()


def test_a_configured_source_is_tried_by_its_name_alone(admin: Client) -> None:
    Source.objects.create(name="env", system="nats", state="ok")
    admin.post(reverse("sources:try_source", args=["env"]))
    claimed = connection_test.claim(make.NOW)
    assert claimed is not None and claimed[1] == Setting("env", "", "")
    assert admin.post(reverse("sources:try_source", args=["nothing"])).status_code == 404


def test_pause_resume_and_remove_change_the_row_and_leave_a_trail(admin: Client) -> None:
    add()
    admin.post(reverse("sources:pause", args=["shop"]), {"paused": "1"})
    assert queries.wanted()[0].paused and "Pausing" in admin.get("/settings/").content.decode()
    admin.post(reverse("sources:pause", args=["shop"]), {"paused": "0"})
    assert "Remove shop?" in admin.get("/settings/?remove=shop").content.decode()
    admin.post(reverse("sources:remove", args=["shop"]))
    assert queries.wanted()[0].removed and "Removing" in admin.get("/settings/").content.decode()
    trail = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert trail == ["source.pause", "source.resume", "source.remove"]
    for url in ("sources:pause", "sources:remove"):
        assert admin.post(reverse(url, args=["shop"])).status_code == 404


def test_a_source_of_the_environment_is_marked_and_cannot_be_changed(admin: Client) -> None:
    Source.objects.create(name="env", system="nats", state="ok")
    page = admin.get("/settings/").content.decode()
    assert "from the environment" in page and "?source=env" not in page
    assert "source-form" not in admin.get("/settings/?source=env").content.decode().split("Add a broker", 1)[1]
    assert admin.post(reverse("sources:remove", args=["env"])).status_code == 404


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("save", []), ("try_form", []), ("try_source", ["shop"]), ("pause", ["shop"]), ("remove", ["shop"])],
)
def test_only_admins_change_or_try_brokers(client: Client, name: str, arguments: list[str]) -> None:
    add()
    client.force_login(make.user("operator"))
    assert client.post(reverse(f"sources:{name}", args=arguments), SHOP).status_code == 403
    page = client.get("/settings/?source=shop").content.decode()
    for words in ("Add a broker", "Test connection", "Remove", "source-form"):
        assert words not in page
    assert not ConnectionTest.objects.exists() and not queries.wanted()[0].removed


def test_hostile_names_are_only_text(admin: Client) -> None:
    Source.objects.create(name="<img src=x>", system="nats", state="blind", message="<script>alert(1)</script>")
    page = admin.get("/settings/").content.decode()
    assert "<img src=x" not in page and "<script>alert" not in page


def test_twenty_brokers_cost_no_more_queries_than_ten(admin: Client) -> None:
    def cost(number: int) -> int:
        SourceSetting.objects.all().delete()
        for each in range(number):
            add(name=f"shop-{each}")
        with CaptureQueriesContext(connection) as captured:
            admin.get("/settings/")
        return len(captured)

    assert cost(20) == cost(10) <= 20


def test_a_password_that_is_typed_wrong_is_not_echoed_by_a_failed_test(admin: Client) -> None:
    answer: Any = admin.post(reverse("sources:try_form"), SHOP | {"address": ""}, headers={"HX-Request": "true"})
    assert "Not tried" in answer.content.decode() and "hunter2" not in answer.content.decode()


def test_the_cost_page_tells_what_was_asked_and_how_much_of_the_budget_that_is(client: Client) -> None:
    client.force_login(make.user("viewer"))
    minute = int(timezone.now().timestamp()) // 60
    costs = [[minute - back, 30, 600, 6_000_000, 3.0] for back in (4, 3, 2, 1)]
    Source.objects.create(
        name="shop", system="nats", state="ok", calls=4000, cycle_seconds=0.1, costs=costs, pause_seconds=10,
    )  # fmt: skip
    Source.objects.create(name="otlp", system="otlp", state="ok", calls=1234567)
    page = client.get(reverse("sources:cost")).content.decode()
    for words in (
        "120 looks",
        "2,400 calls",
        "5.0 %",
        "10.0 %",
        "Slowed down",
        "Over its budget: a look costs 4,000 calls",
    ):
        assert words in page
    assert "1,234,567" not in page


def test_the_cost_page_costs_no_more_queries_for_twenty_brokers_than_for_ten(client: Client) -> None:
    client.force_login(make.user("viewer"))

    def cost(number: int) -> int:
        Source.objects.all().delete()
        for each in range(number):
            Source.objects.create(name=f"shop-{each}", system="nats", state="ok")
        with CaptureQueriesContext(connection) as captured:
            client.get(reverse("sources:cost"))
        return len(captured)

    assert cost(20) == cost(10) <= 14
