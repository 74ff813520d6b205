"""The names that messaging attributes, operations and outcomes go by in the dialects in use, newest first: tables."""

from eventflow.domain.observations import Operation

SYSTEMS = {
    "activemq": "activemq",
    "amazonsns": "aws.sns",
    "amazonsqs": "aws_sqs",
    "aws.sns": "aws.sns",
    "aws.sqs": "aws_sqs",
    "aws_sns": "aws.sns",
    "aws_sqs": "aws_sqs",
    "azure_servicebus": "servicebus",
    "google_pubsub": "gcp_pubsub",
    "kafka": "kafka",
    "rabbitmq": "rabbitmq",
    "servicebus": "servicebus",
}
SYSTEM_BY_PREFIX = (
    ("celery.", "celery"),
    ("nservicebus.", "nservicebus"),
    ("spring.rabbit.", "rabbitmq"),
    ("spring.kafka.", "kafka"),
    ("messaging.rabbitmq.", "rabbitmq"),
    ("messaging.kafka.", "kafka"),
    ("messaging.nats.", "nats"),
    ("messaging.servicebus.", "servicebus"),
    ("messaging.eventhubs.", "eventhubs"),
    ("messaging.gcp_pubsub.", "gcp_pubsub"),
    ("messaging.rocketmq.", "rocketmq"),
    ("messaging.masstransit.", "masstransit"),
    ("aws.sqs.", "aws_sqs"),
    ("aws.sns.", "aws.sns"),
)
"""What tells the system of spans that leave messaging.system out: Celery, NServiceBus, Spring, MassTransit."""

OPERATIONS = {
    "create": Operation.CREATE,
    **dict.fromkeys(("send", "publish", "reply", "apply_async", "enqueue", "produce"), Operation.SEND),
    **dict.fromkeys(("receive", "poll", "recv", "fetch", "pull", "get"), Operation.RECEIVE),
    **dict.fromkeys(("process", "deliver", "consume", "run", "handle"), Operation.PROCESS),
    **dict.fromkeys(
        ("settle", "ack", "acknowledge", "complete", "commit", "delete", "nack", "nak", "abandon", "reject"),
        Operation.SETTLE,
    ),
    **dict.fromkeys(
        ("requeue", "term", "terminate", "dead_letter", "deadletter", "dead-letter", "defer", "in_progress"),
        Operation.SETTLE,
    ),
}
NAME_WORDS = frozenset(OPERATIONS) - {"get", "run", "handle", "delete", "fetch", "pull", "complete", "reply"}
"""The words that count in a span's name; the others mean too many things outside messaging."""

OUTCOMES = {
    **dict.fromkeys(("ack", "acknowledge", "complete", "commit", "delete"), "ack"),
    **dict.fromkeys(("nack", "nak", "abandon", "requeue"), "nack"),
    "reject": "reject",
    **dict.fromkeys(("term", "terminate"), "term"),
    **dict.fromkeys(("dead_letter", "deadletter", "dead-letter"), "dead_letter"),
    "defer": "defer",
}

DESTINATION = (
    "messaging.destination.name",
    "messaging.destination",
    "messaging.source.name",
    "messaging.destination_publish.name",
    "rabbitmq.queue",
    "aws.kinesis.stream_name",
)
DESTINATION_IN_PATH = (
    "aws.sqs.queue.url",
    "aws.queue_url",
    "messaging.url",
    "aws.sns.topic.arn",
    "messaging.masstransit.destination_address",
    "messaging.masstransit.input_address",
)
"""Addresses whose last part is the destination."""
ROUTING_KEY = ("messaging.rabbitmq.destination.routing_key", "messaging.rabbitmq.routing_key")
NO_EXCHANGE = frozenset(("<default>", "amq.default"))
PARTITION = (
    "messaging.destination.partition.id",
    "messaging.kafka.destination.partition",
    "messaging.kafka.source.partition",
    "messaging.kafka.partition",
)
GROUP = (
    "messaging.consumer.group.name",
    "messaging.kafka.consumer.group",
    "messaging.eventhubs.consumer.group",
    "messaging.rocketmq.client_group",
    "messaging.kafka.consumer_group",
    "messaging.destination.subscription.name",
    "messaging.servicebus.destination.subscription_name",
    "messaging.nats.consumer",
)
MESSAGE_ID = (
    "messaging.message.id",
    "messaging.message_id",
    "messaging.masstransit.message_id",
    "nservicebus.message_id",
    "cloudevents.event_id",
)
CONVERSATION_ID = (
    "messaging.message.conversation_id",
    "messaging.conversation_id",
    "nservicebus.conversation_id",
    "messaging.message.correlation_id",
    "messaging.correlation_id",
    "messaging.masstransit.correlation_id",
    "nservicebus.correlation_id",
    "messaging.header.correlation_id",
    "messaging.header.correlation-id",
)
EVENT_TYPE = (
    "cloudevents.event_type",
    "messaging.message.type",
    "messaging.header.ce_type",
    "messaging.header.ce-type",
    "messaging.header.cloudEvents_type",
    "messaging.header.cloudEvents:type",
    "messaging.masstransit.message_types",
    "nservicebus.enclosed_message_types",
    "celery.task_name",
    "messaging.header.event_type",
    "messaging.header.event-type",
    "messaging.header.eventType",
    "event.type",
    "event_type",
)
KEY = (
    "messaging.kafka.message.key",
    "messaging.kafka.message_key",
    "messaging.gcp_pubsub.message.ordering_key",
    "messaging.rocketmq.message.group",
    "messaging.rocketmq.message.keys",
    "messaging.rocketmq.message_keys",
)
OFFSET = (
    "messaging.kafka.offset",
    "messaging.kafka.message.offset",
    "messaging.nats.stream_sequence",
    "messaging.nats.sequence",
)
BODY_SIZE = (
    "messaging.message.body.size",
    "messaging.message.payload_size_bytes",
    "messaging.message_payload_size_bytes",
)
BATCH_SIZE = ("messaging.batch.message_count",)
ATTEMPT = (
    "messaging.message.delivery_attempt",
    "messaging.delivery_attempt",
    "messaging.gcp_pubsub.message.delivery_attempt",
    "messaging.servicebus.message.delivery_count",
    "messaging.nats.delivered",
    "messaging.nats.num_delivered",
    "messaging.nats.delivery_count",
)
RETRIES = ("celery.retries", "messaging.message.retry.count")
"""These count repetitions, so the first attempt says 0."""
CLIENT_ID = (
    "messaging.client.id",
    "messaging.client_id",
    "messaging.kafka.client_id",
    "messaging.rocketmq.client_id",
    "messaging.consumer.id",
    "messaging.consumer_id",
)
