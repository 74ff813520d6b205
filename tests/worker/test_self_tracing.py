"""Eventflow traces itself into its own store, and never traces the storing."""

import pytest
from django.utils import timezone
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from eventflow.store import spans
from eventflow.worker.self_tracing import SERVICE, StoreExporter

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_span_of_eventflow_is_read_back_from_its_own_store() -> None:
    stored: list[bool] = []
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(StoreExporter(lambda: stored.append(True))))
    with provider.get_tracer("eventflow").start_as_current_span("notify") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    assert stored == [True]
    spans.digest(timezone.now())
    spans.judge(timezone.now())
    found = spans.trace_spans(trace_id)
    assert [(one.service, one.name) for one in found] == [("eventflow", "notify")]
    # Storing and digesting it made no further span: there is no loop.
    assert (stored, spans.inbox_depth()) == ([True], 0)
