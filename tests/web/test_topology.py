"""The topology page as people get it: graph, table, panel, filters, all by its address."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from eventflow.web import layout
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(client: Client) -> Iterator[Client]:
    layout.forget()
    client.force_login(make.user("viewer"))
    yield client
    layout.forget()


@pytest.fixture
def shop() -> None:
    now = timezone.now()
    make.consumer_group("payment", seen_at=now, status="ok", ready=70, age=332, service="payment-service", trend=1)
    make.consumer_group("fraud-check", seen_at=now, status="ok", ready=1204, age=4, service="fraud-detector")
    make.letter(captured_at=now)


def get(client: Client, query: str = "") -> str:
    answer = client.get(f"/topology/{query}", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    return answer.content.decode()


def classes(page: str, node: str) -> set[str]:
    """The classes of a node or edge in the drawing."""
    found = re.search(rf'<a class="([^"]*)" data-key="{re.escape(node)}"', page)
    assert found, f"{node} is not drawn"
    return set(found.group(1).split())


@pytest.mark.usefixtures("shop")
def test_the_graph_is_drawn_without_any_script(viewer: Client) -> None:
    page = get(viewer)
    assert "crit" in classes(page, "service:payment-service")
    assert "crit" in classes(page, "group:payment-service:nats:payment")
    assert "has" in classes(page, "dead-letters:payment-service")
    assert "1 waiting ▲" in page and "1.2k" in page
    assert "consumer group payment, lag 70 messages, growing, oldest waiting over 5 min" in page


@pytest.mark.usefixtures("shop")
def test_the_table_has_the_same_edges_worst_first_each_with_its_rule(viewer: Client) -> None:
    page = get(viewer, "?view=table")
    assert "oldest waiting over 5 min" in page and "broker only" in page
    assert page.index("payment-service") < page.index("fraud-detector")
    assert '<svg class="gr"' not in page


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("wanted", ["group:payment-service:nats:payment", "payment"])
def test_a_group_is_selected_by_its_id_or_its_plain_name(viewer: Client, wanted: str) -> None:
    page = get(viewer, f"?node={wanted}")
    assert "consumer group of payment-service" in page and "5 m 32 s" in page
    assert "sel" in classes(page, "group:payment-service:nats:payment")


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("node=service:payment-service", "Consumer groups"),
        ("node=destination:nats:orders.placed", "subject"),
        ("node=dead-letters:payment-service", "dead letters of payment-service"),
        ("edge=consume:payment-service:nats:orders.placed:payment", "configured at the broker, no span seen"),
        ("edge=dead-letter:payment-service", "dead letters"),
    ],
)
def test_every_kind_of_node_and_edge_has_a_panel(viewer: Client, query: str, told: str) -> None:
    page = get(viewer, f"?{query}")
    side = page[page.index('id="tp-side"') :]
    assert told in side and " hidden>" not in side[:120]


@pytest.mark.usefixtures("shop")
def test_what_does_not_exist_selects_nothing(viewer: Client) -> None:
    assert 'data-selected=""' in get(viewer, "?node=service:nobody")


@pytest.mark.usefixtures("shop")
def test_filters_dim_and_never_remove(viewer: Client) -> None:
    page = get(viewer, "?unhealthy=1")
    assert "dimd" not in classes(page, "service:payment-service")
    assert "dimd" in classes(page, "service:fraud-detector")
    page = get(viewer, "?find=FRAUD")
    assert "dimd" in classes(page, "service:payment-service")
    assert "dimd" not in classes(page, "service:fraud-detector")
    page = get(viewer, "?hide=nats")
    assert "dimd" in classes(page, "service:fraud-detector")


@pytest.mark.usefixtures("shop")
def test_an_update_of_a_page_keeps_its_boxes_and_adds_what_is_new(viewer: Client) -> None:
    def boxes(page: str) -> dict[str, str]:
        return dict(re.findall(r'data-id="(service:[^"]+)"[^>]*transform="([^"]+)"', page))

    before = get(viewer)
    again = re.search(r'data-live-refetch="/topology/([^"]*)"', before)
    assert again
    make.consumer_group("loyalty", seen_at=timezone.now())
    after = boxes(get(viewer, again.group(1)))
    assert after.pop("service:loyalty")
    assert after == boxes(before)


def test_a_group_the_broker_stopped_telling_of_leaves_the_graph(viewer: Client) -> None:
    make.consumer_group("old", seen_at=timezone.now() - timedelta(hours=2))
    assert "Nothing to draw yet" in get(viewer)


def test_hostile_names_are_only_text(viewer: Client) -> None:
    name = '"><script>alert(1)</script>'
    make.consumer_group(name, name, seen_at=timezone.now(), service=name)
    for query in ("", "?view=table", f"?node={name}", f"?find={name}"):
        assert "<script>alert" not in get(viewer, query)


@pytest.mark.usefixtures("shop")
def test_the_page_costs_the_same_however_many_groups_there_are(
    viewer: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        make.consumer_group(f"group-{number}", seen_at=timezone.now())
    with django_assert_max_num_queries(14):
        get(viewer)
