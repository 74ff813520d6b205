"""A running shop on a real NATS server, and a listener that collects what its services export."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from demo.processes import Shop
from demo.shop import faults, nats_broker
from demo.shop.nats_broker import NatsBroker

HEARD_SECONDS = 0.5  # until every service has heard of a switch


@dataclass(frozen=True)
class SeenSpan:
    service: str
    name: str
    kind: int
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    start: int
    failed: bool
    attributes: dict[str, Any]
    links: list[tuple[bytes, bytes]]
    events: list[str]

    @property
    def correlation_id(self) -> str:
        return str(self.attributes.get("messaging.message.conversation_id", ""))

    @property
    def group(self) -> str:
        return str(self.attributes.get("messaging.consumer.group.name", ""))


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


class Sink:
    """An OTLP/HTTP receiver of a few lines; keeps every span."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[SeenSpan] = []
        sink = self

        class Receive(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sink.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Receive)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def take(self, request: Any) -> None:
        for resource in request.resource_spans:
            names = {item.key: _value(item.value) for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        SeenSpan(
                            service=names["service.name"],
                            name=span.name,
                            kind=span.kind,
                            trace_id=span.trace_id,
                            span_id=span.span_id,
                            parent_id=span.parent_span_id,
                            start=span.start_time_unix_nano,
                            failed=span.status.code == 2,
                            attributes={item.key: _value(item.value) for item in span.attributes},
                            links=[(link.trace_id, link.span_id) for link in span.links],
                            events=[event.name for event in span.events],
                        )
                    )

    def of(self, correlation_id: str) -> list[SeenSpan]:
        return [span for span in self.spans if span.correlation_id == correlation_id]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Shop]:
    """Hardly an order by itself: tests place their own."""
    with Shop(Path(tmp_path_factory.mktemp("shop")), sink.url, rate=0.01, story=False) as shop:
        yield shop


@pytest.fixture
async def broker(shop: Shop) -> Any:
    broker = await nats_broker.connect(shop.url, "test", patient=False)
    yield broker
    for fault in faults.FAULTS:
        await faults.switch(broker, fault, False)
    await broker.close()


@pytest.fixture
def switch_on(broker: NatsBroker) -> Callable[[str], Awaitable[None]]:
    async def switch_on(fault: str) -> None:
        await faults.switch(broker, fault, True)
        await asyncio.sleep(HEARD_SECONDS)

    return switch_on


async def until(look: Callable[[], Any], seconds: float = 10) -> Any:
    """What `look` says, once it says something; its last word when time is up."""
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return found
