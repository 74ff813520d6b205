"""The Zipkin receiver from outside: 202 when durable, and what it says when it is not."""

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest

from collectors.base import Collector, CollectorError
from collectors.otlp import parse
from collectors.zipkin import ZipkinReceiver
from eventflow.domain.observations import SourceStatus
from tests.collectors.otlp.conftest import Sink
from tests.collectors.zipkin.samples import kafka_hop, span

JSON = {"content-type": "application/json"}
BODY = orjson.dumps(kafka_hop())


def receiver(address: str = "127.0.0.1:0", tokens: tuple[str, ...] = ()) -> ZipkinReceiver:
    return ZipkinReceiver(address, lambda body: parse.from_protobuf(body).spans, max_bytes=100_000, tokens=tokens)


@contextlib.asynccontextmanager
async def sending(sink: Sink, tokens: tuple[str, ...] = ()) -> AsyncIterator[httpx.AsyncClient]:
    made = receiver(tokens=tokens)
    task = asyncio.create_task(made.run(sink))
    try:
        await asyncio.wait_for(made.ready.wait(), 10)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{made.port}") as client:
            yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def sink() -> Sink:
    return Sink()


async def post(client: httpx.AsyncClient, body: bytes = BODY, **headers: str) -> httpx.Response:
    sent = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/api/v2/spans", content=body, headers=sent)


async def test_accepted_spans_are_kept_as_otlp(sink: Sink) -> None:
    async with sending(sink) as client:
        response = await post(client)
    assert (response.status_code, response.content) == (202, b"")
    assert [one.service for one in sink.spans] == ["checkout", "billing", "billing"]
    assert parse.from_protobuf(sink.batches[0].body).spans == sink.batches[0].spans


async def test_gzip_is_undone_and_a_bomb_is_not(sink: Sink) -> None:
    async with sending(sink) as client:
        assert (await post(client, gzip.compress(BODY), content_encoding="gzip")).status_code == 202
        assert (await post(client, gzip.compress(bytes(10_000_000)), content_encoding="gzip")).status_code == 413
        assert (await post(client, bytes(200_000))).status_code == 413
    assert len(sink.batches) == 1


async def test_what_cannot_be_stored_is_asked_for_again(sink: Sink) -> None:
    sink.failure = CollectorError("disk full")
    async with sending(sink) as client:
        response = await post(client)
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


async def test_bad_requests_are_told_what_is_wrong(sink: Sink) -> None:
    async with sending(sink) as client:
        assert (await post(client, b"{}")).status_code == 400
        assert (await post(client, content_type="application/x-protobuf")).status_code == 415
        assert (await post(client, origin="https://elsewhere.example")).status_code == 403
        assert (await client.post("/api/v1/spans", content=BODY)).status_code == 404
        assert (await client.get("/api/v2/spans")).status_code == 405
        assert "POST /api/v2/spans" in (await client.get("/")).text
    assert sink.batches == []


async def test_a_left_out_span_is_named_in_the_answer(sink: Sink) -> None:
    async with sending(sink) as client:
        response = await post(client, orjson.dumps([span(), span(timestamp=None, name="late")]))
    assert response.status_code == 202
    assert response.text.startswith("1 left out; the first because timestamp")


async def test_with_tokens_a_sender_needs_one(sink: Sink) -> None:
    async with sending(sink, tokens=("first", "second")) as client:
        refused = await post(client)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "EVENTFLOW_INGEST_TOKENS" in refused.text
        assert "second" not in refused.text
        assert (await post(client, authorization="Bearer wrong")).status_code == 401
        assert (await post(client, authorization="Bearer second")).status_code == 202


async def test_a_taken_port_stops_the_source_and_names_the_variable(sink: Sink) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CollectorError, match="EVENTFLOW_ZIPKIN") as caught:
            await asyncio.wait_for(receiver(f"127.0.0.1:{taken.getsockname()[1]}").run(sink), 5)
    assert caught.value.permanent


async def test_it_is_a_collector_and_tells_its_status(sink: Sink) -> None:
    assert isinstance(receiver(), Collector)
    async with sending(sink):
        await asyncio.sleep(0.05)
    [status] = [seen for seen in sink.seen if isinstance(seen, SourceStatus)]
    assert (status.state, status.system) == ("ok", "zipkin")
