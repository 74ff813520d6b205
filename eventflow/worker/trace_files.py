"""Trace files that people keep → span batches: OTLP-JSON (or one a line), Jaeger-UI JSON, Zipkin JSON, gzipped or not.

Pure but for the clock it is given. Says in one sentence why a file is none. Ids are kept, so importing a file twice
changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.jaeger import parse as jaeger
from collectors.otlp import parse as otlp
from collectors.receiving.errors import RefusedError
from collectors.receiving.inflate import inflate
from collectors.zipkin import parse as zipkin
from eventflow.domain.observations import SpanBatch
from eventflow.worker.digest import decode

MAX_BYTES = 64 * 1024 * 1024
MAX_INFLATED = 512 * 1024 * 1024
SPANS_IN_A_BATCH = 500
"""A batch is one row of the inbox, and a step of the digester never takes less than a row."""
GZIP = b"\x1f\x8b"


class TraceFileError(Exception):
    """Not a trace file, in words a person can act on."""


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A file, understood."""

    format: str
    batches: tuple[SpanBatch, ...]
    rejected: int
    message: str

    @property
    def spans(self) -> int:
        """How many spans it holds that can be kept."""
        return sum(len(batch.spans) for batch in self.batches)


def read(content: bytes, now: datetime) -> TraceFile:
    """What `content` holds. Raises TraceFileError."""
    try:
        if content.startswith(GZIP):
            content = inflate("gzip", content, MAX_INFLATED, lambda _: None)
        form, bodies, rejected, message = _bodies(content)
    except RefusedError as error:
        raise TraceFileError(str(error)) from error
    batches = [SpanBatch(part, now, tuple(decode(part))) for body in bodies for part in _parts(body)]
    if not batches and not rejected:
        raise TraceFileError(f"this {form} file holds no span")
    return TraceFile(form, tuple(batches), rejected, message)


def _bodies(content: bytes) -> tuple[str, list[ExportTraceServiceRequest], int, str]:
    """The format's name, the spans as OTLP, how many were left out and why the first."""
    documents = _documents(content)
    first = documents[0]
    if isinstance(first, list):
        found = zipkin.convert(
            orjson.dumps([span for item in first for span in (item if isinstance(item, list) else [item])])
        )
        return "Zipkin", [ExportTraceServiceRequest.FromString(found.body)], found.rejected, found.message
    if jaeger.is_jaeger(first):
        saved = jaeger.convert(first)
        return "Jaeger", [saved.request], saved.rejected, saved.message
    parsed = [otlp.from_json(orjson.dumps(_export(document))) for document in documents]
    rejected = sum(one.rejected for one in parsed)
    message = next((one.message for one in parsed if one.message), "")
    return "OTLP", [ExportTraceServiceRequest.FromString(one.body) for one in parsed], rejected, message


def _documents(content: bytes) -> list[Any]:
    """One JSON document, or one a line as the Collector's file exporter writes them."""
    try:
        return [orjson.loads(content)]
    except orjson.JSONDecodeError as whole:
        lines = [line for line in content.splitlines() if line.strip()]
        if len(lines) < 2:
            raise TraceFileError("this is no JSON; OTLP, Jaeger and Zipkin JSON are read") from whole
        try:
            return [orjson.loads(line) for line in lines]
        except orjson.JSONDecodeError:
            raise TraceFileError("this is no JSON; OTLP, Jaeger and Zipkin JSON are read") from whole


def _export(document: object) -> dict[str, Any]:
    """The export request in a document: as it is, in Jaeger's API's `result`, or under Tempo's name `batches`."""
    if isinstance(document, dict):
        inner = document.get("result") if isinstance(document.get("result"), dict) else document
        assert isinstance(inner, dict)  # noqa: S101  # one of two dicts
        if "batches" in inner:
            return {"resourceSpans": inner["batches"]}
        if "resourceSpans" in inner or "resource_spans" in inner:
            return inner
    raise TraceFileError(
        "this JSON holds no traces: OTLP has resourceSpans, Jaeger has data with spans, Zipkin is a list of spans"
    )


def _parts(request: ExportTraceServiceRequest) -> Iterator[bytes]:
    """The request in pieces of a bearable number of spans."""
    part, size = ExportTraceServiceRequest(), 0
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for start in range(0, len(scope_spans.spans), SPANS_IN_A_BATCH):
                spans = scope_spans.spans[start : start + SPANS_IN_A_BATCH]
                if size and size + len(spans) > SPANS_IN_A_BATCH:
                    yield part.SerializeToString()
                    part, size = ExportTraceServiceRequest(), 0
                target = part.resource_spans.add(schema_url=resource_spans.schema_url)
                target.resource.CopyFrom(resource_spans.resource)
                scope = target.scope_spans.add(schema_url=scope_spans.schema_url, spans=spans)
                scope.scope.CopyFrom(scope_spans.scope)
                size += len(spans)
    if size:
        yield part.SerializeToString()
