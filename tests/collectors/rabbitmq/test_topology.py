"""A queue and its exchange and key are one node: real bindings, and spans as pika and aio-pika really sent them."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from collectors.rabbitmq import collector
from eventflow.domain.edge import EdgeStats
from eventflow.domain.hops import hops
from eventflow.domain.observations import DestinationSample, LagSample
from eventflow.domain.topology import build
from eventflow.domain.topology_model import DestinationInfo, GroupLag, Topology
from eventflow.store.spans.edges import edge_key
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.domain.recorded.summary import spans

pytestmark = pytest.mark.rabbitmq


def graph(seen: Recorder, library: str, service: Callable[[str], str] = lambda queue: "") -> Topology:
    """Out of what the broker told and what a library's spans say."""
    queues = [
        GroupLag(
            number, one.source, one.system, one.destination, one.group, service(one.group), one.container or "",
            one.subscriptions, one.ready,
        )
        for number, one in enumerate(seen.of(LagSample))
    ]  # fmt: skip
    places = [
        DestinationInfo(one.source, one.system, one.destination, one.kind, messages=one.messages)
        for one in seen.of(DestinationSample)
    ]
    edges: dict[object, EdgeStats] = {}
    for hop in hops(spans(library)):
        key = edge_key(hop)
        edges[key] = EdgeStats(key, edges[key].count + 1 if key in edges else 1, 0)
    return build(list(edges.values()), queues, places, (), window_seconds=60, now=datetime.now(UTC))


def drawn(made: Topology) -> set[tuple[str, str, str, str, int]]:
    return {(edge.kind, edge.service, edge.destination, edge.group, edge.count) for edge in made.edges}


@pytest.mark.parametrize("library", ["pika", "pika-exchange", "aio-pika", "aio-pika-exchange"])
async def test_what_two_services_tell_of_one_queue_is_one_node(vhost: Vhost, library: str) -> None:
    vhost.queue("orders")
    vhost.exchange("shop", "topic")
    vhost.bind("shop", "orders", "orders.placed")
    made = graph(await run_until(collector("shop", vhost.url, 0.2), one_cycle), library)
    assert [place.name for place in made.places] == ["orders"]
    assert drawn(made) == {("publish", "shop", "orders", "", 2), ("consume", "till", "orders", "orders", 2)}
    assert [one.name for one in made.services] == ["shop", "till"]


@pytest.mark.parametrize("library", ["pika-exchange", "aio-pika-exchange"])
async def test_an_exchange_with_two_queues_is_one_node_before_both_readers(vhost: Vhost, library: str) -> None:
    vhost.exchange("shop", "topic")
    for queue, key in (("orders", "orders.placed"), ("mail", "orders.#")):
        vhost.queue(queue)
        vhost.bind("shop", queue, key)
    seen = await run_until(collector("shop", vhost.url, 0.2), one_cycle)
    made = graph(seen, library, {"orders": "till", "mail": "mailer"}.__getitem__)
    assert drawn(made) >= {("publish", "shop", "shop", "", 2), ("consume", "till", "shop", "orders", 2)}
    assert [one.name for one in made.services] == ["mailer", "shop", "till"]
