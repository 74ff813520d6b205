"""Finds flows by what their spans say: an attribute of a configured key and its value.

The index names every chunk that holds the value; of very many, those nearest to the time asked for are looked at, and
the answer says how many. Never a flow whose spans don't hold the value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eventflow.store.models import Chunk
from eventflow.store.spans import form, index, values
from eventflow.store.spans.load import Reader
from eventflow.store.spans.opened import opened
from eventflow.store.spans.rows import select
from eventflow.store.spans.text import LAST_NS

MOST_CHUNKS = 128
MOST_SPANS = 5_000
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Found:
    """The keys of flows with a value, and in how many of the chunks that may hold it they were looked for."""

    keys: frozenset[str]
    chunks: int = 0
    of: int = 0


def searched() -> Sequence[str]:
    """The attributes that flows are found by."""
    return form.form().searched


def flows_with(name: str, value: str, since_ns: int | None = None, until_ns: int | None = None) -> Found:
    """The flows in which a span has this attribute with a value that reads like this, those of that time first."""
    if name not in searched():
        return Found(frozenset())
    wanted = values.of_text(name, value, form.form())
    named = {chunk for chunks in index.chunks_of(index.shortened(wanted).tolist()).values() for chunk in chunks}
    places = _nearest(named, since_ns or 0, LAST_NS if until_ns is None else until_ns)
    keys: set[str] = set()
    traces: set[str] = set()
    looked = spans = 0
    while looked < min(len(places), MOST_CHUNKS) and spans < MOST_SPANS:
        part = places[looked : min(looked + AT_ONCE, MOST_CHUNKS)]
        for chunk in opened(part).values():
            rows = values.rows_with(chunk.portion, wanted, form.form())
            spans += len(rows)
            keys |= chunk.keys_on(rows)
            traces.update(map(chunk.trace_id, np.setdiff1d(rows, chunk.keys.row).tolist()))
        looked += len(part)
    for origins in Reader().members(traces).values():
        keys.update(origins)
    return Found(frozenset(keys), looked, len(places))


def _nearest(chunks: set[int], since_ns: int, until_ns: int) -> list[int]:
    """The chunks with spans since then: newest first, those that begin after `until_ns` last."""
    rows = select(Chunk, ("id", "first_ns", "last_ns"), {"id": chunks})
    found = [(first >= until_ns, -last, pk) for pk, first, last in rows if last >= since_ns]
    return [pk for _, _, pk in sorted(found)]
