"""Spans into the store and out of it, for the store's tests."""

import pickle
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from eventflow.domain.observations import Span, SpanBatch
from eventflow.store import spans as store
from tests.flow_factory import at

NOW = at(120_000)
DAY = timedelta(days=1)


def decode(body: bytes) -> Sequence[Span]:
    """Test bodies are pickles: the store never looks into them."""
    found: Sequence[Span] = pickle.loads(body)  # noqa: S301  # made by `batch` below
    return found


def batch(spans: Iterable[Span]) -> SpanBatch:
    spans = tuple(spans)
    return SpanBatch(pickle.dumps(spans), NOW, spans)


def send(spans: Iterable[Span]) -> None:
    store.append([batch(spans)])


def digest(now: datetime = NOW) -> store.Digested:
    return store.digest(now, decode=decode)
