"""Puts Eventflow's own spans into its own store: no detour over the network, no feedback loop (see eventflow.tracing).

Leaves a tracer provider alone that somebody else has set up, and does nothing when OTEL_SDK_DISABLED says so.
"""

import logging
from collections.abc import Callable, Sequence

from django.utils import timezone
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from eventflow.domain.observations import SpanBatch
from eventflow.store import spans

SERVICE = "eventflow"
log = logging.getLogger(__name__)


class StoreExporter(SpanExporter):
    """Appends what the SDK hands over to the inbox, as the receivers do."""

    def __init__(self, stored: Callable[[], None]) -> None:
        self._stored = stored

    def export(self, found: Sequence[ReadableSpan]) -> SpanExportResult:
        """One batch; what can't be stored is dropped and logged: it is only about ourselves."""
        body: bytes = encode_spans(found).SerializeToString()
        try:
            spans.append([SpanBatch(body, timezone.now())])
        except spans.StoreBusy:
            log.warning("%d of Eventflow's own spans were dropped: the store is busy", len(found))
            return SpanExportResult.FAILURE
        self._stored()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is held."""


def install(stored: Callable[[], None]) -> Callable[[], None]:
    """Trace into the own store from now on; returns what ends it. `stored` is called after each append."""
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return lambda: None
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(StoreExporter(stored), schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    return provider.shutdown
