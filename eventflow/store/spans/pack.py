"""Spans into chunks: sorted so that a flow's lie together, a few hundred to a chunk, with index entries to find them.

A chunk's body is an ordinary OTLP export request. Packing changes no span and drops none of the rows it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zstandard
from django.db.models import Max

from eventflow.domain.columns import Format
from eventflow.store.models import Chunk
from eventflow.store.spans import generation, ids, index, values
from eventflow.store.spans.columns import U64, Ints, Portion
from eventflow.store.spans.generation import JUDGED
from eventflow.store.spans.keys import Keys
from eventflow.store.spans.rows import insert

CHUNK_SPANS = 256


@dataclass(frozen=True, slots=True)
class Packed:
    """Chunks ready to be written: (body, spans, first, last) each, and index entries by the chunk's position."""

    chunks: Sequence[tuple[bytes, int, int, int]]
    hashes: Ints
    positions: Ints


def pack(portion: Portion, rows: Ints, keys: Keys, form: Format) -> Packed:
    """Chunks of these rows of a portion."""
    if not len(rows):
        nothing = np.zeros(0, np.int64)
        return Packed((), nothing, nothing)
    order = rows[np.lexsort((portion.start[rows], portion.trace[rows], _clusters(portion, keys)[rows]))]
    compress = zstandard.ZstdCompressor(level=1).compress
    chunks = []
    position = np.full(len(portion), -1, np.int64)
    requests = portion.request[order].astype("<u4")
    spans = portion.index[order].astype("<u4")
    cuts = range(0, len(order), CHUNK_SPANS)
    for number, low in enumerate(cuts):
        part = order[low : low + CHUNK_SPANS]
        position[part] = number
        high = low + len(part)
        body = form.gather(portion.bodies, portion.columns, requests[low:high].tobytes(), spans[low:high].tobytes())
        chunks.append((compress(body), len(part), int(portion.start[part].min()), int(portion.end[part].max())))
    hashes, positions = _entries(portion, position, keys, values.of_portion(portion, form))
    return Packed(chunks, hashes, positions)


def write(packed: Packed, level: int) -> None:
    """Store chunks with their index. Inside the step's transaction; those of level 0 are still to be judged."""
    last = Chunk.objects.aggregate(last=Max("id"))["last"] or 0
    first = max(last, generation.current(JUDGED)) + 1
    rows = [(first + at, *chunk, level) for at, chunk in enumerate(packed.chunks)]
    insert(Chunk, ("id", "body", "spans", "first_ns", "last_ns", "level"), rows)
    index.add(packed.hashes, packed.positions + first)


def _clusters(portion: Portion, keys: Keys) -> U64:
    """What lies together: the rows of traces that name one key, else those of one trace."""
    traces, inverse = np.unique(portion.trace, return_inverse=True)
    named = np.zeros(len(traces), np.uint64)
    named[inverse[keys.key.row]] = keys.key.hash
    found: U64 = np.where(named != 0, named, traces)[inverse]
    return found


def _entries(portion: Portion, position: Ints, keys: Keys, searched: U64) -> tuple[Ints, Ints]:
    """(hash, chunk's position) for every id of the packed rows."""
    linked = np.flatnonzero(portion.link_trace != portion.trace[portion.link_row])
    hashes = np.concatenate(
        (
            ids.of_traces(portion.trace),
            ids.of_linked(portion.link_trace[linked]),
            keys.key.hash,
            keys.message.hash,
            searched,
        )
    )
    rows = (np.arange(len(portion)), portion.link_row[linked], keys.key.row, keys.message.row, portion.value_row)
    at = position[np.concatenate(rows)]
    kept = at >= 0
    return index.shortened(hashes[kept]), at[kept]
