"""The headers of a replayed message: those of the letter without what told of its failure, plus the replay's own.

Kept: correlation, CloudEvents, everything of the application. Taken out: failure headers of every known convention, the
old trace context, and broker headers that would make the broker drop the message or do more than store it.
"""

from collections.abc import Iterable

REPLAY_HEADER = "Eventflow-Replay"

FAILURE_PREFIXES = (
    "x-original-",
    "x-exception-",
    "x-death",
    "x-first-death-",
    "x-last-death-",
    "x-opt-deaths",
    "x-retry-",
    "kafka_dlt-",
    "kafka_original-",
    "kafka_exception-",
    "retry_topic-",
    "springdeserializerexception",
    "__connect.errors.",
    "__streams.errors.",
    "__dlq.errors.",
    "nservicebus.exceptioninfo.",
    "nservicebus.retries",
    "mt-fault-",
    "dead-letter-",
    "dead_letter_",
    "delayed-retry-",
    "dlq-original-",
    "dlq-error-",
    "micronaut-kafka-",
    "knativeerror",
    "ecotone-error",
    "polledchannelname",
    "x-failed-",
    "x-failure-",
    "x-error-",
    "x-dlq-",
    "_amq_orig_",
    # Dedup, rollup, expected sequence, TTL: none of it was meant for a second sending; a rollup would delete others.
    "nats-",
)
FAILURE_NAMES = frozenset(
    {
        "x-attempts",
        "x-attempt",
        "x-failed-at",
        "x-delivery-count",
        "kafka_deliveryattempt",
        "nservicebus.failedq",
        "nservicebus.timeoffailure",
        "nservicebus.flretries",
        "mt-reason",
        "rbs2-error-details",
        "rbs2-source-queue",
        "rbs2-delivery-count",
        "exception-type",
        "exception-message",
        "exception-stack",
        "exception-stacktrace",
        "exc_class",
        "exc_msg",
        "original_topic",
        "reason_poisoned",
        "topic_poisoned",
        "handler_poisoned",
        "subscriber_poisoned",
        "dlq-reason",
        "dlq-stack",
        "dlq-attempts",
        "cap-exception",
        "rejectionreason",
        "rejectionmessage",
        "deadletterreason",
        "deadlettererrordescription",
        "reconsumetimes",
        "real_topic",
        "dlq_origin_topic",
        "dlq_origin_message_id",
    }
)
TRACE_NAMES = frozenset(
    {
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "uber-trace-id",
    }
)


def is_failure_header(name: str) -> bool:
    """Whether a header tells of the failure, and so must not travel on."""
    low = name.lower()
    return low in FAILURE_NAMES or low.startswith(FAILURE_PREFIXES)


def outgoing(headers: Iterable[tuple[str, str]], token: str, traceparent: str) -> tuple[tuple[str, str], ...]:
    """The headers to send, in their old order, the replay's own last."""
    dropped = TRACE_NAMES | {REPLAY_HEADER.lower()}
    kept = [(name, value) for name, value in headers if name.lower() not in dropped and not is_failure_header(name)]
    return (*kept, ("traceparent", traceparent), (REPLAY_HEADER, token))
