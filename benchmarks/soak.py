"""A steady load for as long as one likes: does memory grow, does the index, do acknowledgements or lines fall behind?

python -m benchmarks.soak [--minutes 60] [--rate 60000]

Each minute is told as it ends. What is stored at the end is compared with what was sent, edge by edge.
"""

# ruff: noqa: PLC0415  # Eventflow's settings read the folder made for this process
import argparse
import http.client
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median

from isal.igzip import compress

from benchmarks import child, disk
from benchmarks.cores import LOAD, pinned
from benchmarks.figures import Figure, percentile, table
from benchmarks.otlp_load import SPANS, Load
from benchmarks.spans_run import Server, WrongError, running
from benchmarks.spans_stream import ROUNDS, Edges, expected_of

SENDERS = 8
HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
WARM_UP = 0.2
"""Share of the minutes after which caches are full and growth is counted."""


class Sender:
    """Requests at a steady rate over some connections. One that is answered late does not make the others late."""

    def __init__(self, port: int, rate: float) -> None:
        self._port, self._every = port, SPANS / rate
        self._load, self._numbers, self._lock = Load(ROUNDS), count(), threading.Lock()
        self._begun = time.monotonic()
        self._took: list[float] = []
        self._stopping = False
        self.sent: list[int] = []
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def minute(self) -> list[float]:
        """Seconds that acknowledgements took since this was asked last."""
        with self._lock:
            took, self._took = self._took, []
            return took

    def stop(self) -> None:
        """After the requests under way."""
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            for number in self._due():
                # Not as senders do: at zlib's sixth level this would use up the load's core, and be late by itself.
                body = compress(self._load.body(number), 2)
                begun = time.monotonic()
                connection.request("POST", "/v1/traces", body, HEADERS)
                answer = connection.getresponse()
                answer.read()
                with self._lock:
                    self._took.append(time.monotonic() - begun)
                    (self.sent.append(number) if answer.status == http.client.OK else self.failed.append(str(answer)))
        except Exception as error:  # noqa: BLE001  # told by the main thread
            self.failed.append(repr(error))
        finally:
            connection.close()

    def _due(self) -> Iterator[int]:
        while not self._stopping and not self.failed:
            with self._lock:
                number = next(self._numbers)
            time.sleep(max(0.0, self._begun + number * self._every - time.monotonic()))
            yield number


@dataclass(frozen=True, slots=True)
class Minute:
    """What was seen at its end."""

    memory: float
    """MiB that the server holds."""
    p99: float
    """Milliseconds to an acknowledgement."""
    inbox: int
    """Requests."""
    unlisted: int
    """Spans whose flows have no line yet."""
    runs: int
    """Of the index."""


def soak(minutes: int, rate: float) -> list[Figure]:
    """In the child, whose database the server shares."""
    with running() as server, pinned(LOAD):
        sender = Sender(server.http, rate)
        seen: list[Minute] = []
        try:
            for number in range(minutes):
                time.sleep(60)
                seen.append(_look(server, sender))
                print(f"minute {number + 1}: {seen[-1]}", file=sys.stderr, flush=True)
        finally:
            sender.stop()
        if sender.failed:
            raise WrongError(f"{len(sender.failed)} requests failed, the first with {sender.failed[0]}")
        _wait_until_read()
    _check(sender.sent)
    return _figures(seen, len(sender.sent) * SPANS)


def _look(server: Server, sender: Sender) -> Minute:
    from eventflow.store import spans
    from eventflow.store.models import IndexRun

    return Minute(
        round(server.memory(), 1),
        round(percentile(sender.minute(), 99) * 1000, 1),
        spans.inbox_depth(),
        spans.waiting(),
        IndexRun.objects.count(),
    )


def _wait_until_read() -> None:
    from eventflow.store import spans

    end = time.monotonic() + 300
    while spans.inbox_depth() or spans.waiting():
        if time.monotonic() > end:
            raise WrongError("five minutes later not all is digested")
        time.sleep(0.1)


def _check(sent: Sequence[int]) -> None:
    """Counts and errors of every edge."""
    from datetime import UTC, datetime

    from eventflow.store.queries import topology

    stored = topology.edges(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    found = {edge.key: (edge.count, edge.errors) for edge in stored}
    edges: Edges = expected_of(Load(ROUNDS), sent)
    wanted = {key: (one.count, one.errors) for key, one in edges.items()}
    if found != wanted:
        raise WrongError(f"stored are {found!r:.2000}, sent were {wanted!r:.2000}")


def _figures(seen: Sequence[Minute], spans: int) -> list[Figure]:
    warm = seen[int(len(seen) * WARM_UP) :]
    third = max(1, len(warm) // 3)
    early, late = (
        [median(getattr(one, name) for one in part) for name in ("memory", "p99")]
        for part in (warm[:third], warm[-third:])
    )
    used, _ = disk.used()
    return [
        Figure("soak: spans", spans, "spans", more=True),
        Figure("soak: memory", late[0], "MiB", must=1024, aim=500),
        Figure("soak: memory, last third against first", late[0] / early[0], "×", must=1.1),
        Figure("soak: acknowledgement p99", late[1], "ms", must=100, aim=30),
        Figure("soak: the most requests in the inbox", max(one.inbox for one in warm), "requests"),
        Figure("soak: the most spans without a line", max(one.unlisted for one in warm), "spans"),
        Figure("soak: the most runs of the index", max(one.runs for one in warm), "runs", must=200),
        Figure("soak: on disk", used / spans, "bytes/span", must=90, aim=75),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=60_000, help="spans a second")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    words = ("--minutes", str(options.minutes), "--rate", str(options.rate))
    if options.child:
        child.django()
        child.tell(soak(options.minutes, options.rate))
    else:
        print(table(child.figures("benchmarks.soak", *words)))


if __name__ == "__main__":
    main()
