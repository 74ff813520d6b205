"""One span per instrumentation, as it is really sent, with what it means beside it."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.conventions.messaging import messaging
from eventflow.domain.observations import Messaging, Operation, SpanKind

SEND, RECEIVE, PROCESS, SETTLE, CREATE = (
    Operation.SEND,
    Operation.RECEIVE,
    Operation.PROCESS,
    Operation.SETTLE,
    Operation.CREATE,
)
PRODUCER, CONSUMER, CLIENT, SERVER, INTERNAL = (
    SpanKind.PRODUCER,
    SpanKind.CONSUMER,
    SpanKind.CLIENT,
    SpanKind.SERVER,
    SpanKind.INTERNAL,
)


def case(title: str, name: str, kind: SpanKind, attributes: dict[str, Any], scope: str = "", **expected: Any) -> Any:
    return pytest.param(name, kind, attributes, scope, expected, id=title)


KAFKA = {"messaging.system": "kafka"}
RABBIT = {"messaging.system": "rabbitmq"}

RECORDED = [
    case(
        "Java agent, Kafka, publish",
        "orders publish",
        PRODUCER,
        KAFKA
        | {
            "messaging.operation": "publish",
            "messaging.destination.name": "orders",
            "messaging.client_id": "producer-1",
            "messaging.destination.partition.id": "2",
            "messaging.kafka.message.offset": 41,
            "messaging.kafka.message.key": "o-17",
        },
        operation=SEND,
        operation_name="publish",
        destination="orders",
        client_id="producer-1",
        partition="2",
        offset="41",
        key="o-17",
    ),
    case(
        "Java agent, Kafka, process",
        "orders process",
        CONSUMER,
        KAFKA
        | {
            "messaging.operation": "process",
            "messaging.destination.name": "orders",
            "messaging.kafka.consumer.group": "email",
            "messaging.destination.partition.id": "2",
            "messaging.kafka.message.offset": 41,
            "messaging.message.body.size": 120,
            "messaging.header.correlation_id": ["order-17"],
            "messaging.header.ce_type": ["order.placed"],
        },
        operation=PROCESS,
        operation_name="process",
        destination="orders",
        group="email",
        partition="2",
        offset="41",
        body_size=120,
        correlation_id="order-17",
        event_type="order.placed",
    ),
    case(
        "Java agent, Kafka, opt-in poll is CLIENT",
        "poll orders",
        CLIENT,
        KAFKA
        | {
            "messaging.operation.type": "receive",
            "messaging.operation.name": "poll",
            "messaging.destination.name": "orders",
            "messaging.consumer.group.name": "email",
            "messaging.batch.message_count": 3,
        },
        operation=RECEIVE,
        operation_name="poll",
        destination="orders",
        group="email",
        batch_size=3,
    ),
    case(
        "Java agent, Kafka Connect, empty poll of several topics",
        "unknown receive",
        CONSUMER,
        KAFKA | {"messaging.operation": "receive", "messaging.batch.message_count": 0},
        operation=RECEIVE,
        operation_name="receive",
        batch_size=0,
    ),
    case(
        "Java agent, RabbitMQ, publish to the default exchange",
        "<default> publish",
        PRODUCER,
        RABBIT
        | {
            "messaging.operation": "publish",
            "messaging.destination.name": "<default>",
            "messaging.rabbitmq.destination.routing_key": "email-queue",
        },
        operation=SEND,
        operation_name="publish",
        destination="email-queue",
    ),
    case(
        "Java agent, RabbitMQ, plumbing",
        "basic.ack",
        CLIENT,
        RABBIT,
    ),
    case("a client library's own call, named like an operation", "consume", CLIENT, RABBIT),
    case("Java agent, RabbitMQ, declaring a queue", "queue.declare", CLIENT, RABBIT | {"network.peer.port": 5672}),
    case(
        "Java agent, RabbitMQ, opt-in settle",
        "nack orders:order.placed:email",
        CLIENT,
        RABBIT
        | {
            "messaging.operation.type": "settle",
            "messaging.operation.name": "nack",
            "messaging.destination.name": "orders:order.placed:email",
            "messaging.rabbitmq.message.delivery_tag": 4,
        },
        operation=SETTLE,
        operation_name="nack",
        destination="orders:order.placed:email",
        outcome="nack",
    ),
    case(
        "Python confluent-kafka, send",
        "orders send",
        PRODUCER,
        KAFKA | {"messaging.destination": "orders", "messaging.destination_kind": "queue"},
        operation=SEND,
        operation_name="send",
        destination="orders",
    ),
    case(
        "Python confluent-kafka, process",
        "orders process",
        CONSUMER,
        KAFKA
        | {
            "messaging.destination": "orders",
            "messaging.destination_kind": "queue",
            "messaging.operation": "process",
            "messaging.kafka.partition": 0,
            "messaging.message.id": "orders.0.41",
        },
        operation=PROCESS,
        operation_name="process",
        destination="orders",
        partition="0",
        message_id="orders.0.41",
        offset="41",
    ),
    case(
        "Python kafka-python, receive",
        "orders receive",
        CONSUMER,
        KAFKA
        | {
            "messaging.destination": "orders",
            "messaging.kafka.partition": 1,
            "messaging.url": '["broker-1:9092", "broker-2:9092"]',
        },
        operation=RECEIVE,
        operation_name="receive",
        destination="orders",
        partition="1",
    ),
    case(
        "Python aiokafka, receive, says publish on both sides",
        "orders receive",
        CONSUMER,
        KAFKA
        | {
            "messaging.operation.type": "publish",
            "messaging.destination.name": "orders",
            "messaging.destination.partition.id": "1",
            "messaging.consumer.group.name": "email",
            "messaging.kafka.message.offset": 9,
            "messaging.message.id": "orders.1.9",
            "messaging.client.id": "aiokafka-0.12",
            "server.address": '["broker-1:9092", "broker-2:9092"]',
        },
        operation=RECEIVE,
        operation_name="receive",
        destination="orders",
        partition="1",
        group="email",
        offset="9",
        message_id="orders.1.9",
        client_id="aiokafka-0.12",
    ),
    case(
        "Python pika, publish, always temporary",
        "orders send",
        PRODUCER,
        RABBIT
        | {
            "messaging.destination": "orders",
            "messaging.temp_destination": True,
            "messaging.message.id": "m-1",
            "messaging.conversation_id": "order-17",
            "net.peer.name": "rabbit",
        },
        operation=SEND,
        operation_name="send",
        destination="orders",
        message_id="m-1",
        correlation_id="order-17",
    ),
    case(
        "Python pika, consume",
        "orders receive",
        CONSUMER,
        RABBIT | {"messaging.destination": "orders", "messaging.operation": "receive"},
        operation=RECEIVE,
        operation_name="receive",
        destination="orders",
    ),
    case(
        "Python aio-pika, publish to an exchange",
        "orders,order.placed send",
        PRODUCER,
        RABBIT | {"messaging.destination": "orders,order.placed", "messaging.temp_destination": True},
        "opentelemetry.instrumentation.aio_pika",
        operation=SEND,
        operation_name="send",
        destination="orders",
    ),
    case(
        "Python aio-pika, publish to the default exchange",
        ",email send",
        PRODUCER,
        RABBIT | {"messaging.destination": ",email"},
        "opentelemetry.instrumentation.aio_pika",
        operation=SEND,
        operation_name="send",
        destination="email",
    ),
    case(
        "Python celery, apply_async",
        "apply_async/shop.tasks.pay",
        PRODUCER,
        {
            "celery.action": "apply_async",
            "celery.task_name": "shop.tasks.pay",
            "messaging.message.id": "task-1",
            "messaging.conversation_id": "task-1",
            "messaging.destination": "payments",
            "messaging.destination_kind": "queue",
        },
        system="celery",
        operation=SEND,
        operation_name="apply_async",
        destination="payments",
        message_id="task-1",
        event_type="shop.tasks.pay",
    ),
    case(
        "Python celery, third run",
        "run/shop.tasks.pay",
        CONSUMER,
        {
            "celery.action": "run",
            "celery.state": "RETRY",
            "celery.task_name": "shop.tasks.pay",
            "celery.retries": 2,
            "messaging.message.id": "task-1",
            "messaging.conversation_id": "task-1",
            "messaging.destination": "payments",
        },
        system="celery",
        operation=PROCESS,
        operation_name="run",
        destination="payments",
        message_id="task-1",
        event_type="shop.tasks.pay",
        attempt=3,
    ),
    case(
        "Python boto3sqs, receive",
        "orders receive",
        CONSUMER,
        {
            "messaging.system": "aws.sqs",
            "messaging.destination": "orders",
            "messaging.operation": "receive",
            "messaging.url": "https://sqs.eu-west-1.amazonaws.com/123/orders",
            "messaging.message.id": "m-1",
        },
        system="aws_sqs",
        operation=RECEIVE,
        operation_name="receive",
        destination="orders",
        message_id="m-1",
    ),
    case(
        "botocore, only the queue's URL",
        "SQS.SendMessage",
        CLIENT,
        {
            "messaging.system": "AmazonSQS",
            "messaging.operation.type": "send",
            "aws.sqs.queue.url": "https://sqs.eu-west-1.amazonaws.com/123/orders",
        },
        system="aws_sqs",
        operation=SEND,
        operation_name="send",
        destination="orders",
    ),
    case(
        "SNS topic by ARN",
        "publish",
        PRODUCER,
        {"messaging.system": "aws_sns", "aws.sns.topic.arn": "arn:aws:sns:eu-west-1:123:orders"},
        system="aws.sns",
        operation=SEND,
        operation_name="publish",
        destination="orders",
    ),
    case(
        "JS kafkajs, poll is CLIENT",
        "poll orders",
        CLIENT,
        KAFKA
        | {
            "messaging.operation.type": "receive",
            "messaging.operation.name": "poll",
            "messaging.destination.name": "orders",
            "messaging.batch.message_count": 2,
            "messaging.kafka.cluster.id": "c",
        },
        operation=RECEIVE,
        operation_name="poll",
        destination="orders",
        batch_size=2,
    ),
    case(
        "JS kafkajs, process, offset as text",
        "process orders",
        CONSUMER,
        KAFKA
        | {
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": "orders",
            "messaging.destination.partition.id": "0",
            "messaging.kafka.offset": "41",
            "messaging.kafka.message.key": "o-17",
        },
        operation=PROCESS,
        operation_name="process",
        destination="orders",
        partition="0",
        offset="41",
        key="o-17",
    ),
    case(
        "JS amqplib, publish",
        "publish orders",
        PRODUCER,
        RABBIT
        | {
            "messaging.destination": "orders",
            "messaging.destination_kind": "topic",
            "messaging.rabbitmq.routing_key": "order.placed",
            "messaging.message_id": "m-1",
            "messaging.conversation_id": "order-17",
            "messaging.url": "amqp://rabbit:5672/shop",
            "messaging.protocol": "AMQP",
        },
        operation=SEND,
        operation_name="publish",
        destination="orders",
        message_id="m-1",
        correlation_id="order-17",
    ),
    case(
        "JS amqplib, consume after a wait queue: no exchange",
        "email process",
        CONSUMER,
        RABBIT
        | {
            "messaging.destination": "",
            "messaging.rabbitmq.routing_key": "email",
            "messaging.operation": "process",
            "messaging.url": "amqp://rabbit:5672/shop",
        },
        operation=PROCESS,
        operation_name="process",
        destination="email",
    ),
    case(
        "JS aws-sdk, receive",
        "orders receive",
        CONSUMER,
        {"messaging.system": "aws_sqs", "messaging.destination.name": "orders", "messaging.operation.type": "receive"},
        system="aws_sqs",
        operation=RECEIVE,
        operation_name="receive",
        destination="orders",
    ),
    case(
        ".NET ConfluentKafka, poll is CLIENT",
        "poll orders",
        CLIENT,
        KAFKA
        | {
            "messaging.operation.name": "poll",
            "messaging.operation.type": "receive",
            "messaging.destination.name": "orders",
            "messaging.consumer.group.name": "email",
            "messaging.kafka.offset": 41,
        },
        operation=RECEIVE,
        operation_name="poll",
        destination="orders",
        group="email",
        offset="41",
    ),
    case(
        ".NET auto-instrumentation, Kafka",
        "orders receive",
        CONSUMER,
        KAFKA
        | {
            "messaging.operation": "receive",
            "messaging.destination.name": "orders",
            "messaging.kafka.consumer.group": "email",
            "messaging.kafka.destination.partition": 3,
            "messaging.kafka.message.offset": 41,
            "messaging.client_id": "rdkafka-1",
        },
        operation=RECEIVE,
        operation_name="receive",
        destination="orders",
        group="email",
        partition="3",
        offset="41",
        client_id="rdkafka-1",
    ),
    case(
        ".NET auto-instrumentation, RabbitMQ",
        "order.placed deliver",
        CONSUMER,
        RABBIT
        | {
            "messaging.operation": "deliver",
            "messaging.destination.name": "orders",
            "messaging.rabbitmq.destination.routing_key": "order.placed",
            "messaging.rabbitmq.delivery_tag": 1,
        },
        operation=PROCESS,
        operation_name="deliver",
        destination="orders",
    ),
    case(
        "Spring Kafka (Micrometer), listener",
        "orders process",
        CONSUMER,
        KAFKA
        | {
            "messaging.operation": "process",
            "messaging.source.name": "orders",
            "messaging.source.kind": "topic",
            "messaging.kafka.source.partition": "2",
            "messaging.kafka.message.offset": "41",
            "messaging.kafka.consumer.group": "email",
            "messaging.consumer.id": "email - consumer-email-1",
        },
        "org.springframework.boot",
        operation=PROCESS,
        operation_name="process",
        destination="orders",
        group="email",
        partition="2",
        offset="41",
        client_id="consumer-email-1",
    ),
    case(
        "Spring Kafka (Micrometer), no group, no system",
        "orders process",
        CONSUMER,
        {
            "spring.kafka.listener.id": "emailListener",
            "messaging.operation": "process",
            "messaging.source.name": "orders",
            "messaging.kafka.consumer.group": "none",
        },
        system="kafka",
        operation=PROCESS,
        operation_name="process",
        destination="orders",
    ),
    case(
        "Spring AMQP, listener",
        "email receive",
        CONSUMER,
        {
            "spring.rabbit.listener.id": "emailListener",
            "messaging.destination.name": "email",
            "messaging.rabbitmq.message.delivery_tag": "4",
            "peer.service": "RabbitMQ",
        },
        system="rabbitmq",
        operation=RECEIVE,
        operation_name="receive",
        destination="email",
    ),
    case(
        "Spring AMQP, known by its peer only",
        "orders/order.placed send",
        PRODUCER,
        {"messaging.destination.name": "orders", "peer.service": "RabbitMQ"},
        system="rabbitmq",
        operation=SEND,
        operation_name="send",
        destination="orders",
    ),
    case(
        "Go otelsarama, receive: the id is the offset",
        "orders receive",
        CONSUMER,
        KAFKA
        | {
            "messaging.operation": "receive",
            "messaging.destination.kind": "topic",
            "messaging.destination.name": "orders",
            "messaging.message.id": "41",
            "messaging.kafka.source.partition": 2,
            "messaging.message.payload_size_bytes": 88,
        },
        "github.com/dnwe/otelsarama",
        operation=RECEIVE,
        operation_name="receive",
        destination="orders",
        partition="2",
        offset="41",
        body_size=88,
    ),
    case(
        "Go franz-go kotel, process",
        "orders process",
        CONSUMER,
        KAFKA
        | {
            "messaging.operation": "process",
            "messaging.source.name": "orders",
            "messaging.source.kind": "topic",
            "messaging.kafka.source.partition": 2,
            "messaging.kafka.message.offset": 41,
            "messaging.kafka.consumer.group": "email",
            "messaging.kafka.message.key": "o-17",
            "messaging.kafka.client_id": "kgo",
        },
        operation=PROCESS,
        operation_name="process",
        destination="orders",
        group="email",
        partition="2",
        offset="41",
        key="o-17",
        client_id="kgo",
    ),
    case(
        "MassTransit, consume",
        "OrderPlaced process",
        CONSUMER,
        {
            "messaging.operation": "process",
            "messaging.masstransit.message_id": "m-1",
            "messaging.message.conversation_id": "c-1",
            "messaging.masstransit.correlation_id": "saga-9",
            "messaging.masstransit.input_address": "rabbitmq://rabbit/email",
            "messaging.masstransit.message_types": "urn:message:Shop.Contracts:OrderPlaced",
        },
        system="masstransit",
        operation=PROCESS,
        operation_name="process",
        destination="email",
        message_id="m-1",
        correlation_id="c-1",
        event_type="Shop.Contracts.OrderPlaced",
    ),
    case(
        "MassTransit, outbox",
        "outbox send",
        CLIENT,
        RABBIT | {"messaging.destination.name": "orders", "messaging.operation": "send"},
        operation=SEND,
        operation_name="send",
        destination="orders",
    ),
    case(
        "NServiceBus, process",
        "process message",
        CONSUMER,
        {
            "nservicebus.message_id": "m-1",
            "nservicebus.conversation_id": "c-1",
            "nservicebus.correlation_id": "r-1",
            "nservicebus.processing_endpoint": "Email",
            "nservicebus.enclosed_message_types": "Shop.OrderPlaced, Shop, Version=1.0.0.0;Shop.IEvent, Shop",
        },
        system="nservicebus",
        operation=PROCESS,
        operation_name="process",
        destination="Email",
        message_id="m-1",
        correlation_id="c-1",
        event_type="Shop.OrderPlaced",
    ),
    case(
        "NServiceBus, publish",
        "publish event",
        PRODUCER,
        {"nservicebus.message_id": "m-1", "nservicebus.conversation_id": "c-1"},
        system="nservicebus",
        operation=SEND,
        operation_name="publish",
        message_id="m-1",
        correlation_id="c-1",
    ),
    case(
        "OTel demo, checkout",
        "orders publish",
        PRODUCER,
        KAFKA
        | {
            "messaging.operation": "publish",
            "messaging.destination.name": "orders",
            "messaging.kafka.destination.partition": 0,
            "messaging.kafka.message.offset": 12,
            "messaging.kafka.producer.success": True,
        },
        operation=SEND,
        operation_name="publish",
        destination="orders",
        partition="0",
        offset="12",
    ),
    case(
        "Azure Service Bus, settle",
        "ServiceBus.complete",
        CLIENT,
        {
            "messaging.system": "azure_servicebus",
            "messaging.operation.type": "settle",
            "messaging.destination.name": "orders",
            "messaging.destination.subscription.name": "email",
            "messaging.servicebus.disposition_status": "dead_letter",
            "messaging.servicebus.message.delivery_count": 4,
        },
        system="servicebus",
        operation=SETTLE,
        operation_name="settle",
        destination="orders",
        group="email",
        outcome="dead_letter",
        attempt=4,
    ),
    case(
        "Google Pub/Sub, process",
        "email process",
        CONSUMER,
        {
            "messaging.system": "gcp_pubsub",
            "messaging.operation.type": "process",
            "messaging.destination.name": "orders",
            "messaging.destination.subscription.name": "email",
            "messaging.gcp_pubsub.message.delivery_attempt": "2",
            "messaging.gcp_pubsub.message.ordering_key": "o-17",
        },
        system="gcp_pubsub",
        operation=PROCESS,
        operation_name="process",
        destination="orders",
        group="email",
        attempt=2,
        key="o-17",
    ),
    case(
        "NATS, terminated by hand",
        "term shop.orders",
        CLIENT,
        {
            "messaging.system": "nats",
            "messaging.operation.name": "term",
            "messaging.destination.name": "shop.orders",
            "messaging.consumer.group.name": "email",
            "messaging.message.delivery_attempt": 4,
        },
        system="nats",
        operation=SETTLE,
        operation_name="term",
        destination="shop.orders",
        group="email",
        attempt=4,
        outcome="term",
    ),
    case(
        "CloudEvents beside messaging",
        "create shop.orders",
        PRODUCER,
        {
            "messaging.system": "nats",
            "messaging.destination.name": "shop.orders",
            "cloudevents.event_id": "e-1",
            "cloudevents.event_type": "order.placed",
        },
        system="nats",
        operation=CREATE,
        operation_name="create",
        destination="shop.orders",
        message_id="e-1",
        event_type="order.placed",
    ),
    case(
        "Lambda behind SQS",
        "orders process",
        SERVER,
        {"faas.trigger": "pubsub", "messaging.system": "aws_sqs", "messaging.destination.name": "orders"},
        system="aws_sqs",
        operation=PROCESS,
        operation_name="process",
        destination="orders",
    ),
    case(
        "Sentry, retried",
        "queue.process",
        CONSUMER,
        {"messaging.system": "celery", "messaging.destination.name": "payments", "messaging.message.retry.count": 0},
        system="celery",
        operation=PROCESS,
        destination="payments",
        attempt=1,
    ),
    case(
        "a topic whose name is a verb",
        "send process",
        CLIENT,
        KAFKA | {"messaging.destination.name": "process"},
        operation=SEND,
        operation_name="send",
        destination="process",
    ),
]


@pytest.mark.parametrize(("name", "kind", "attributes", "scope", "expected"), RECORDED)
def test_a_span_of(name: str, kind: SpanKind, attributes: dict[str, Any], scope: str, expected: dict[str, Any]) -> None:
    found = messaging(name, kind, attributes, scope)
    assert found is not None
    whole = {field: value for field, value in asdict(found).items() if field != "rules" and value is not None}
    assert whole == {"system": attributes.get("messaging.system")} | expected
    named = set(whole) - {"operation_name"}
    assert named == set(found.rules)  # every field says what gave it, and nothing else does
    for rule in found.rules.values():
        assert rule in attributes or rule in ("span name", "span kind")


@pytest.mark.parametrize(
    ("name", "kind", "attributes"),
    [
        ("GET /orders", SERVER, {"http.request.method": "GET"}),
        ("recv", CONSUMER, {}),
        ("order-consumed", INTERNAL, {"order.id": 7}),
        ("LPUSH", CLIENT, {"db.system": "redis", "peer.service": "redis"}),
        ("process orders", INTERNAL, {"peer.service": "Kafka"}),
        ("checkout", INTERNAL, {"messaging.message.conversation_id": "c"}),
    ],
)
def test_a_span_without_messages_is_none(name: str, kind: SpanKind, attributes: dict[str, Any]) -> None:
    assert messaging(name, kind, attributes) is None


def test_the_newest_name_wins_in_a_mixed_dialect() -> None:
    found = messaging(
        "x",
        PRODUCER,
        {
            "messaging.destination": "old",
            "messaging.destination.name": "new",
            "messaging.message_id": "old",
            "messaging.message.id": "new",
            "messaging.system": "kafka",
        },
    )
    assert found is not None
    assert (found.destination, found.message_id) == ("new", "new")
    assert found.rules["destination"] == "messaging.destination.name"


def test_a_name_of_the_wrong_type_gives_way_to_the_next() -> None:
    attributes: dict[str, Any] = {"messaging.destination.name": ["a", "b"], "messaging.destination": "old"}
    found = messaging("x", CONSUMER, attributes | {"messaging.batch.message_count": "many"})
    assert found == Messaging(
        operation=PROCESS,
        destination="old",
        rules={"destination": "messaging.destination", "operation": "span kind"},
    )


def test_hostile_lengths_and_nul_characters_are_cut_out_of_names_and_ids() -> None:
    found = messaging("x", CONSUMER, {"messaging.system": "Z" * 999, "messaging.destination.name": "a\0" * 999})
    assert found is not None
    assert found.system == "z" * 40
    assert found.destination == "a\N{REPLACEMENT CHARACTER}" * 150


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = sorted({name for parameter in RECORDED for name in parameter.values[2]} | {"faas.trigger", "messaging.url"})


@given(
    st.text() | st.sampled_from(["send x", "run/", "/", "process"]),
    st.sampled_from(SpanKind),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8),
    st.sampled_from(["", "aio_pika", "otelsarama"]),
)
def test_no_attributes_crash_it(name: str, kind: SpanKind, attributes: dict[str, Any], scope: str) -> None:
    found = messaging(name, kind, attributes, scope)
    assert found is None or isinstance(found, Messaging)
