"""OpenTelemetry for the shop: the SDK, an OTLP/HTTP exporter, and a message's spans as the conventions name them.

Promises that a send span's context travels in the message's headers and that a process span links to it.
When nobody listens at the OTLP address, the shop goes on and spans are dropped by the SDK.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.util.types import AnyValue

from demo.shop.broker import Delivery

tracer = trace.get_tracer("demo.shop")


def start(service: str, version: str, otlp: str) -> TracerProvider:
    provider = TracerProvider(
        resource=Resource.create(
            {
                "service.name": service,
                "service.namespace": "shop",
                "service.version": version,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            }
        ),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=f"{otlp.rstrip('/')}/v1/traces", timeout=5)
    # Short delay: whoever watches wants to see it now.
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=300))
    trace.set_tracer_provider(provider)
    return provider


@contextmanager
def sending(system: str, subject: str, headers: dict[str, str], body: bytes) -> Iterator[Span]:
    """The span of publishing one message; writes its own context into `headers`."""
    attributes = {
        **_message_attributes(system, subject, headers, body),
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    with tracer.start_as_current_span(f"send {subject}", kind=SpanKind.PRODUCER, attributes=attributes) as span:
        propagate.inject(headers)
        yield span


@contextmanager
def processing(system: str, delivery: Delivery, group: str, *, new_trace: bool) -> Iterator[Span]:
    """The span of handling one message: linked to its creation, and its child unless `new_trace`."""
    sent = propagate.extract(delivery.headers, Context())
    creation = trace.get_current_span(sent).get_span_context()
    attributes = {
        **_message_attributes(system, delivery.subject, delivery.headers, delivery.body),
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": group,
        "messaging.message.delivery_attempt": delivery.attempt,
    }
    if delivery.partition is not None:
        attributes["messaging.destination.partition.id"] = str(delivery.partition)
        attributes[f"messaging.{system}.offset"] = delivery.sequence
    with tracer.start_as_current_span(
        f"process {delivery.subject}",
        context=Context() if new_trace else sent,
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        links=[Link(creation)] if creation.is_valid else [],
    ) as span:
        yield span


def _message_attributes(system: str, subject: str, headers: dict[str, str], body: bytes) -> dict[str, AnyValue]:
    attributes: dict[str, AnyValue] = {
        "messaging.system": system,
        "messaging.destination.name": subject,
        "messaging.message.body.size": len(body),
    }
    for attribute, header in _FROM_HEADERS.items():
        if value := headers.get(header):
            attributes[attribute] = value
    return attributes


_FROM_HEADERS = {
    "messaging.message.id": "Nats-Msg-Id",
    "messaging.message.conversation_id": "correlation-id",
    "cloudevents.event_id": "ce-id",
    "cloudevents.event_type": "ce-type",
    "cloudevents.event_source": "ce-source",
    "cloudevents.event_spec_version": "ce-specversion",
}
