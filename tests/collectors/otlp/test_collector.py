"""The receiver as a collector: starting, ports, stopping."""

import asyncio
import signal
import socket

import httpx
import pytest

from collectors.base import Collector, CollectorError
from collectors.otlp import OtlpReceiver
from eventflow.domain.observations import SourceStatus
from tests.collectors.otlp.conftest import Sink, running
from tests.collectors.otlp.samples import request


def test_it_is_a_collector() -> None:
    receiver = OtlpReceiver()
    assert isinstance(receiver, Collector)
    assert receiver.system == "otlp"


@pytest.mark.parametrize(("which", "variable"), [("http", "EVENTFLOW_OTLP_HTTP"), ("grpc", "EVENTFLOW_OTLP_GRPC")])
async def test_a_taken_port_is_named_with_the_variable_that_changes_it(sink: Sink, which: str, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        receiver = OtlpReceiver(**{"http": "127.0.0.1:0", "grpc": "127.0.0.1:0"} | {which: address})
        with pytest.raises(CollectorError) as caught:
            await asyncio.wait_for(receiver.run(sink), 5)
    assert caught.value.permanent
    assert address.split(":")[1] in str(caught.value)
    assert variable in str(caught.value)


async def test_two_receivers_never_share_a_port(sink: Sink) -> None:
    async with running(OtlpReceiver(None, "127.0.0.1:0"), sink) as first:
        with pytest.raises(CollectorError, match="EVENTFLOW_OTLP_GRPC"):
            await asyncio.wait_for(OtlpReceiver(None, f"127.0.0.1:{first.grpc_port}").run(sink), 5)


@pytest.mark.parametrize("address", ["localhost:http", "127.0.0.1:99999", "nowhere.invalid:4318"])
async def test_an_address_that_is_none_is_said_to_be_so(sink: Sink, address: str) -> None:
    with pytest.raises(CollectorError, match="EVENTFLOW_OTLP_HTTP"):
        await asyncio.wait_for(OtlpReceiver(address, None).run(sink), 20)


async def test_both_ports_are_free_again_once_it_is_cancelled(sink: Sink) -> None:
    receiver = OtlpReceiver("127.0.0.1:0", "127.0.0.1:0")
    async with running(receiver, sink):
        ports = receiver.http_port, receiver.grpc_port
    for port in ports:
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
    assert not receiver.ready.is_set()


async def test_a_request_under_way_is_answered_before_it_stops(sink: Sink) -> None:
    sink.gate = asyncio.Event()
    receiver = OtlpReceiver("127.0.0.1:0", None)
    async with httpx.AsyncClient() as client:
        async with running(receiver, sink):
            url = f"http://127.0.0.1:{receiver.http_port}/v1/traces"
            headers = {"content-type": "application/x-protobuf"}
            answer = asyncio.create_task(client.post(url, content=request().SerializeToString(), headers=headers))
            await asyncio.sleep(0.1)
            asyncio.get_running_loop().call_later(0.1, sink.gate.set)
        assert (await answer).status_code == 200


async def test_the_process_keeps_its_signal_handlers(sink: Sink) -> None:
    handled = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in handled]
    async with running(OtlpReceiver("127.0.0.1:0", None), sink):
        assert [signal.getsignal(number) for number in handled] == before


async def test_a_server_that_ends_by_itself_ends_the_collector_for_a_restart(sink: Sink) -> None:
    task = asyncio.create_task(OtlpReceiver("127.0.0.1:0", None).run(sink))
    await asyncio.sleep(0.2)
    [serving] = [running for running in asyncio.all_tasks() if running.get_name() == "otlp http"]
    serving.cancel()
    with pytest.raises(CollectorError):
        await asyncio.wait_for(task, 5)


async def test_it_goes_on_when_its_status_cannot_be_stored(sink: Sink) -> None:
    sink.blind = True
    async with running(OtlpReceiver("127.0.0.1:0", None), sink) as receiver, httpx.AsyncClient() as client:
        await asyncio.sleep(0.05)
        assert (await client.get(f"http://127.0.0.1:{receiver.http_port}/")).status_code == 200


async def test_one_receiver_can_run_again_after_it_ended(sink: Sink) -> None:
    receiver = OtlpReceiver("127.0.0.1:0", "127.0.0.1:0")
    for _ in range(2):
        async with running(receiver, sink), httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{receiver.http_port}/v1/traces"
            headers = {"content-type": "application/x-protobuf"}
            await client.post(url, content=request().SerializeToString(), headers=headers)
    assert len(sink.spans) == 2
    assert receiver.instrumentation["spans"] == 2


async def test_it_tells_its_status(sink: Sink) -> None:
    async with running(OtlpReceiver("127.0.0.1:0", None), sink):
        await asyncio.sleep(0.05)
    [status] = [seen for seen in sink.seen if isinstance(seen, SourceStatus)]
    assert (status.state, status.address) == ("ok", "HTTP 127.0.0.1:0")
