"""RabbitMQ in the graph: exchange, routing key and queue are told apart by the broker's bindings."""

from datetime import UTC, datetime

import pytest

from eventflow.domain.edge import EdgeKey, EdgeKind, EdgeStats
from eventflow.domain.topology import build
from eventflow.domain.topology_model import DestinationInfo, GroupLag, Topology

NOW = datetime(2026, 11, 25, 14, tzinfo=UTC)


def sent(destination: str, service: str = "shop", count: int = 10, system: str = "rabbitmq") -> EdgeStats:
    return EdgeStats(EdgeKey("publish", service, system, destination), count, 1, first_at=NOW, last_at=NOW)


def got(destination: str, service: str = "till", group: str | None = None, count: int = 10) -> EdgeStats:
    """As hops are kept: without a group the span's service stands for it."""
    return EdgeStats(EdgeKey("consume", service, "rabbitmq", destination, group or service), count, 0)


def queue(name: str, *bound: str, service: str = "") -> GroupLag:
    return GroupLag(1, "shop", "rabbitmq", name, name, service, "/", (name, *bound), ready=3)


def graph(*edges: EdgeStats, queues: tuple[GroupLag, ...]) -> Topology:
    places = [DestinationInfo("shop", "rabbitmq", one.name, "queue", messages=3) for one in queues]
    return build(edges, queues, places, (), window_seconds=60, now=NOW)


def drawn(made: Topology) -> set[tuple[EdgeKind | str, str, str, str]]:
    return {(edge.kind, edge.service, edge.destination, edge.group) for edge in made.edges}


@pytest.mark.parametrize(
    ("published", "consumed"),
    [
        ("orders", "orders.placed"),  # Java's agent: the exchange, and the key
        ("orders", "till-orders"),  # Micrometer: the queue
        ("orders:orders.placed", "orders:orders.placed:till-orders"),  # Java's agent, new conventions
        ("orders:orders.placed", "till-orders"),
        ("orders.placed", "till-orders"),
        ("orders", "orders"),  # pika, aio-pika
        ("till-orders", "till-orders"),  # by the default exchange
        ("amq.default:till-orders", "till-orders"),
    ],
)
def test_exchange_key_and_queue_are_one_node_where_they_lead_to_one_queue(published: str, consumed: str) -> None:
    made = graph(sent(published), got(consumed), queues=(queue("till-orders", "orders", "orders.placed"),))
    assert [place.name for place in made.places] == ["till-orders"]
    assert drawn(made) == {("publish", "shop", "till-orders", ""), ("consume", "till", "till-orders", "till-orders")}
    assert (made.places[0].kind, made.places[0].messages) == ("queue", 3)
    (till,) = (one for one in made.services if one.name == "till")
    assert [row.name for row in till.groups] == ["till-orders"]
    assert {edge.evidence for edge in made.edges if edge.kind == "consume"} == {"both"}


def test_a_publisher_alone_is_joined_to_the_queue_that_only_the_broker_tells_of() -> None:
    made = graph(sent("orders:orders.placed"), queues=(queue("till-orders", "orders", "orders.placed"),))
    assert [place.name for place in made.places] == ["till-orders"]


def test_an_exchange_that_feeds_several_queues_stays_and_each_reader_is_at_its_own_queues_row() -> None:
    made = graph(
        sent("orders"),
        got("orders.placed", "till"),
        got("orders", "mailer"),
        got("mail", "postman"),
        queues=(
            queue("till-orders", "orders", "orders.placed", service="till"),
            queue("mailer", "orders", "orders.>"),
            queue("mail", "orders", "orders.paid"),
        ),
    )
    seen = {edge for edge in drawn(made) if edge[0] == "publish" or edge[1] in ("till", "mailer", "postman")}
    assert seen >= {
        ("publish", "shop", "orders", ""),
        ("consume", "till", "orders", "till-orders"),
        ("consume", "mailer", "orders", "mailer"),
        ("consume", "postman", "orders", "mail"),
    }
    assert {one.name for one in made.services} == {"shop", "till", "mailer", "postman"}


def test_a_reader_whose_queue_the_bindings_leave_open_stays_as_its_span_says() -> None:
    queues = (queue("a", "orders"), queue("b", "orders"))
    made = graph(sent("orders"), got("orders", "till"), queues=queues)
    assert ("consume", "till", "orders", "till") in drawn(made)


def test_what_became_one_edge_is_added_up_and_remembers_what_spans_call_it() -> None:
    made = graph(
        sent("orders", count=10), sent("orders.placed", count=5), queues=(queue("q", "orders", "orders.placed"),)
    )
    (edge,) = (edge for edge in made.edges if edge.kind == "publish")
    assert (edge.count, edge.errors) == (15, 2)
    assert {key.destination for key in edge.spans} == {"orders", "orders.placed"}


def test_exchanges_whose_names_hold_colons_are_told_from_exchange_and_key() -> None:
    exchange = "Shop.Contracts:OrderPlaced"
    made = graph(sent(exchange), got("q", "till"), queues=(queue("q", exchange),))
    assert [place.name for place in made.places] == ["q"]
    made = graph(sent(f"{exchange}:eu"), got("q", "till"), queues=(queue("q", exchange, "eu"),))
    assert [place.name for place in made.places] == ["q"]


def test_other_systems_are_left_alone() -> None:
    made = graph(sent("orders", system="kafka"), queues=(queue("q", "orders"),))
    assert ("publish", "shop", "orders", "") in drawn(made)
    assert {edge.system for edge in made.edges if edge.kind == "publish"} == {"kafka"}
