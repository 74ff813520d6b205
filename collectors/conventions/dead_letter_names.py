"""Header names by which frameworks and home-made code say why a message was given up. Data only.

A role is a field of `DeadLetter`, or `container`, `offset`, `partition`, `cause_type`, which the reader joins.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Convention:
    """One framework's headers: it is meant when any name begins with one of `marks` (compared exactly)."""

    name: str
    marks: tuple[str, ...]
    roles: dict[str, str] = field(default_factory=dict)


# Home-made names, after lower-casing, splitting into words and dropping a leading x, dlq, dlt, dead letter …
HOME_MADE: dict[str, tuple[str, ...]] = {
    "destination": (
        "original topic", "orig topic", "origin topic", "source topic", "failed topic",
        "original queue", "source queue", "origin queue", "failed queue",
        "original destination", "source destination", "original subject",
        "source subject", "origin subject", "failed subject",
        "original channel", "original routing key",
    ),
    "container": ("original stream", "source stream", "origin stream", "original exchange"),
    "partition": ("original partition", "orig partition", "source partition", "origin partition"),
    "offset": (
        "original offset", "orig offset", "source offset", "origin offset",
        "original sequence", "source sequence", "origin sequence", "original seq", "stream sequence",
    ),
    "published_at": (
        "original timestamp", "orig timestamp", "first seen ts", "first seen at", "original time", "published at",
    ),
    "group": (
        "consumer group", "source group", "original consumer group", "original group", "failed group",
        "original consumer", "source consumer", "failed consumer", "consumer name", "failed by consumer",
    ),
    "service": ("failed service", "consumer service", "original service", "failing service", "failed by"),
    "error_type": (
        "error class", "error type", "exception class", "exception type", "exception name", "exc class", "exc type",
        "failure type", "error code", "error name", "exception fqcn",
    ),
    "error_message": (
        "error", "error message", "error reason", "exception message",
        "exception", "exc msg", "last error", "failure reason",
        "failure message", "failure cause", "reason", "failure",
    ),
    "stack": (
        "stack", "stacktrace", "stack trace",
        "error stacktrace", "error stack", "exception stacktrace", "exception stack trace",
        "exception stack", "traceback", "error traceback", "exception traceback",
    ),
    "attempts": (
        "attempts", "retry count", "retries", "attempt",
        "failure count", "delivery count", "deliveries", "redrive count",
        "retry attempt", "retry attempts", "delivery attempt", "delivery attempts", "attempt count", "failed attempts",
    ),
    "failed_at": (
        "failed at", "failure timestamp", "failure time", "dead lettered at", "lettered at", "last failure timestamp",
        "first failure timestamp", "error timestamp", "error time", "timestamp", "died at",
    ),
    "message_id": ("message id", "original message id", "original id", "event id"),
    "event_type": ("event type", "message type", "original type"),
    "key": ("original key", "message key", "partition key", "aggregate id"),
}  # fmt: skip

# Words in front that say "dead letter" and carry nothing else. A name that had one is trusted with a single word.
PREFIXES = frozenset({"x", "dlq", "dlt", "dlx", "dead", "deadletter", "letter", "eiaf", "beavers"})

CLOUD_EVENTS: dict[str, str] = {
    "id": "message_id",
    "type": "event_type",
    "time": "published_at",
    "partitionkey": "key",
    "datacontenttype": "content_type",
}
CLOUD_EVENT_PREFIXES = ("ce-", "ce_", "cloudevents:", "cloudevents_")

FRAMEWORKS: tuple[Convention, ...] = (
    Convention(
        "Spring for Apache Kafka",
        ("kafka_dlt-", "kafka_original-", "kafka_exception-", "retry_topic-"),
        {
            "kafka_dlt-original-topic": "destination",
            "kafka_original-topic": "destination",
            "kafka_dlt-original-partition": "partition",
            "kafka_original-partition": "partition",
            "kafka_dlt-original-offset": "offset",
            "kafka_original-offset": "offset",
            "kafka_dlt-original-timestamp": "published_at",
            "kafka_original-timestamp": "published_at",
            "kafka_dlt-original-consumer-group": "group",
            "kafka_dlt-exception-fqcn": "error_type",
            "kafka_exception-fqcn": "error_type",
            "kafka_dlt-exception-cause-fqcn": "cause_type",
            "kafka_exception-cause-fqcn": "cause_type",
            "kafka_dlt-exception-message": "error_message",
            "kafka_exception-message": "error_message",
            "kafka_dlt-exception-stacktrace": "stack",
            "kafka_exception-stacktrace": "stack",
            "kafka_dlt-key-exception-fqcn": "error_type",
            "kafka_dlt-key-exception-message": "error_message",
            "kafka_dlt-key-exception-stacktrace": "stack",
            "retry_topic-original-timestamp": "published_at",
            "kafka_deliveryAttempt": "attempts",
            "retry_topic-attempts": "attempts",
        },
    ),
    Convention(
        "Kafka Connect",
        ("__connect.errors.",),
        {
            "__connect.errors.topic": "destination",
            "__connect.errors.partition": "partition",
            "__connect.errors.offset": "offset",
            "__connect.errors.connector.name": "group",
            "__connect.errors.exception.class.name": "error_type",
            "__connect.errors.exception.message": "error_message",
            "__connect.errors.exception.stacktrace": "stack",
        },
    ),
    Convention(
        "Kafka Streams",
        ("__streams.errors.",),
        {
            "__streams.errors.topic": "destination",
            "__streams.errors.partition": "partition",
            "__streams.errors.offset": "offset",
            "__streams.errors.exception": "error_type",
            "__streams.errors.exception.class.name": "error_type",
            "__streams.errors.message": "error_message",
            "__streams.errors.exception.message": "error_message",
            "__streams.errors.stacktrace": "stack",
            "__streams.errors.exception.stack_trace": "stack",
        },
    ),
    Convention(
        "Kafka share group",
        ("__dlq.errors.",),
        {
            "__dlq.errors.topic": "destination",
            "__dlq.errors.partition": "partition",
            "__dlq.errors.offset": "offset",
            "__dlq.errors.group": "group",
            "__dlq.errors.delivery.count": "attempts",
            "__dlq.errors.message": "error_message",
        },
    ),
    Convention(
        "MassTransit",
        ("MT-Fault-",),
        {
            "MT-Fault-InputAddress": "destination",
            "MT-Fault-ExceptionType": "error_type",
            "MT-Fault-Message": "error_message",
            "MT-Fault-StackTrace": "stack",
            "MT-Fault-RetryCount": "attempts",
            "MT-Fault-Timestamp": "failed_at",
        },
    ),
    Convention(
        "NServiceBus",
        ("NServiceBus.FailedQ", "NServiceBus.ExceptionInfo."),
        {
            "NServiceBus.FailedQ": "destination",
            "NServiceBus.ProcessingEndpoint": "group",
            "NServiceBus.ExceptionInfo.ExceptionType": "error_type",
            "NServiceBus.ExceptionInfo.InnerExceptionType": "cause_type",
            "NServiceBus.ExceptionInfo.Message": "error_message",
            "NServiceBus.ExceptionInfo.StackTrace": "stack",
            "NServiceBus.TimeOfFailure": "failed_at",
            "NServiceBus.TimeSent": "published_at",
            "NServiceBus.MessageId": "message_id",
            "NServiceBus.EnclosedMessageTypes": "event_type",
        },
    ),
    Convention(
        "SmallRye",
        ("dead-letter-reason", "dead-letter-exception-class-name"),
        {
            "dead-letter-topic": "destination",
            "dead-letter-partition": "partition",
            "dead-letter-offset": "offset",
            "dead-letter-exception-class-name": "error_type",
            "dead-letter-cause-class-name": "cause_type",
            "dead-letter-reason": "error_message",
        },
    ),
    Convention(
        "Watermill",
        ("reason_poisoned", "topic_poisoned"),
        {
            "topic_poisoned": "destination",
            "reason_poisoned": "error_message",
            "handler_poisoned": "group",
            "subscriber_poisoned": "service",
        },
    ),
    # The table itself is read by x_death.py. These stand beside it, and alone where a table can't travel.
    Convention(
        "RabbitMQ",
        ("x-death", "x-first-death-", "x-last-death-"),
        {
            "x-first-death-queue": "destination",
            "x-last-death-reason": "error_message",
            "x-first-death-reason": "error_message",
            "x-delivery-count": "attempts",
        },
    ),
)
