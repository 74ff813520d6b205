"""The REST API: tokens and roles, problem documents, cursors, a valid OpenAPI document."""

from typing import Any

import orjson
import pytest
from django.test import Client
from django.utils import timezone
from openapi_spec_validator import validate

from eventflow.accounts import people, roles, tokens
from eventflow.store.models import ConsumerGroup
from tests.flow_factory import publish
from tests.store.support import digest, send

pytestmark = pytest.mark.django_db


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.create(f'test-{role}', role, timezone.now())}"}


def groups(number: int) -> None:
    now = timezone.now()
    ConsumerGroup.objects.bulk_create(
        ConsumerGroup(
            source="shop", system="nats", destination=f"orders.{index:02}", name="email", ready=index, seen_at=now
        )
        for index in range(number)
    )


def test_the_openapi_document_is_valid_and_open_to_who_may_look(client: Client) -> None:
    response = client.get("/api/v1/openapi.json", headers=bearer(roles.VIEWER))
    document = orjson.loads(response.content)
    validate(document)
    assert {"/api/v1/topology", "/api/v1/flows", "/api/v1/lag", "/api/v1/dead-letters", "/api/v1/alerts"} <= set(
        document["paths"]
    )


def test_without_a_token_the_answer_is_a_problem_that_says_how_to_get_one(client: Client) -> None:
    response = client.get("/api/v1/lag")
    assert (response.status_code, response["Content-Type"]) == (401, "application/problem+json")
    assert "manage.py token create" in orjson.loads(response.content)["detail"]


def test_a_wrong_token_opens_nothing(client: Client) -> None:
    assert client.get("/api/v1/lag", headers={"Authorization": "Bearer ef_guess"}).status_code == 401


def test_lists_page_by_cursor_and_every_row_comes_once(client: Client) -> None:
    groups(5)
    headers, seen, cursor = bearer(roles.VIEWER), [], ""
    while True:
        page = client.get("/api/v1/lag", {"limit": 2, "cursor": cursor}, headers=headers).json()
        seen += [row["destination"] for row in page["items"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert sorted(seen) == [f"orders.{index:02}" for index in range(5)]


@pytest.mark.parametrize("path", ["lag", "flows", "alerts"])
def test_a_foreign_cursor_is_refused_in_words(path: str, client: Client) -> None:
    response = client.get(f"/api/v1/{path}", {"cursor": "%%%"}, headers=bearer(roles.VIEWER))
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")


def test_flows_are_found_by_attribute_and_duration_and_say_where_they_were_looked_for(
    client: Client, settings: Any
) -> None:
    settings.EVENTFLOW_SPAN_FORMAT = "tests.store.pickled.Pickled"
    settings.EVENTFLOW_SEARCH_KEYS = ["shop.order.id"]
    for number in (1, 2):
        send([publish("placed", 0, 4000, service="web", to="orders", trace_name=f"order {number}",
                      correlation=f"order-{number}", attributes={"shop.order.id": number})])  # fmt: skip
    digest()
    headers = bearer(roles.VIEWER)

    def asked(**filters: Any) -> dict[str, Any]:
        found: dict[str, Any] = client.get("/api/v1/flows", filters, headers=headers).json()
        return found

    found = asked(attribute="shop.order.id=2", min_duration_seconds=3.5)
    assert [row["key"] for row in found["items"]] == ["order-2"]
    assert found["places"] == found["places_looked_at"] == 1
    assert asked(attribute="shop.order.id=2", max_duration_seconds=3)["items"] == []
    assert "EVENTFLOW_SEARCH_KEYS" in asked(attribute="shop.other=2")["detail"]
    assert "name=value" in asked(attribute="shop.order.id")["detail"]


def test_what_does_not_fit_names_the_fault(client: Client) -> None:
    response = client.get("/api/v1/lag", {"limit": "many"}, headers=bearer(roles.VIEWER))
    assert response.status_code == 422
    assert orjson.loads(response.content)["errors"][0]["pointer"].endswith("limit")


@pytest.mark.parametrize(
    "path", ["lag/nobody", "dead-letters/99", "flows/none", "replays/8b0fb0c4-0000-4000-8000-000000000000"]
)
def test_what_is_not_there_is_a_404_problem(path: str, client: Client) -> None:
    response = client.get(f"/api/v1/{path}", headers=bearer(roles.VIEWER))
    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


def test_a_viewers_token_may_not_replay(client: Client) -> None:
    response = client.post(
        "/api/v1/replays", {"dead_letters": [1]}, content_type="application/json", headers=bearer(roles.VIEWER)
    )
    assert response.status_code == 403
    assert orjson.loads(response.content)["needed"] == "operator"


def test_a_browser_session_writes_only_with_its_csrf_token() -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(people.set_role("olga", roles.OPERATOR, timezone.now())[0])
    response = strict.post("/api/v1/replays", {"dead_letters": [1]}, content_type="application/json")
    assert response.status_code == 403


def test_health_is_open_and_tells_nothing_of_the_system(client: Client) -> None:
    body: dict[str, Any] = client.get("/api/v1/health").json()
    assert body["status"] == "ok"
    assert set(body) == {"status", "at", "inbox"}


def test_twenty_groups_cost_no_more_queries_than_ten(client: Client, django_assert_max_num_queries: Any) -> None:
    headers = bearer(roles.VIEWER)
    groups(20)
    with django_assert_max_num_queries(8):
        assert len(client.get("/api/v1/lag", headers=headers).json()["items"]) == 20
