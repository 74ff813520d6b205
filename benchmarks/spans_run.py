"""One run of the whole path: `manage.py up --roles ingest` on a core of its own, a stream sent from the other core.

It ends when every span can be read and every flow has its line; then what is stored is compared with what was sent, and
a difference ends the run with an error. In a child process (`benchmarks.child`), whose database the server shares.
"""

# ruff: noqa: PLC0415  # Eventflow's settings read the folder made for this process
import gzip
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from os import environ, sysconf
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import Request, urlopen

from benchmarks import child, disk
from benchmarks.cores import LOAD, SERVER, pinned
from benchmarks.figures import Figure, percentile
from benchmarks.otlp_load import BEGIN, REQUESTS, SPANS
from benchmarks.spans_send import Sent, over_grpc, over_http
from benchmarks.spans_stream import Expected, Stream
from tests.services import free_port

if TYPE_CHECKING:
    from eventflow.domain.observations import Span

SAMPLES = 50
LONGEST = 600.0
LOOK_SECONDS = 0.025
"""How exact the end is told; looking takes time from a core that may be the server's."""
PER_ORDER = 3
"""Events, and deliveries."""


class WrongError(Exception):
    """What is stored is not what was sent."""


class Server:
    """The running Eventflow."""

    def __init__(self) -> None:
        self.http, self.grpc = free_port(), free_port()
        own = {
            "EVENTFLOW_OTLP_HTTP": f"127.0.0.1:{self.http}",
            "EVENTFLOW_OTLP_GRPC": f"127.0.0.1:{self.grpc}",
            "EVENTFLOW_ZIPKIN": "off",
            "EVENTFLOW_LOG": "ERROR",
        }
        command = [sys.executable, str(Path(__file__).parent.parent / "manage.py"), "up", "--roles", "ingest"]
        with pinned(SERVER) if environ.get("EVENTFLOW_INGEST_PROCESSES", "1") == "1" else nullcontext():
            self.process = subprocess.Popen(command, env=environ | own, stdout=subprocess.DEVNULL)

    def until_ready(self) -> None:
        """Until all of its processes listen and it takes an empty request."""
        empty = Request(f"http://127.0.0.1:{self.http}/v1/traces", b"", {"Content-Type": "application/x-protobuf"})
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.05)
            if not self._listening():
                continue
            with suppress(URLError, ConnectionError), urlopen(empty, timeout=5):
                return
        raise RuntimeError("the server did not start")

    def _listening(self) -> bool:
        """Whether some process listens for HTTP."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(row[1].endswith(f":{self.http:04X}") and row[3] == "0A" for row in rows)

    def _processes(self) -> list[int]:
        """It and the ingest processes that it started."""
        own = self.process.pid
        return [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]

    def most_memory(self) -> float:
        """MiB that one of its processes ever held."""
        return self._held("VmHWM")

    def memory(self) -> float:
        """MiB that the largest of its processes holds."""
        return self._held("VmRSS")

    def _held(self, what: str) -> float:
        lines = [line for pid in self._processes() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return max(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024

    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        found = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._processes()]
        return sum(int(one[11]) + int(one[12]) for one in found) / sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running() -> Iterator[Server]:
    """A server that takes requests."""
    server = Server()
    try:
        server.until_ready()
        yield server
    finally:
        server.stop()


def run(name: str, stream: Stream) -> list[Figure]:
    """Send it all by the way `name`, check it, and say how fast and how small it was."""
    from eventflow.store import spans
    from eventflow.store.models import Inbox

    send = _sender(name, stream)
    with running() as server, pinned(LOAD):
        before = server.cpu()
        sent = send(server)
        _until(lambda: not Inbox.objects.exists() and _stored() == stream.spans)
        readable, readable_cpu = time.perf_counter() - sent.begun, server.cpu() - before
        _until(lambda: not spans.waiting())
        listed, listed_cpu = time.perf_counter() - sent.begun, server.cpu() - before
        memory = server.most_memory()
    _check(stream)
    sizes = _sizes(stream.spans)
    return [
        Figure("until every span can be read", stream.spans / readable, "spans/s", more=True),
        Figure("until every flow has its line", stream.spans / listed, "spans/s", more=True),
        Figure("CPU until every span can be read", readable_cpu / stream.spans * 1e6, "µs/span"),
        Figure("CPU until every flow has its line", listed_cpu / stream.spans * 1e6, "µs/span"),
        Figure("acknowledgement p99", percentile(sent.acknowledged, 99) * 1000, "ms"),
        Figure("most memory", memory, "MiB"),
        *sizes,
    ]


def _sender(name: str, stream: Stream) -> Callable[[Server], Sent]:
    """What is made before the clock runs."""
    if name == "gRPC":
        return lambda server: over_grpc(server.grpc, "gzip", stream.bodies)
    if name == "gRPC, not packed":
        plain = [gzip.decompress(body) for body in stream.bodies]
        return lambda server: over_grpc(server.grpc, "identity", plain)
    if name == "JSON":
        documents = stream.json()
        return lambda server: over_http(server.http, "application/json", documents)
    return lambda server: over_http(server.http, "application/x-protobuf", stream.bodies)


def _stored() -> int:
    from django.db.models import Sum

    from eventflow.store.models import Chunk

    return Chunk.objects.aggregate(spans=Sum("spans"))["spans"] or 0


def _until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not done():
        if time.monotonic() > end:
            raise WrongError(f"after {LONGEST:.0f} s spans are missing still: {_stored():,} are stored")
        time.sleep(LOOK_SECONDS)


def _check(stream: Stream) -> None:
    """Counts, errors, durations of every edge; a line for every order; some orders whole, span by span."""
    from django.db.models import Count, Sum

    from eventflow.store.models import FlowRow
    from eventflow.store.queries import topology

    begin = datetime.fromtimestamp(BEGIN // 1_000_000_000, UTC)
    found = {
        edge.key: (edge, Expected(edge.count, edge.errors))
        for edge in topology.edges(begin - timedelta(hours=1), begin + timedelta(days=2))
    }
    _same("edges", set(found), set(stream.edges))
    for key, (edge, expected) in found.items():
        expected.processing.update({at: count for at, count in enumerate(edge.processing.counts) if count})
        _same(f"the sums of {key}", expected, stream.edges[key])
        _same(f"the waits of {key}", edge.wait.total, edge.count if key.kind == "consume" else 0)
    lines = FlowRow.objects.aggregate(
        number=Count("id"), **{name: Sum(f"pattern__{name}") for name in ("spans", "events", "deliveries")}
    )
    messages = PER_ORDER * stream.orders
    wanted = {"number": stream.orders, "spans": stream.spans, "events": messages, "deliveries": messages}
    _same("lines", lines, wanted)
    _check_flows(stream)


def _check_flows(stream: Stream) -> None:
    from eventflow.store import spans
    from eventflow.worker.digest import decode

    chance = random.Random(3)
    rounds = chance.choices(range(len(stream.bodies) // REQUESTS), k=SAMPLES // 5)
    for number in rounds:
        bodies = stream.bodies[number * REQUESTS : (number + 1) * REQUESTS]
        columns = [decode(gzip.decompress(body)) for body in bodies]
        for order in chance.sample(range(SPANS), SAMPLES // len(rounds)):
            sent: list[Span] = sorted(
                (column[order] for column in columns), key=lambda one: (one.start_ns, one.span_id)
            )
            key = sent[0].correlation_id
            assert key is not None
            _same(f"the spans of {key}", list(spans.flow_spans(key).spans), sent)


def _same(what: str, found: object, sent: object) -> None:
    if found != sent:
        raise WrongError(f"{what}: stored are {found!r:.2000}, sent were {sent!r:.2000}")


def _sizes(spans: int) -> list[Figure]:
    from django.db import connection

    from eventflow.store.models import FlowRow

    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return [Figure("on disk, with what a vacuum frees", cursor.fetchone()[0] / spans, "bytes/span")]

    used, free = disk.used()
    FlowRow.objects.all().delete()
    without, _ = disk.used()
    return [
        Figure("on disk", used / spans, "bytes/span"),
        Figure("on disk, without the lines of flows", without / spans, "bytes/span"),
        Figure("on disk, with pages that are free again", (used + free) / spans, "bytes/span"),
    ]


def main(name: str, stream: Path) -> None:
    """In the child."""
    child.django()
    child.tell(run(name, Stream.read(stream)))
