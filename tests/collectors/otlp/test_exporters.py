"""The real SDK's exporters against a running receiver."""

import asyncio

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanContext, SpanKind

from collectors.otlp import OtlpReceiver
from eventflow.domain.observations import Operation, SpanLink
from tests.collectors.otlp.conftest import Sink

CREATION = SpanContext(0xA1, 0xB2, is_remote=True)


def publish(exporter: SpanExporter) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "checkout"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    attributes = {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "messaging.destination.name": "shop.orders",
        "messaging.consumer.group.name": "email",
        "app.correlation_id": "order-17",
    }
    links = [Link(CREATION, {"messaging.message.id": "m-1"})]
    with provider.get_tracer("shop", "1.2").start_as_current_span(
        "process shop.orders", kind=SpanKind.CONSUMER, attributes=attributes, links=links
    ) as span:
        span.record_exception(ValueError("no such card"))
    provider.shutdown()


def expect_the_span(sink: Sink) -> None:
    [span] = sink.spans
    assert span.service == "checkout"
    assert span.scope == "shop"
    assert span.scope_version == "1.2"
    assert span.links == (SpanLink(f"{0xA1:032x}", f"{0xB2:016x}", {"messaging.message.id": "m-1"}),)
    assert span.events[0].attributes["exception.message"] == "no such card"
    assert span.messaging is not None
    assert span.messaging.operation is Operation.PROCESS
    assert span.messaging.group == "email"
    assert (span.correlation_id, span.correlation_rule) == ("order-17", "app.correlation_id")


async def test_a_span_of_the_python_sdk_arrives_over_http(receiver: OtlpReceiver, sink: Sink) -> None:
    exporter = HttpExporter(f"http://127.0.0.1:{receiver.http_port}/v1/traces", compression=Compression.Gzip)
    await asyncio.to_thread(publish, exporter)
    expect_the_span(sink)


async def test_a_span_of_the_python_sdk_arrives_over_grpc(receiver: OtlpReceiver, sink: Sink) -> None:
    exporter = GrpcExporter(f"127.0.0.1:{receiver.grpc_port}", insecure=True)
    await asyncio.to_thread(publish, exporter)
    expect_the_span(sink)
