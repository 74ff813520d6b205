"""Zipkin spans as Brave sends them, by hand: a Kafka hop, a RabbitMQ hop with its listener, a shared HTTP call."""

from typing import Any

TRACE = "86154a4ba6e91385"
US = 1_780_000_000_000_000
BROKER = {"serviceName": "kafka", "ipv4": "10.0.0.9", "port": 9092}


def span(span_id: str = "000000000000000a", **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "traceId": TRACE,
        "id": span_id,
        "kind": "PRODUCER",
        "name": "send",
        "timestamp": US,
        "duration": 7,
        "localEndpoint": {"serviceName": "checkout", "ipv4": "10.0.0.1"},
        "remoteEndpoint": BROKER,
        "tags": {"kafka.topic": "orders"},
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def kafka_hop() -> list[dict[str, Any]]:
    billing = {"serviceName": "billing"}
    return [
        span(),
        span("000000000000000b", parentId="000000000000000a", kind="CONSUMER", name="poll", localEndpoint=billing),
        span(
            "000000000000000c",
            parentId="000000000000000b",
            kind=None,
            name="on-message",
            localEndpoint=billing,
            remoteEndpoint=None,
            tags={"error": "card declined"},
            timestamp=US + 50,
            duration=2_000,
        ),
    ]


def rabbit_hop() -> list[dict[str, Any]]:
    broker = {"serviceName": "rabbitmq"}
    billing = {"serviceName": "billing"}
    sent = {"rabbit.exchange": "shop", "rabbit.routing_key": "order.placed"}
    got = sent | {"rabbit.queue": "billing.orders"}
    return [
        span(name="publish", tags=sent, remoteEndpoint=broker),
        span(
            "000000000000000b",
            parentId="000000000000000a",
            kind="CONSUMER",
            name="next-message",
            tags=got,
            localEndpoint=billing,
            remoteEndpoint=broker,
        ),
        span(
            "000000000000000c",
            parentId="000000000000000b",
            kind=None,
            name="on-message",
            tags=None,
            localEndpoint=billing,
            remoteEndpoint=None,
        ),
    ]


def shared_call() -> list[dict[str, Any]]:
    shop = {"serviceName": "shop"}
    return [
        span(kind="CLIENT", name="post", tags=None, remoteEndpoint=shop),
        span(kind="SERVER", name="post /orders", shared=True, tags=None, localEndpoint=shop, remoteEndpoint=None),
        span("000000000000000d", parentId="000000000000000a", localEndpoint=shop),
    ]
