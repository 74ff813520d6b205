"""A service outside the shop, instrumented the ordinary way: `own_service.py http://127.0.0.1:4318 KEY`."""

import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

endpoint, key = sys.argv[1:]
provider = TracerProvider(resource=Resource.create({"service.name": "greenhouse"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
tracer = provider.get_tracer("greenhouse")

message = {
    "messaging.system": "kafka",
    "messaging.destination.name": "harvests",
    "messaging.operation.type": "send",
    "messaging.operation.name": "send",
    "messaging.message.id": f"message-{key}",
    "messaging.message.conversation_id": key,
}
with tracer.start_as_current_span("send harvests", kind=SpanKind.PRODUCER, attributes=message):
    pass
trace.set_tracer_provider(provider)
provider.shutdown()
print("acknowledged")
