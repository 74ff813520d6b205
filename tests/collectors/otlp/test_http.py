"""OTLP/HTTP as the specification has it, asked over a real connection."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import zstandard
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from collectors.base import CollectorError
from collectors.otlp import OtlpReceiver
from collectors.otlp.http import OtlpHttp
from collectors.otlp.intake import Intake
from collectors.otlp.scan import OtlpFormat
from tests.collectors.otlp.conftest import Sink, running
from tests.collectors.otlp.samples import json_request, json_span, request, span

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
BODY = request().SerializeToString()


@pytest.fixture
async def client(receiver: OtlpReceiver) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{receiver.http_port}") as made:
        yield made


async def post(client: httpx.AsyncClient, body: bytes, headers: dict[str, str], path: str = "/v1/traces") -> Any:
    return await client.post(path, content=body, headers=headers)


def status_of(response: httpx.Response) -> Status:
    assert response.headers["content-type"] == "application/x-protobuf"
    return Status.FromString(response.content)


async def test_a_full_success_has_no_partial_success(client: httpx.AsyncClient, sink: Sink) -> None:
    response = await post(client, BODY, PROTOBUF)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-protobuf"
    assert not ExportTraceServiceResponse.FromString(response.content).HasField("partial_success")
    assert [batch.body for batch in sink.batches] == [BODY]


async def test_json_is_answered_in_json_and_kept_as_protobuf(client: httpx.AsyncClient, sink: Sink) -> None:
    response = await post(client, orjson.dumps(json_request()), {"content-type": "application/json; charset=utf-8"})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == {}
    assert ExportTraceServiceRequest.FromString(sink.batches[0].body) == request()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY[:40]) + gzip.compress(BODY[40:])),
        ("deflate", zlib.compress(BODY)),
        ("deflate", zlib.compress(BODY, wbits=-15)),
        ("zstd", zstandard.compress(BODY)),
    ],
)
async def test_every_usual_compression_is_undone(
    client: httpx.AsyncClient, sink: Sink, encoding: str, body: bytes
) -> None:
    response = await post(client, body, PROTOBUF | {"content-encoding": encoding})
    assert response.status_code == 200
    assert sink.batches[0].body == BODY


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("body", [b"no such thing", gzip.compress(BODY)[:-9], zlib.compress(BODY)[:-9], b""])
async def test_a_broken_compression_is_a_bad_request(client: httpx.AsyncClient, encoding: str, body: bytes) -> None:
    response = await post(client, body, PROTOBUF | {"content-encoding": encoding})
    assert response.status_code == (400 if body else 200)


async def test_an_unknown_compression_is_an_unsupported_media_type(client: httpx.AsyncClient) -> None:
    response = await post(client, BODY, PROTOBUF | {"content-encoding": "br"})
    assert response.status_code == 415
    assert "gzip" in response.headers["accept-encoding"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_content_type_is_an_unsupported_media_type(client: httpx.AsyncClient, content_type: str) -> None:
    response = await post(client, BODY, {"content-type": content_type})
    assert response.status_code == 415
    assert "application/json" in status_of(response).message


async def test_an_empty_request_succeeds_and_stores_nothing(client: httpx.AsyncClient, sink: Sink) -> None:
    assert (await post(client, b"", PROTOBUF)).content == b""
    assert (await post(client, b"{}", JSON)).json() == {}
    assert (await post(client, b'{"resourceSpans":[]}', JSON)).status_code == 200
    assert sink.batches == []


async def test_bad_data_is_refused_for_good_in_the_senders_own_encoding(client: httpx.AsyncClient) -> None:
    response = await post(client, b"\xff\xff", PROTOBUF)
    assert response.status_code == 400
    assert status_of(response).code == code_pb2.INVALID_ARGUMENT
    response = await post(client, b"{]", JSON)
    assert response.status_code == 400
    assert response.json() == {"code": code_pb2.INVALID_ARGUMENT, "message": "the body is no JSON"}


async def test_a_bad_span_is_rejected_by_name_and_the_good_one_kept(client: httpx.AsyncClient, sink: Sink) -> None:
    bad = span(name="poll orders", trace_id=bytes(16))
    response = await post(client, request(bad, span()).SerializeToString(), PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert response.status_code == 200
    assert partial.rejected_spans == 1
    assert "trace_id must not be all zeros" in partial.error_message
    assert "'poll orders' of 'checkout'" in partial.error_message
    assert ExportTraceServiceRequest.FromString(sink.batches[0].body) == request()


async def test_a_partial_success_in_json_has_its_count_as_text(client: httpx.AsyncClient, sink: Sink) -> None:
    response = await post(client, orjson.dumps(json_request(json_span(traceId="12"))), JSON)
    assert response.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert sink.batches == []


async def test_too_many_bytes_are_refused_as_sent_and_after_decompression(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(100_000)

    for body in (bytes(1_000_001), chunks()):
        response = await client.post("/v1/traces", content=body, headers=PROTOBUF)
        assert response.status_code == 413
        assert status_of(response).code == code_pb2.RESOURCE_EXHAUSTED
    for encoding, bomb in (("gzip", gzip.compress(bytes(1_000_001))), ("zstd", zstandard.compress(bytes(1_000_001)))):
        response = await post(client, bomb, PROTOBUF | {"content-encoding": encoding})
        assert response.status_code == 413


async def test_a_chunked_body_without_a_length_is_read_whole(client: httpx.AsyncClient, sink: Sink) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), 10):
            yield BODY[start : start + 10]

    response = await client.post("/v1/traces", content=chunks(), headers=PROTOBUF)
    assert response.status_code == 200
    assert sink.batches[0].body == BODY


@pytest.mark.parametrize("failure", [CollectorError("disk full"), CollectorError("no", permanent=True), KeyError("x")])
async def test_what_cannot_be_stored_is_asked_for_again_and_never_500(
    client: httpx.AsyncClient, sink: Sink, failure: Exception
) -> None:
    sink.failure = failure
    response = await post(client, BODY, PROTOBUF)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert status_of(response).code == code_pb2.UNAVAILABLE
    sink.failure = None
    assert (await post(client, BODY, PROTOBUF)).status_code == 200


async def test_a_mistake_of_our_own_in_reading_is_no_500(sink: Sink) -> None:
    class Broken(OtlpFormat):
        def read_counting(self, *_: Any) -> Any:
            raise RuntimeError("a mistake")

    intake = Intake(sink, max_bytes=10_000, span_format=Broken())
    odd = request(span(end_time_unix_nano=1)).SerializeToString()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(OtlpHttp(intake)), base_url="http://otlp") as client:
        response = await post(client, odd, PROTOBUF)
    assert response.status_code == 400


async def test_columns_come_along_whatever_way_a_request_was_read(client: httpx.AsyncClient, sink: Sink) -> None:
    piece = request(span()).SerializeToString()
    bad = request(span(), span(trace_id=b"short"), span(end_time_unix_nano=1)).SerializeToString()
    # A resource in two parts, as nobody sends it: protobuf reads one whole.
    parts = ExportTraceServiceRequest.FromString(piece).resource_spans[0]
    split = parts.SerializeToString() + ResourceSpans(resource=parts.resource).SerializeToString()
    in_pieces = b"\x0a" + bytes((len(split) & 127 | 128, len(split) >> 7)) + split
    for sent in (piece, bad, in_pieces):
        assert (await post(client, sent, PROTOBUF)).status_code == 200
    assert (await post(client, orjson.dumps(json_request(json_span())), JSON)).status_code == 200
    counts = [batch.columns.count if batch.columns else None for batch in sink.batches]
    assert counts == [1, 2, 1, 1]
    assert [list(batch.columns.odd) for batch in sink.batches if batch.columns] == [[0], [0, 1], [0], [0]]


async def test_success_is_only_said_once_the_spans_are_durable(client: httpx.AsyncClient, sink: Sink) -> None:
    sink.gate = asyncio.Event()
    answer = asyncio.create_task(post(client, BODY, PROTOBUF))
    await asyncio.sleep(0.1)
    assert not answer.done()
    sink.gate.set()
    assert (await answer).status_code == 200


async def test_storing_that_takes_too_long_is_asked_for_again(sink: Sink) -> None:
    sink.gate = asyncio.Event()
    app = OtlpHttp(Intake(sink, max_bytes=10_000, emit_seconds=0.01))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://otlp") as client:
        response = await post(client, BODY, PROTOBUF)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


async def test_more_bytes_than_the_budget_are_asked_for_again_and_the_budget_is_given_back(sink: Sink) -> None:
    sink.gate = asyncio.Event()
    receiver = OtlpReceiver("127.0.0.1:0", None, max_bytes=10_000, in_flight_bytes=8 * len(BODY))
    async with (
        running(receiver, sink),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{receiver.http_port}") as client,
    ):
        first = asyncio.create_task(post(client, BODY, PROTOBUF))
        await asyncio.sleep(0.1)
        refused = await post(client, BODY, PROTOBUF)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        sink.gate.set()
        assert (await first).status_code == 200
        assert (await post(client, BODY, PROTOBUF)).status_code == 200
        assert receiver.instrumentation["refused with 503"] == 1


async def test_a_client_that_stops_sending_is_not_waited_for(sink: Sink) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield BODY[:10]
        await asyncio.sleep(0.2)
        yield BODY[10:]

    app = OtlpHttp(Intake(sink, max_bytes=10_000), read_seconds=0.05)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://otlp") as client:
        response = await client.post("/v1/traces", content=endless(), headers=PROTOBUF)
    assert response.status_code == 503


async def test_a_client_that_hangs_up_leaves_nothing_behind(receiver: OtlpReceiver, sink: Sink) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", receiver.http_port)
    writer.write(
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 999\r\n\r\nab"
    )
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.05)
    assert sink.batches == []


async def test_other_methods_and_paths_say_what_to_do(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/traces")
    assert (response.status_code, response.headers["allow"]) == (405, "POST, OPTIONS")
    assert (await client.post("/v1/profiles", content=b"", headers=JSON)).json()["code"] == code_pb2.NOT_FOUND
    help_line = await client.get("/")
    assert (help_line.status_code, help_line.text.count("\n")) == (200, 1)
    assert (await client.head("/")).status_code == 200


async def test_logs_and_other_metrics_are_taken_and_said_not_to_be_used(
    client: httpx.AsyncClient, receiver: OtlpReceiver, sink: Sink
) -> None:
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add()
    response = await post(client, logs.SerializeToString(), PROTOBUF, "/v1/logs")
    partial = ExportLogsServiceResponse.FromString(response.content).partial_success
    assert (response.status_code, partial.rejected_log_records) == (200, 1)
    assert "not used" in partial.error_message
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add().sum.data_points.add()
    assert (await post(client, metrics.SerializeToString(), PROTOBUF, "/v1/metrics")).status_code == 200
    in_json = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{}, {}]}}]}]}]}
    response = await post(client, orjson.dumps(in_json), JSON, "/v1/metrics")
    assert response.json()["partialSuccess"]["rejectedDataPoints"] == "2"
    assert (await post(client, b"\xff", PROTOBUF, "/v1/metrics")).status_code == 400
    assert receiver.instrumentation["metrics not used"] == 3
    assert sink.batches == []


async def test_only_origins_on_the_list_may_send_from_a_browser(sink: Sink) -> None:
    app = OtlpHttp(Intake(sink, max_bytes=10_000), cors=("https://shop.example",))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://otlp") as client:
        asked = {"origin": "https://shop.example", "access-control-request-headers": "content-type,x-own"}
        preflight = await client.options("/v1/traces", headers=asked | {"access-control-request-method": "POST"})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
        assert preflight.headers["access-control-allow-headers"] == "content-type,x-own"
        sent = await post(client, b"{}", JSON | {"origin": "https://shop.example"})
        assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (200, "https://shop.example")
        foreign = await post(client, orjson.dumps(json_request()), JSON | {"origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert "access-control-allow-origin" not in foreign.headers
        assert (await client.options("/v1/traces", headers={"origin": "https://evil.example"})).status_code == 403
    assert sink.batches == []
