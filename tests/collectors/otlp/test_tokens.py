"""Ingest tokens on OTLP: without one nothing is taken, over HTTP as over gRPC, and the refusal says what to set."""

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from collectors.otlp import OtlpReceiver
from collectors.receiving.errors import UnauthenticatedError
from collectors.receiving.tokens import Gate
from tests.collectors.otlp.conftest import Sink, running
from tests.collectors.otlp.samples import request

PROTOBUF = {"content-type": "application/x-protobuf"}
BODY = request().SerializeToString()


@pytest.fixture
async def guarded(sink: Sink) -> AsyncIterator[OtlpReceiver]:
    async with running(OtlpReceiver("127.0.0.1:0", "127.0.0.1:0", tokens=("old-secret", "new-secret")), sink) as made:
        yield made


@pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer wrong", "Basic old-secret", "old-secret", "Bearer \xff"])
async def test_http_refuses_who_has_no_token(guarded: OtlpReceiver, sink: Sink, sent: str | None) -> None:
    headers = PROTOBUF | ({} if sent is None else {"authorization": sent.encode("latin-1")})
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{guarded.http_port}/v1/traces"
        response = await client.post(url, content=BODY, headers=headers)  # type: ignore[arg-type]  # bytes are fine
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    status = Status.FromString(response.content)
    assert status.code == code_pb2.UNAUTHENTICATED
    assert "EVENTFLOW_INGEST_TOKENS" in status.message
    assert "secret" not in status.message
    assert sink.batches == []


@pytest.mark.parametrize("sent", ["Bearer old-secret", "bearer new-secret"])
async def test_http_takes_either_token(guarded: OtlpReceiver, sink: Sink, sent: str) -> None:
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{guarded.http_port}/v1/traces"
        assert (await client.post(url, content=BODY, headers=PROTOBUF | {"authorization": sent})).status_code == 200
    assert len(sink.spans) == 1


async def test_grpc_refuses_who_has_no_token_and_takes_who_has_one(guarded: OtlpReceiver, sink: Sink) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        export = TraceServiceStub(channel).Export
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await export(request(), metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "EVENTFLOW_INGEST_TOKENS" in str(caught.value.details())
        assert sink.batches == []
        await export(request(), metadata=(("authorization", "Bearer new-secret"),))
    assert len(sink.spans) == 1


def test_without_tokens_everybody_may_send_and_no_token_can_be_read_off_the_gate() -> None:
    Gate().check(None)
    gate = Gate(["secret"])
    assert "secret" not in repr(vars(gate))
    with pytest.raises(UnauthenticatedError):
        gate.check("Bearer secret2")
