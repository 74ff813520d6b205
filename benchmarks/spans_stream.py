"""The requests that a run sends, with what must be in the store afterwards, worked out from the requests alone."""

import gzip
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.otlp_load import REQUESTS, SPANS, Load
from benchmarks.receive import as_json
from eventflow.domain.edge import EdgeKey, Histogram

ROUNDS = 16
"""Made; what goes beyond is patched."""
ERROR = 2
"""OTLP's status code."""
PUBLISH = 4
"""OTLP's kind of span."""

Edges: TypeAlias = dict[EdgeKey, "Expected"]


@dataclass(slots=True)
class Expected:
    """What an edge adds up to."""

    count: int = 0
    errors: int = 0
    processing: Counter[int] = field(default_factory=Counter)
    """Bucket → durations."""

    def add(self, other: "Expected") -> None:
        self.count += other.count
        self.errors += other.errors
        self.processing.update(other.processing)


@dataclass(slots=True)
class Stream:
    """Whole rounds, so that every order is whole. `bodies` are packed with gzip."""

    bodies: list[bytes]
    edges: Edges

    @property
    def spans(self) -> int:
        return len(self.bodies) * SPANS

    @property
    def orders(self) -> int:
        return self.spans // REQUESTS

    def json(self) -> list[bytes]:
        """The same requests as OTLP/JSON."""
        return [gzip.compress(as_json(gzip.decompress(body)), 6) for body in self.bodies]

    def keep(self, path: Path) -> None:
        path.write_bytes(pickle.dumps(self, 5))

    @staticmethod
    def read(path: Path) -> "Stream":
        found: Stream = pickle.loads(path.read_bytes())  # noqa: S301  # written by this command
        return found

    def part(self, spans: int) -> "Stream":
        """The first of them."""
        return _stream(self.bodies[: _requests(spans)])


def make(spans: int) -> Stream:
    """At least this many spans."""
    load = Load(ROUNDS)
    return _stream([load.gzipped(number) for number in range(_requests(spans))])


def _requests(spans: int) -> int:
    return -(-spans // (SPANS * REQUESTS)) * REQUESTS


def _stream(bodies: list[bytes]) -> Stream:
    return Stream(bodies, _summed(range(len(bodies)), lambda number: gzip.decompress(bodies[number])))


def expected_of(load: Load, numbers: Iterable[int]) -> Edges:
    """What these requests of a load add up to."""
    return _summed(numbers, load.body)


def _summed(numbers: Iterable[int], body: Callable[[int], bytes]) -> Edges:
    """Patched requests add up to what the made ones do."""
    edges: Edges = {}
    made: dict[int, Edges] = {}
    for number in numbers:
        which = number % (ROUNDS * REQUESTS)
        if which not in made:
            made[which] = _edges(body(number))
        for key, expected in made[which].items():
            edges.setdefault(key, Expected()).add(expected)
    return edges


def _edges(body: bytes) -> Edges:
    found: Edges = {}
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = group.resource.attributes[0].value.string_value
        for scope in group.scope_spans:
            for span in scope.spans:
                _add(found, service, span)
    return found


def _add(found: Edges, service: str, span: Span) -> None:
    told = {pair.key: pair.value.string_value for pair in span.attributes}
    if "messaging.system" not in told:
        return
    kind = "publish" if span.kind == PUBLISH else "consume"
    group = told.get("messaging.consumer.group.name", "")
    key = EdgeKey(kind, service, told["messaging.system"], told["messaging.destination.name"], group)  # type: ignore[arg-type]  # one of two words
    failed = span.status.code == ERROR
    bucket = Histogram.bucket(span.end_time_unix_nano - span.start_time_unix_nano)
    found.setdefault(key, Expected()).add(Expected(1, int(failed), Counter([bucket])))


def key_of(span: Span) -> str:
    """The order's correlation id."""
    return next(pair.value.string_value for pair in span.attributes if pair.key == "correlation.id")
