"""Spans into the store and out of it, for the store's tests."""

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from eventflow.domain.observations import Span, SpanBatch
from eventflow.store import spans as store
from tests.flow_factory import at
from tests.store.pickled import encode

NOW = at(120_000)
DAY = timedelta(days=1)


def batch(spans: Iterable[Span]) -> SpanBatch:
    spans = tuple(spans)
    return SpanBatch(encode(spans), NOW, spans)


def send(spans: Iterable[Span]) -> None:
    store.append([batch(spans)])


def numbered(pk: int) -> bytes:
    """A body that no other request has."""
    return random.Random(pk).randbytes(1_000 + pk * 3_700 % 40_000)


def digest(now: datetime = NOW) -> store.Digested:
    """One step, and the lines of the flows it touched."""
    done = store.digest(now)
    keys: set[str] = set()
    while found := store.judge(now):
        keys |= found
    return replace(done, flow_keys=frozenset(keys))
