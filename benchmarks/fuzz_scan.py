"""The scanners against each other and against whole reading, for as long as you like.

    python -m benchmarks.fuzz_scan [--minutes 10] [--seed 1]

Made-up requests, realistic ones and mutations of both; stops with the first body that breaks one of the promises, and
prints it in hexadecimal with what it broke.
"""

import argparse
import json
import random
import sys
import time
from array import array
from collections import Counter

from hypothesis import HealthCheck, given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.otlp_load import Load
from benchmarks.receive import as_json
from collectors.otlp import json_request
from collectors.receiving.errors import BadRequestError
from tests.collectors.otlp.scan import agreement


class Finding(Exception):  # noqa: N818  # what we look for
    """A promise that is broken."""


class Fuzz:
    """Keeps what all bodies so far have said of each shape."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.formats = [agreement.made(way, agreement.KEYS, agreement.SEARCH) for way in agreement.WAYS]
        self.judged: list[dict[int, object]] = [{} for _ in self.formats]
        self.bodies = self.scanned = 0

    def one(self, body: bytes) -> None:
        """Check one body. Raises Finding."""
        self.bodies += 1
        try:
            found = [agreement.check(form, body) for form in self.formats]
            scanned = [columns for columns in found if columns is not None]
            assert len(scanned) in (0, len(found)), "one takes it and another does not"
            if not scanned:
                return
            self.scanned += 1
            if len({columns.odd for columns in scanned}) > 1:
                # A full table of names is forgotten within a span, which is odd then: once more, with room.
                scanned = [form.scan(body) for form in self.formats]
            for form, columns in zip(self.formats[1:], scanned[1:], strict=True):
                agreement.same(body, (self.formats[0], form), scanned[0], columns)
            for form, columns, judged in zip(self.formats, scanned, self.judged, strict=True):
                agreement.check_odd_warnings(form, body, columns)
                for shape, proof in agreement.proofs_by_shape(form, body, columns):
                    assert judged.setdefault(shape, proof) == proof, "two spans of one shape are judged differently"
                if len(judged) > 100_000:
                    judged.clear()
            spans = array("I", range(scanned[0].count)).tobytes()
            gathered = {form.gather([body], [scanned[0]], bytes(len(spans)), spans) for form in self.formats}
            assert len(gathered) == 1, "they gather differently"
            assert agreement.scanned(self.formats[0], *gathered) is not None, "what was gathered can't be scanned"
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}\n{body.hex()}") from error

    def json(self, body: bytes) -> None:
        """The quick ways from JSON say what the lenient one says, and none fails otherwise than politely."""
        self.bodies += 1
        try:
            quick = [one for form in self.formats if (one := form.from_json(body)) is not None]
            try:
                message = json_request.read(body, Counter())
            except BadRequestError:
                assert not quick, "a quick way takes what the lenient one refuses"
                return
            self.scanned += bool(quick)
            for one in quick:
                assert ExportTraceServiceRequest.FromString(one) == message, "the ways differ"
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}\n{body.hex()}") from error


def in_json(body: bytes) -> tuple[bytes, bytes]:
    """A request as OTLP/JSON, close together, and with spaces and escapes."""
    document = as_json(body)
    return document, json.dumps(json.loads(document), indent=1).encode()


def small(body: bytes, spans: int) -> bytes:
    """The first spans of a request: mutations then hit something more often."""
    request = ExportTraceServiceRequest.FromString(body)
    del request.resource_spans[0].scope_spans[0].spans[spans:]
    return request.SerializeToString()


def run(minutes: float, seed: int) -> Fuzz:
    """Fuzz until the time is over."""
    fuzz = Fuzz(seed)
    chance = fuzz.chance
    end = time.monotonic() + 60 * minutes
    load = Load(rounds=1)
    realistic = [small(load.body(index), 4) for index in range(8)]
    documents = [in_json(small(body, 3)) for body in realistic]

    @given(agreement.requests())
    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def made_up(body: bytes) -> None:
        fuzz.one(body)
        for _ in range(20):
            fuzz.one(agreement.mutated(body, chance))
        for document in in_json(body):
            fuzz.json(document)
            for _ in range(5):
                fuzz.json(agreement.mutated(document, chance))

    while time.monotonic() < end:
        made_up()
        for body, in_both in zip(realistic, documents, strict=True):
            for _ in range(40):
                fuzz.one(agreement.mutated(body, chance))
            for _ in range(10):
                fuzz.json(agreement.mutated(chance.choice(in_both), chance))
    return fuzz


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--minutes", type=float, default=10)
    options.add_argument("--seed", type=int, default=None)
    wanted = options.parse_args()
    seed = random.randrange(2**32) if wanted.seed is None else wanted.seed
    print(f"seed {seed}", flush=True)
    try:
        fuzz = run(wanted.minutes, seed)
    except Finding as finding:
        sys.exit(f"FOUND: {finding}")
    print(f"{fuzz.bodies:,} bodies, {fuzz.scanned:,} of them taken; no finding")


if __name__ == "__main__":
    main()
