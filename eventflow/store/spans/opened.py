"""A chunk opened for reading: its columns, the ids of its rows, and its spans, read whole only when somebody asks.

The last ones opened are kept, because what was just stored is what is read next.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from functools import cached_property

import numpy as np
from django.db import connection

from eventflow.domain.columns import Format
from eventflow.domain.hop import Context
from eventflow.domain.observations import Span
from eventflow.store.models import Chunk
from eventflow.store.spans import form, ids
from eventflow.store.spans.columns import Flags, Ints, Portion, together
from eventflow.store.spans.keys import Ids, flows_of, messages_of, read_whole
from eventflow.store.spans.page import decompressed
from eventflow.store.spans.rows import select

KEPT = 128
LAST = 2**63 - 1
"""An id above all."""
TOP_LEVEL = 3
"""How often spans are packed anew at most."""
AT_ONCE = 128
"""Chunks whose sizes are asked for at a time."""
_lock = threading.Lock()
_kept: "OrderedDict[int, Opened]" = OrderedDict()


class Opened:
    """One chunk."""

    def __init__(self, packed: bytes, wire: Format) -> None:
        self.packed, self.form = packed, wire
        self.body = decompressed(packed)
        self.columns = wire.scan(self.body)
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
    def keys(self) -> Ids:
        """The flows that the rows name."""
        return flows_of(self.portion, self.meaning, form.meanings(), self._odd())

    @cached_property
    def messages(self) -> Ids:
        """The messages that the rows name."""
        return messages_of(self.portion, self.meaning, form.meanings(), self._odd())

    def _odd(self) -> dict[int, Span]:
        odd = np.flatnonzero(self.portion.odd)
        return dict(zip(odd.tolist(), self.spans(odd), strict=True))

    def trace_id(self, row: int) -> str:
        """A row's trace id, in hex."""
        return bytes(self.portion.trace_ids[row].tobytes()).hex()

    def rows_of(self, key: str) -> set[int]:
        """The rows whose spans carry this key."""
        keys = self.keys
        alike = np.flatnonzero(keys.hash == np.uint64(ids.of_key(key.encode())))
        return {int(keys.row[at]) for at in alike.tolist() if keys.text(at) == key}

    def keys_on(self, rows: Ints) -> set[str]:
        """The distinct keys that these rows carry."""
        keys = self.keys
        distinct = {}
        for at in np.flatnonzero(self._among(rows)[keys.row]).tolist():
            distinct[int(keys.hash[at])] = at
        return {keys.text(at) for at in distinct.values()}

    def context(self, row: int) -> Context:
        """A row's address."""
        return Context(self.trace_id(row), self.portion.span_ids[row : row + 1].tobytes().hex())

    def linked_traces(self, rows: Ints) -> Iterator[tuple[int, str]]:
        """(row, trace id) of every link of these rows."""
        if not len(self.portion.link_row):
            return
        for at in np.flatnonzero(self._among(rows)[self.portion.link_row]).tolist():
            yield int(self.portion.link_row[at]), self.portion.link_trace_ids[at].tobytes().hex()

    def _among(self, rows: Ints) -> Flags:
        found = np.zeros(len(self.portion), bool)
        found[rows] = True
        return found

    def spans(self, rows: Ints) -> list[Span]:
        """These rows, whole."""
        missing = np.array([row for row in rows.tolist() if row not in self._spans], np.int64)
        if len(missing):
            self._spans.update(read_whole(self.portion, missing, self.form))
        return [self._spans[row] for row in rows.tolist()]


def sizes(level: int, after: int, until: int = LAST) -> Iterator[tuple[int, int]]:
    """The next chunks of a level behind the id `after`, by id: (id, how many spans it has). Read as they are asked for:
    very many may wait.
    """
    table = connection.ops.quote_name(Chunk._meta.db_table)
    sql = f"SELECT id, spans FROM {table} WHERE level = %s AND id > %s AND id <= %s ORDER BY id LIMIT %s"  # noqa: S608  # our own table
    while True:
        with connection.cursor() as cursor:
            # Asked in every step: building this with the ORM takes longer than the answer.
            cursor.execute(sql, [level, after, until, AT_ONCE])
            rows = cursor.fetchall()
        yield from rows
        if len(rows) < AT_ONCE:
            return
        after = rows[-1][0]


def packed_anew(after: int) -> list[int]:
    """Of the chunks behind the id `after` those that hold older spans."""
    return [pk for level in range(1, TOP_LEVEL + 1) for pk, _ in sizes(level, after)]


def opened(chunks: Collection[int]) -> dict[int, Opened]:
    """Chunk id → the chunk, for those that exist."""
    return {pk: _one(pk, bytes(body)) for pk, body in select(Chunk, ("id", "body"), {"id": chunks})}


def _one(pk: int, packed: bytes) -> Opened:
    wire = form.form()
    with _lock:
        kept = _kept.get(pk)
        # Another database, or another choice of keys, has another by that id.
        if kept is None or kept.packed != packed or kept.form is not wire:
            kept = _kept[pk] = Opened(packed, wire)
        _kept.move_to_end(pk)
        if len(_kept) > KEPT:
            _kept.popitem(last=False)
        return kept
