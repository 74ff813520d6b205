"""The span engine: how fast spans become durable and readable, how small they are, how fast they are found again.

    python -m benchmarks.spans [--long] [--repeats 9] [--only HTTP "plain Python" …] [--stored 10000000 …]

The server on core 0, the load on core 1, 512-span requests (`otlp_load`). Every run ends with a comparison of what is
stored with what was sent. Ratios are of runs in the same minutes: two processes to one, and with EVENTFLOW_PROTOTYPE
what we do to what the prototype does.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks import child, prototype, spans_reads, spans_run, spans_stream
from benchmarks.cores import SERVER, pinned
from benchmarks.figures import Figure, table
from collectors.otlp.scan import native_is_wanted
from tests.services import PostgresServer, postgres_binaries

READABLE = "until every span can be read"


@dataclass(frozen=True, slots=True)
class Way:
    """A way for spans to come in.

    must, aim  spans/s
    beside     the least and the wanted share of the prototype's rate
    times      the least and the wanted multiple of the first way's rate
    """

    name: str
    sent: str = "HTTP"
    must: float | None = None
    aim: float | None = None
    beside: tuple[float, float] | None = None
    times: tuple[float, float] | None = None
    share: float = 1.0
    """Of the spans of a run."""
    environment: Mapping[str, str] | None = None
    postgres: bool = False


WAYS = (
    Way("HTTP", must=150_000, aim=250_000, beside=(0.5, 0.8)),
    Way("two processes", times=(1.5, 1.8), environment={"EVENTFLOW_INGEST_PROCESSES": "2"}),
    Way("plain Python", must=50_000, beside=(0.4, 0.7), share=0.5, environment={"EVENTFLOW_NATIVE": "0"}),
    Way("PostgreSQL", must=100_000, aim=120_000, postgres=True),
    Way("OTLP/JSON", "JSON", must=40_000, aim=50_000, share=0.25),
    Way("gRPC", "gRPC", must=100_000, aim=150_000, share=0.5),
    Way("gRPC, not packed", "gRPC, not packed", share=0.5),
)
"""The first one's other figures have bounds too."""
BOUNDS: Mapping[str, tuple[float, float]] = {
    "acknowledgement p99": (100, 30),
    "most memory": (1024, 500),
    "on disk": (90, 75),
}
DETAILS = {READABLE, "until every flow has its line", "acknowledgement p99"}
"""Told of the other ways."""


def measure(
    *, long: bool = False, only: Sequence[str] = (), spans: int = 0, stored: Sequence[int] = (), repeats: int = 0
) -> list[Figure]:
    """The short form, or the long one: more spans, medians of five, or of as many `repeats`."""
    repeats = repeats or (5 if long else 1)
    spans = spans or (1_048_576 if long else 524_288)
    ways = [way for way in WAYS if not only or way.name in only]
    found: list[Figure] = []
    if ways:
        with tempfile.TemporaryDirectory(prefix="eventflow-bench-") as folder:
            stream = spans_stream.make(spans)
            series = []
            for way in ways:
                path = Path(folder) / way.name.replace("/", " ")
                stream.part(int(spans * way.share)).keep(path)
                series.append(_Series(way, path))
            # In turns: a minute in which the machine is slow is one run of each way, not all runs of one.
            for _ in range(repeats):
                for one in series:
                    one.run()
            found += [figure for one in series for figure in one.figures()]
    if not only or "reads" in only:
        found += spans_reads.topology(repeats)
        for many in stored or ((1_000_000, 10_000_000) if long else (1_000_000,)):
            found += spans_reads.measure(many, repeats)
    return found


class _Series:
    """The runs of one way, and those beside them."""

    def __init__(self, way: Way, stream: Path) -> None:
        self._way, self._stream = way, stream
        self._prototype = prototype.folder() if way.beside else None
        self._native = (way.environment or {}).get("EVENTFLOW_NATIVE") != "0"
        self._left_out = way.postgres and postgres_binaries() is None
        self._runs: list[list[Figure]] = []
        self._theirs: list[float] = []
        self._ones: list[float] = []
        if self._left_out:
            print(f"{way.name} is left out: it is not installed")
        elif self._native and not native_is_wanted():
            print(f"{way.name}: without the native scanner, which is not built")

    def run(self) -> None:
        """Once more."""
        if self._left_out:
            return
        if self._prototype:
            self._theirs.append(prototype.rate(self._prototype, native=self._native))
        if self._way.times:
            self._ones.append(_readable(_run(WAYS[0], self._stream)))
        self._runs.append(_run(self._way, self._stream))

    def figures(self) -> Iterator[Figure]:
        """Medians, and those of the ratios of runs that were beside each other."""
        way = self._way
        first = way is WAYS[0]
        for same in zip(*self._runs, strict=True):
            one = replace(same[0], value=median(figure.value for figure in same))
            must, aim = BOUNDS.get(one.name, (None, None)) if first else (None, None)
            if one.name == READABLE:
                must, aim = way.must, way.aim
            if first or one.name in DETAILS:
                yield replace(one, name=f"spans: {way.name}, {one.name}", must=must, aim=aim)
        rates = [_readable(run) for run in self._runs]
        if self._ones and way.times:
            yield _ratio(f"spans: {way.name}, times what one does", rates, self._ones, way.times)
        if self._theirs and way.beside:
            theirs = median(self._theirs)
            yield Figure(f"spans: the prototype beside {way.name}", theirs, "spans/s", more=True)
            yield _ratio(f"spans: {way.name}, share of the prototype's rate", rates, self._theirs, way.beside)


def _ratio(name: str, ours: Sequence[float], others: Sequence[float], bounds: tuple[float, float]) -> Figure:
    return Figure(name, median(one / other for one, other in zip(ours, others, strict=True)), "×", *bounds, more=True)


def _run(way: Way, stream: Path) -> list[Figure]:
    with _environment(way) as environment:
        return child.figures("benchmarks.spans", "run", way.sent, str(stream), environment=environment)


def _readable(run: Sequence[Figure]) -> float:
    return next(figure.value for figure in run if figure.name == READABLE)


@contextmanager
def _environment(way: Way) -> Iterator[Mapping[str, str]]:
    """What the run's processes are told; a PostgreSQL of its own shares the server's core."""
    if not way.postgres:
        yield way.environment or {}
        return
    folder = Path(tempfile.mkdtemp(prefix="eventflow-postgres-"))
    folder.chmod(0o755)
    with pinned(SERVER):
        server = PostgresServer(folder / "cluster").start()
    try:
        yield {"DATABASE_URL": server.url}
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--long", action="store_true", help="1 M spans a run, medians of 5; reads out of 10 M too")
    parser.add_argument("--only", nargs="+", choices=[*(way.name for way in WAYS), "reads"], default=())
    parser.add_argument("--spans", type=int, default=0, help="of a run")
    parser.add_argument("--repeats", type=int, default=0, help="medians of so many runs")
    parser.add_argument("--stored", type=int, nargs="+", default=(), help="when reads are measured, such as 100000000")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.child:
        found = measure(
            long=options.long,
            only=options.only,
            spans=options.spans,
            stored=options.stored,
            repeats=options.repeats,
        )
        print(table(found))
        sys.exit(not all(one.ok for one in found))
    what, *words = options.child
    if what == "run":
        spans_run.main(words[0], Path(words[1]))
    else:
        spans_reads.main(what, int(words[0]) if words else 0)


if __name__ == "__main__":
    main()
