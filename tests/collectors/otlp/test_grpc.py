"""OTLP/gRPC as the specification has it, asked over a real connection."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from collectors.base import CollectorError
from collectors.otlp import OtlpReceiver
from tests.collectors.otlp.conftest import Sink, running
from tests.collectors.otlp.samples import attribute, request, span

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
async def channel(receiver: OtlpReceiver) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as made:
        yield made


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


COMPRESSIONS = pytest.mark.parametrize("compression", list(grpc.Compression))


@COMPRESSIONS
async def test_a_full_success_has_no_partial_success(
    channel: grpc.aio.Channel, sink: Sink, compression: grpc.Compression
) -> None:
    response = await TraceServiceStub(channel).Export(request(), compression=compression)
    assert not response.HasField("partial_success")
    assert ExportTraceServiceRequest.FromString(sink.batches[0].body) == request()


async def test_a_bad_span_is_rejected_and_the_good_one_kept(channel: grpc.aio.Channel, sink: Sink) -> None:
    response = await TraceServiceStub(channel).Export(request(span(span_id=b"12"), span()))
    assert response.partial_success.rejected_spans == 1
    assert len(sink.spans) == 1


async def test_bad_data_is_an_invalid_argument(channel: grpc.aio.Channel) -> None:
    error = await refused(channel.unary_unary(EXPORT)(b"\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_was_sent_as_gzip_is_kept_as_gzip(channel: grpc.aio.Channel, sink: Sink) -> None:
    await TraceServiceStub(channel).Export(request(*[span()] * 20), compression=grpc.Compression.Gzip)
    assert sink.batches[0].packed is not None
    encoding, body = sink.batches[0].packed
    assert encoding == "gzip"
    assert gzip.decompress(body) == sink.batches[0].body


async def test_a_broken_gzip_is_an_invalid_argument(channel: grpc.aio.Channel) -> None:
    error = await refused(channel.unary_unary(EXPORT)(gzip.compress(request().SerializeToString())[:-9]))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "gzip" in (error.details() or "")


async def test_a_request_that_begins_like_a_compressed_one_is_read_as_it_is(
    channel: grpc.aio.Channel, sink: Sink
) -> None:
    unheard_of = b"\x78\x9c\x01"  # a field of a later version of OTLP
    await channel.unary_unary(EXPORT)(unheard_of + request().SerializeToString())
    assert len(sink.spans) == 1


async def test_a_bomb_is_stopped_by_the_budget_of_all_requests(sink: Sink) -> None:
    receiver = OtlpReceiver(None, "127.0.0.1:0", max_bytes=3_000_000, in_flight_bytes=2_500_000)
    bomb = request(span(attributes=[attribute("filler", "x" * 2_800_000)]))
    async with (
        running(receiver, sink),
        grpc.aio.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel,
    ):
        error = await refused(TraceServiceStub(channel).Export(bomb, compression=grpc.Compression.Gzip))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        await TraceServiceStub(channel).Export(request())
    assert len(sink.batches) == 1


@COMPRESSIONS
async def test_too_large_is_exhausted_without_an_invitation_to_try_again(
    channel: grpc.aio.Channel, sink: Sink, compression: grpc.Compression
) -> None:
    large = request(span(attributes=[attribute("filler", "x" * 1_000_001)]))
    error = await refused(TraceServiceStub(channel).Export(large, compression=compression))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata() or ())
    assert sink.batches == []


async def test_overload_is_unavailable_and_says_when_to_try_again(channel: grpc.aio.Channel, sink: Sink) -> None:
    sink.failure = CollectorError("disk full")
    error = await refused(TraceServiceStub(channel).Export(request()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    details = Status.FromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    retry = RetryInfo()
    assert details.details[0].Unpack(retry)
    assert retry.retry_delay.seconds > 0


async def test_success_is_only_said_once_the_spans_are_durable(channel: grpc.aio.Channel, sink: Sink) -> None:
    sink.gate = asyncio.Event()
    answer = asyncio.ensure_future(TraceServiceStub(channel).Export(request()))
    await asyncio.sleep(0.1)
    assert not answer.done()
    sink.gate.set()
    await answer


async def test_the_budget_holds_for_both_transports_together(sink: Sink) -> None:
    sink.gate = asyncio.Event()
    size = len(request().SerializeToString())
    receiver = OtlpReceiver("127.0.0.1:0", "127.0.0.1:0", max_bytes=10_000, in_flight_bytes=8 * size)
    async with (
        running(receiver, sink),
        grpc.aio.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel,
    ):
        first = asyncio.ensure_future(TraceServiceStub(channel).Export(request()))
        await asyncio.sleep(0.1)
        error = await refused(TraceServiceStub(channel).Export(request()))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        sink.gate.set()
        await first


async def test_logs_are_taken_and_said_not_to_be_used(channel: grpc.aio.Channel) -> None:
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add()
    response = await LogsServiceStub(channel).Export(logs)
    assert response.partial_success.rejected_log_records == 1
