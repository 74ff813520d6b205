"""Files of traces: each format is told by itself, big ones are cut, importing twice changes nothing."""

import gzip
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from eventflow.store import spans
from eventflow.store.models import Chunk
from eventflow.worker import trace_files
from tests.collectors.jaeger.test_parse import document
from tests.collectors.jaeger.test_parse import span as jaeger_span
from tests.collectors.otlp.samples import json_request, json_span
from tests.collectors.zipkin.samples import kafka_hop

NOW = timezone.now()
OTLP = json_request()


def read(content: Any) -> trace_files.TraceFile:
    return trace_files.read(content if isinstance(content, bytes) else orjson.dumps(content), NOW)


@pytest.mark.parametrize(
    ("content", "form", "count"),
    [
        (OTLP, "OTLP", 1),
        ({"batches": OTLP["resourceSpans"]}, "OTLP", 1),
        ({"result": OTLP}, "OTLP", 1),
        (orjson.dumps(OTLP) + b"\n" + orjson.dumps(OTLP) + b"\n", "OTLP", 2),
        (gzip.compress(orjson.dumps(OTLP)), "OTLP", 1),
        (document(jaeger_span()), "Jaeger", 1),
        (kafka_hop(), "Zipkin", 3),
        ([kafka_hop(), kafka_hop()], "Zipkin", 6),
    ],
)
def test_each_format_is_told_by_itself(content: Any, form: str, count: int) -> None:
    found = read(content)
    assert (found.format, found.spans) == (form, count)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"hello\nworld", b"{}", b"5", b"[]", b"null", b'{"resourceSpans":[]}', b"\x1f\x8bx"]
)
def test_what_is_no_trace_file_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(trace_files.TraceFileError):
        read(content)


def test_a_big_file_becomes_batches_of_a_bearable_size_with_every_span() -> None:
    many = [json_span(spanId=f"{number + 1:016x}") for number in range(1_201)]
    found = read(json_request(*many))
    assert [len(batch.spans) for batch in found.batches] == [500, 500, 201]
    assert len({span.span_id for batch in found.batches for span in batch.spans}) == 1_201


@pytest.mark.django_db
def test_the_command_imports_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(orjson.dumps(kafka_hop()))
    for _ in range(2):
        out = StringIO()
        call_command("import_traces", str(path), stdout=out)
        assert out.getvalue() == f"{path}: 3 spans, Zipkin\n"
        spans.digest(timezone.now())
        assert sum(Chunk.objects.values_list("spans", flat=True)) == 3


@pytest.mark.django_db
def test_a_file_that_is_none_does_not_stop_the_others(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(orjson.dumps(OTLP))
    bad.write_bytes(b"{}")
    err = StringIO()
    with pytest.raises(CommandError, match="2 of 3 files"):
        call_command("import_traces", str(bad), str(tmp_path / "none.json"), str(good), stdout=StringIO(), stderr=err)
    assert "holds no traces" in err.getvalue()
    assert spans.inbox_depth() == 1
