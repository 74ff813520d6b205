"""The picture of the topology stays put: the same graph is drawn the same, a new node only adds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from eventflow.domain.edge import EdgeKey, EdgeStats
from eventflow.domain.topology import build
from eventflow.domain.topology_model import LetterCount, Topology
from eventflow.web import layout
from eventflow.web.layout import Box
from eventflow.web.layout_ranks import ranks

NOW = datetime(2026, 11, 19, 14, 32, 10, tzinfo=UTC)
SHOP = (
    ("checkout", "orders.placed", "", 600),
    ("payment", "orders.placed", "payment", 600),
    ("inventory", "orders.placed", "inventory", 600),
    ("payment", "payments.captured", "", 580),
    ("payment", "payments.refused", "", 20),
    ("inventory", "payments.refused", "inventory-release", 20),
    ("inventory", "inventory.released", "", 20),
    ("checkout", "inventory.released", "checkout-cancel", 20),
    ("shipping", "payments.captured", "shipping", 580),
)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    layout.forget()
    yield
    layout.forget()


def shop(*more: tuple[str, str, str, int], letters: int = 0, factor: int = 1) -> Topology:
    edges = [
        EdgeStats(
            EdgeKey("consume" if group else "publish", service, "nats", place, group),
            count * factor,
            0,
            first_at=NOW - timedelta(seconds=60),
        )
        for service, place, group, count in (*SHOP, *more)
    ]
    waiting = [LetterCount("nats", "dlq.payment", "orders.placed", "payment", "", letters)] if letters else []
    return build(edges, [], [], waiting, window_seconds=60, now=NOW)


def apart(boxes: dict[str, Box]) -> bool:
    every = list(boxes.values())
    return not any(
        a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom
        for index, a in enumerate(every)
        for b in every[index + 1 :]
    )


def test_the_same_graph_is_drawn_the_same_even_after_a_restart() -> None:
    first = layout.arrange(shop())
    layout.forget()
    assert layout.arrange(shop()).boxes == first.boxes


def test_rates_move_nothing() -> None:
    first = layout.arrange(shop())
    assert layout.arrange(shop(factor=7), first.token).boxes == first.boxes


def test_a_new_node_only_adds_and_covers_nothing() -> None:
    first = layout.arrange(shop())
    grown = layout.arrange(
        shop(("loyalty", "orders.placed", "loyalty", 5), ("partner", "orders.placed", "", 5)), first.token
    )
    assert {node: grown.boxes[node] for node in first.boxes} == dict(first.boxes)
    assert {"service:loyalty", "service:partner"} <= set(grown.boxes) and apart(dict(grown.boxes))
    assert grown.boxes["service:loyalty"].x > grown.boxes["destination:nats:orders.placed"].right
    assert grown.boxes["service:partner"].right < grown.boxes["destination:nats:orders.placed"].x


def test_a_first_dead_letter_moves_nothing_and_reroutes_nothing() -> None:
    first = layout.arrange(shop())
    later = layout.arrange(shop(letters=3), first.token)
    assert {node: later.boxes[node] for node in first.boxes} == dict(first.boxes)
    assert {edge: later.routes[edge] for edge in first.routes} == dict(first.routes)
    assert apart(dict(later.boxes))


def test_a_page_opened_after_much_was_added_is_drawn_anew_and_the_old_one_stays() -> None:
    first = layout.arrange(shop())
    more = [(f"service-{number}", "orders.placed", f"group-{number}", 5) for number in range(6)]
    layout.arrange(shop(*more), first.token)
    fresh = layout.arrange(shop(*more))
    assert fresh.token != first.token
    assert layout.arrange(shop(*more), first.token).boxes["service:checkout"] == first.boxes["service:checkout"]


def test_an_edge_ends_at_the_row_of_its_group() -> None:
    drawn = layout.arrange(shop())
    box = drawn.boxes["service:inventory"]
    ends = {drawn.routes[f"consume:inventory:nats:{place}:{group}"].end for place, group in
            (("orders.placed", "inventory"), ("payments.refused", "inventory-release"))}  # fmt: skip
    assert ends == {(box.x, box.y + 40 + 12), (box.x, box.y + 40 + 24 + 12)}


def test_flow_goes_from_left_to_right_and_a_trickle_back_does_not_turn_it() -> None:
    column = ranks(shop())
    assert column["service:checkout"] == 0
    assert column["destination:nats:orders.placed"] == 1
    # Refused payments reach inventory too, but they are few: it stays beside payment.
    assert column["service:payment"] == column["service:inventory"] == 2


def test_nothing_to_draw_is_an_empty_picture() -> None:
    empty = layout.arrange(build([], [], [], [], window_seconds=60, now=NOW))
    assert not empty.boxes and not empty.routes
