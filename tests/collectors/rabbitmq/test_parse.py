"""Routes, metrics and addresses, without a server."""

import pytest

from collectors.base import CollectorError
from collectors.rabbitmq.address import Address
from collectors.rabbitmq.parse import Numbers, details, metrics
from collectors.rabbitmq.routes import Map, settings, takes


@pytest.mark.parametrize(
    ("kind", "pattern", "key", "taken"),
    [
        ("direct", "a", "a", True),
        ("direct", "a", "a.b", False),
        ("topic", "orders.*", "orders.placed", True),
        ("topic", "orders.*", "orders", False),
        ("topic", "orders.#", "orders", True),
        ("topic", "#.placed", "eu.orders.placed", True),
        ("topic", "#", "", True),
        ("topic", "*.orders.#", "orders.placed", False),
        ("fanout", "x", "y", True),
        ("headers", "", "y", True),
    ],
)
def test_a_binding_takes_what_its_exchange_lets_through(kind: str, pattern: str, key: str, taken: bool) -> None:
    assert takes(kind, pattern, key) is taken


def exchange(name: str, kind: str = "direct", **arguments: str) -> dict[str, object]:
    return {"name": name, "type": kind, "arguments": arguments}


def binding(source: str, target: str, key: str = "", to: str = "queue") -> dict[str, object]:
    return {"source": source, "destination": target, "destination_type": to, "routing_key": key}


def test_letters_are_followed_through_exchanges_behind_exchanges_and_alternates_and_never_in_circles() -> None:
    found = Map.of(
        [exchange("a", "fanout"), exchange("b", "topic", **{"alternate-exchange": "c"}), exchange("c", "fanout")],
        [binding("a", "b", to="exchange"), binding("b", "a", "#", to="exchange"), binding("c", "last")],
        ["last", "work"],
    )
    route = found.route("work", {"dead-letter-exchange": "a", "dead-letter-routing-key": "k"})
    assert route is not None
    assert (route.targets, route.lost) == (("last",), None)
    assert found.bound_to("last") == ("c",)
    assert found.bound_to("work") == ()


def test_a_letter_without_a_key_of_its_own_may_reach_every_bound_queue() -> None:
    found = Map.of([exchange("dlx")], [binding("dlx", "one", "a"), binding("dlx", "two", "b")], ["one", "two", "work"])
    route = found.route("work", {"dead-letter-exchange": "dlx"})
    assert route is not None
    assert route.targets == ("one", "two")


def test_the_default_exchange_needs_a_queue_of_that_name() -> None:
    found = Map.of([exchange("")], [], ["dlq", "work"])
    there = found.route("work", {"dead-letter-exchange": "", "dead-letter-routing-key": "dlq"})
    gone = found.route("work", {"dead-letter-exchange": "", "dead-letter-routing-key": "nope"})
    own = found.route("work", {"dead-letter-exchange": ""})
    assert [one and (one.targets, one.lost) for one in (there, gone, own)] == [
        (("dlq",), None),
        ((), "there is no queue nope"),
        ((), None),
    ]
    assert found.route("work", {}) is None


def test_a_queues_arguments_win_over_its_policy() -> None:
    assert settings({"x-dead-letter-exchange": "own"}, {"dead-letter-exchange": "policy", "max-length": 5}) == {
        "dead-letter-exchange": "own",
        "max-length": 5,
    }
    assert settings(None, None) == {}


def test_metrics_are_read_by_queue_whatever_its_name_holds() -> None:
    text = (
        "# HELP rabbitmq_detailed_queue_messages_ready x\n"
        'rabbitmq_detailed_queue_messages_ready{vhost="/",queue="a\\"},b{"} 7\n'
        'rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="a\\"},b{"} 2\n'
        'rabbitmq_detailed_queue_consumers{vhost="/",queue="a\\"},b{"} 1\n'
        'rabbitmq_detailed_queue_messages_ready{vhost="other",queue="c"} 9\n'
        'rabbitmq_detailed_queue_messages_ready{vhost="/",queue="d\\\\"} 0\n'
        'rabbitmq_detailed_queue_messages{vhost="/",queue="d\\\\"} 5\n'
    )
    assert metrics(text, "/") == {'a"},b{': Numbers(7, 2, 1), "d\\": Numbers(0, None, None)}


def test_what_the_server_did_not_count_is_unknown_and_not_zero() -> None:
    empty = details({"message_stats": None, "head_message_timestamp": ""})
    assert (empty.published, empty.delivered, empty.settled, empty.head_at) == (None,) * 4
    full = details({"message_stats": {"deliver_get": 10, "redeliver": 3, "ack": 4, "get_no_ack": 1, "publish": 12}})
    assert (full.published, full.delivered, full.settled) == (12, 7, 5)


def test_a_url_is_taken_apart() -> None:
    found = Address.of("rabbitmqs://me:p%40ss@broker/shop%2Feu?prometheus=15692,other:15693")
    assert (found.base, found.shown, found.vhost) == ("https://broker:15672/api", "broker:15672", "shop/eu")
    assert (found.user, found.password) == ("me", "p@ss")
    assert found.metrics == ("http://broker:15692/metrics/detailed", "http://other:15693/metrics/detailed")
    assert Address.of("rabbitmq://h?take=a+b").take == Address.of("rabbitmq://h?take=a,b").take == ("a", "b")
    assert Address.of("rabbitmq://h").vhost == Address.of("rabbitmq://h/%2F").vhost == "/"


@pytest.mark.parametrize(
    "url", ["rabbitmq://", "rabbitmq://h:x", "rabbitmq://[h", "rabbitmq://u:s3cret@h?prometheus=x"]
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(CollectorError) as refused:
        Address.of(url)
    assert refused.value.permanent
    assert "s3cret" not in str(refused.value)
