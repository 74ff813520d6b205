"""What the receivers do with spans when storing them costs nothing: `python -m benchmarks.receive [--seconds 3]`.

Scan and gather in this process; then a receiver in a process of its own on core 0, fed from here on core 1, with a sink
that keeps nothing: OTLP over HTTP (protobuf and JSON, gzipped) and gRPC, with and without native code.
"""

import argparse
import asyncio
import contextlib
import gzip
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from statistics import median

import grpc
import httptools
import orjson
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.cores import LOAD, SERVER, pinned
from benchmarks.figures import Figure, table
from benchmarks.otlp_load import SPANS, Load
from collectors.otlp import OtlpReceiver
from collectors.otlp.scan import OtlpFormat, native_is_wanted
from collectors.otlp.signals import SERVICES
from eventflow.domain.observations import Observation

CONNECTIONS = 8
REPEATS = 5


def measure(seconds: float = 2.0) -> list[Figure]:
    """All figures."""
    load = Load(rounds=2)
    bodies = [load.body(index) for index in range(16)]
    found = [_parsed(bodies)]
    for native in (True, False) if native_is_wanted() else (False,):
        name = "native" if native else "plain Python"
        found += _scan(bodies, native, name)
        with _receiver(native) as ports, pinned(LOAD):
            sent = [gzip.compress(body, 6) for body in bodies]
            rate = _http(ports[0], "application/x-protobuf", sent, seconds)
            must, aim = (200_000, 400_000) if native else (60_000, 100_000)
            found.append(Figure(f"receive: OTLP/HTTP, {name}", rate, "spans/s", must, aim, more=True))
            rate = _http(ports[0], "application/json", [gzip.compress(as_json(body), 6) for body in bodies], seconds)
            must, aim = (40_000, 50_000) if native else (30_000, 40_000)
            found.append(Figure(f"receive: OTLP/JSON, {name}", rate, "spans/s", must, aim, more=True))
            must, aim = (100_000, 300_000) if native else (50_000, 90_000)
            rate = _grpc(ports[1], bodies, seconds)
            found.append(Figure(f"receive: gRPC, {name}", rate, "spans/s", must, aim, more=True))
    return found


def _parsed(bodies: Sequence[bytes]) -> Figure:
    def read() -> None:
        for body in bodies:
            ExportTraceServiceRequest.FromString(body)

    return Figure("receive: protobuf's own parser, for comparison", _per_span(read, len(bodies)), "µs/span")


def _scan(bodies: Sequence[bytes], native: bool, name: str) -> list[Figure]:
    form = OtlpFormat((), native=native)
    columns = [form.scan(body) for body in bodies]

    def scan() -> None:
        for body in bodies:
            form.scan(body)

    # As a store does: flows are spread over the requests, a chunk has spans of all.
    requests = array("I", list(range(len(bodies))) * 16).tobytes()
    spans = array("I", [number // len(bodies) for number in range(16 * len(bodies))]).tobytes()

    def gather() -> None:
        for _ in range(SPANS // 16):
            form.gather(bodies, columns, requests, spans)

    scanned, gathered = _per_span(scan, len(bodies)), _per_span(gather, len(bodies))
    must, aim = (1.5, 0.5) if native else (20, 8)
    return [
        Figure(f"receive: scan, {name}", scanned, "µs/span", must, aim),
        Figure(f"receive: gather into chunks of 256, {name}", gathered, "µs/span"),
    ]


def _per_span(work: Callable[[], None], requests: int) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return median(times) / (requests * SPANS) * 1e6


def as_json(body: bytes) -> bytes:
    """As OTLP/JSON has it: hexadecimal ids and enums as numbers."""
    message = ExportTraceServiceRequest.FromString(body)
    document = json_format.MessageToDict(message, use_integers_for_enums=True)
    for group, sent in zip(document.get("resourceSpans", ()), message.resource_spans, strict=True):
        for scope, sent_scope in zip(group.get("scopeSpans", ()), sent.scope_spans, strict=True):
            for span, sent_span in zip(scope.get("spans", ()), sent_scope.spans, strict=True):
                span |= {"traceId": sent_span.trace_id.hex(), "spanId": sent_span.span_id.hex()}
                if sent_span.parent_span_id:
                    span["parentSpanId"] = sent_span.parent_span_id.hex()
                for link, sent_link in zip(span.get("links", ()), sent_span.links, strict=True):
                    link |= {"traceId": sent_link.trace_id.hex(), "spanId": sent_link.span_id.hex()}
    return orjson.dumps(document)


@contextlib.contextmanager
def _receiver(native: bool) -> Iterator[tuple[int, int]]:
    """A receiver's HTTP and gRPC ports."""
    command = [sys.executable, "-m", "benchmarks.receive", "--serve"]
    environment = os.environ | {"EVENTFLOW_NATIVE": "1" if native else "0"}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        http, rpc = process.stdout.readline().split()
        yield int(http), int(rpc)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


async def _serve() -> None:
    """Receive until the parent lets go; nothing is kept."""

    async def emit(_: Sequence[Observation]) -> None:
        return

    receiver = OtlpReceiver("127.0.0.1:0", "127.0.0.1:0")
    task = asyncio.create_task(receiver.run(emit))
    await receiver.ready.wait()
    print(receiver.http_port, receiver.grpc_port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class _Answers(asyncio.Protocol):
    """A connection that sends the next request when it has the answer to the last, until `end`."""

    def __init__(self, requests: Iterator[bytes], end: float, counts: list[int]) -> None:
        self.requests, self.end, self.counts = requests, end, counts
        self.gone = asyncio.get_running_loop().create_future()
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(next(self.requests))  # type: ignore[attr-defined]  # of a socket, not of a pipe

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.counts[self.parser.get_status_code() != 200] += 1
        if time.perf_counter() < self.end:
            self.transport.write(next(self.requests))  # type: ignore[attr-defined]  # as above
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(None)


def _http(port: int, media_type: str, bodies: Sequence[bytes], seconds: float) -> float:
    head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Encoding: gzip\r\n"
    requests = cycle([f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies])

    async def send(lasting: float) -> float:
        counts = [0, 0]
        begun = time.perf_counter()
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: _Answers(requests, begun + lasting, counts), "127.0.0.1", port)
            for _ in range(CONNECTIONS)
        ]
        await asyncio.gather(*(protocol.gone for _, protocol in made))
        assert not counts[1], "requests were refused"
        return counts[0] * SPANS / (time.perf_counter() - begun)

    asyncio.run(send(0.5))
    return asyncio.run(send(seconds))


def _grpc(port: int, bodies: Sequence[bytes], seconds: float) -> float:
    requests = cycle(bodies)

    def send(_: int) -> int:
        count = 0
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            export = channel.unary_unary(f"/{SERVICES['traces']}/Export")
            while time.perf_counter() < end:
                export(next(requests))
                count += 1
        return count

    begun = time.perf_counter()
    end = begun + seconds
    with ThreadPoolExecutor(4) as pool:
        count = sum(pool.map(send, range(4)))
    return count * SPANS / (time.perf_counter() - begun)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--seconds", type=float, default=2.0, help="of each load")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    wanted = options.parse_args()
    if wanted.serve:
        with pinned(SERVER):
            try:
                import uvloop  # noqa: PLC0415  # as `manage.py up`: where it is

                uvloop.run(_serve())
            except ImportError:
                asyncio.run(_serve())
        return
    print(table(measure(wanted.seconds)))


if __name__ == "__main__":
    main()
