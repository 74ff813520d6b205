"""A chunk opened for reading: its columns, the ids of its rows, and its spans, read whole only when somebody asks.

The last ones opened are kept, because what was just stored is what is read next.
"""

import threading
from collections.abc import Collection, Iterator
from functools import cached_property, lru_cache

import numpy as np
import zstandard

from eventflow.domain.hop import Context
from eventflow.domain.observations import Span
from eventflow.store.models import Chunk
from eventflow.store.spans import form
from eventflow.store.spans.columns import Ints, Portion, together
from eventflow.store.spans.keys import Keys, keys_of, read_whole
from eventflow.store.spans.rows import select

KEPT = 256
_lock = threading.Lock()


class Opened:
    """One chunk."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes = zstandard.ZstdDecompressor().decompress(body)
        self._form = form.form()
        self.columns = self._form.scan(self.body)
        self._spans: dict[int, Span] = {}

    @cached_property
    def portion(self) -> Portion:
        """The rows."""
        return together([self.body], [self.columns])

    @cached_property
    def meaning(self) -> Ints:
        """Every row's shape, by number."""
        return form.meanings().of(self.portion)

    @cached_property
    def keys(self) -> Keys:
        """The ids of the rows."""
        odd = np.flatnonzero(self.portion.odd)
        return keys_of(
            self.portion, self.meaning, form.meanings(), dict(zip(odd.tolist(), self.spans(odd), strict=True))
        )

    @cached_property
    def trace_ids(self) -> list[str]:
        """Every row's trace id, in hex."""
        return [raw.tobytes().hex() for raw in self.portion.trace_ids]

    @cached_property
    def key_of(self) -> dict[int, str]:
        """Row → the key its span carries."""
        keys = self.keys.key
        return {row: keys.text(at) for at, row in enumerate(keys.row.tolist())}

    def keys_on(self, rows: Ints) -> set[str]:
        """The distinct keys that these rows carry."""
        keys = self.keys.key
        at = np.flatnonzero(np.isin(keys.row, rows))
        _, first = np.unique(keys.hash[at], return_index=True)
        return {keys.text(one) for one in at[first].tolist()}

    def context(self, row: int) -> Context:
        """A row's address."""
        return Context(self.trace_ids[row], self.portion.span_ids[row : row + 1].tobytes().hex())

    def linked_traces(self, row: Ints) -> Iterator[tuple[int, str]]:
        """(row, trace id) of every link of these rows."""
        for at in np.flatnonzero(np.isin(self.portion.link_row, row)).tolist():
            yield int(self.portion.link_row[at]), self.portion.link_trace_ids[at].tobytes().hex()

    def spans(self, rows: Ints) -> list[Span]:
        """These rows, whole."""
        missing = np.array([row for row in rows.tolist() if row not in self._spans], np.int64)
        if len(missing):
            self._spans.update(read_whole(self.portion, missing, self._form))
        return [self._spans[row] for row in rows.tolist()]


def opened(chunks: Collection[int]) -> dict[int, Opened]:
    """Chunk id → the chunk, for those that exist."""
    found: dict[int, Opened] = {}
    for pk, body in select(Chunk, ("id", "body"), {"id": chunks}):
        found[pk] = one(bytes(body))
    return found


def one(body: bytes) -> Opened:
    """A chunk by its body."""
    with _lock:
        return _open(id(form.form()), body)


@lru_cache(maxsize=KEPT)
def _open(_: int, body: bytes) -> Opened:
    return Opened(body)
