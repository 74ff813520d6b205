"""Spans into chunks: sorted so that a flow's lie together, a few hundred to a chunk, with index entries to find them.

A chunk's body is an ordinary OTLP export request. Packing changes no span and drops none of the rows it is given.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import zstandard

from eventflow.domain.columns import Format
from eventflow.store.models import Chunk
from eventflow.store.spans import arrays, generation, ids, index, values
from eventflow.store.spans.columns import Ints, Portion
from eventflow.store.spans.generation import JUDGED
from eventflow.store.spans.keys import Ids, Keys
from eventflow.store.spans.rows import insert, largest

CHUNK_SPANS = 512
COMPRESSION = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST, window_log=18, hash_log=15, min_match=6, target_length=1, write_content_size=True
)
"""On spans cheaper than zstd's levels 1 and -1, and as small."""


Gathered: TypeAlias = "bytes | bytearray | memoryview[int]"
"""A list of one of these alone is none of those that zstandard says it takes."""
_aside = ThreadPoolExecutor(1, thread_name_prefix="eventflow-zstd")
"""Compresses while the step goes on: zstd needs no lock of Python's."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Chunks, whose bodies are being compressed.

    chunks    spans, first, last of each
    position  of every row of the portion: in which of them it lies; -1 for none
    """

    bodies: "Future[list[bytes]]"
    chunks: Sequence[tuple[int, int, int]]
    position: Ints

    def wait(self) -> None:
        """Until it is compressed: before a transaction keeps others from writing."""
        self.bodies.result()


class Entries:
    """What packed rows are found by: hashes, and beside each the position of a chunk."""

    def __init__(self, hashes: Ints, positions: Ints) -> None:
        self._hashes, self._positions = hashes, positions
        self._run: tuple[int, index.Prepared] | None = None

    def run(self, first: int) -> index.Prepared:
        """A run of the index, if the first chunk gets this id. The last one asked for is kept: it can be prepared."""
        if self._run is None or self._run[0] != first:
            self._run = first, index.prepare(self._hashes, self._positions + first)
        return self._run[1]


def pack(portion: Portion, rows: Ints, flows: Ids, form: Format) -> Packed:
    """Chunks of these rows of a portion; `flows` are the keys of all of its rows."""
    position = np.full(len(portion), -1, np.int64)
    if not len(rows):
        return Packed(_aside.submit(list), (), position)
    number, clusters = _clusters(portion, flows)
    order = rows[arrays.grouped(number[rows], clusters)]
    cuts = np.array(_cuts(number[order]))
    position[order] = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    requests, spans = portion.request[order].astype("<u4").tobytes(), portion.index[order].astype("<u4").tobytes()
    bodies: list[Gathered] = [
        form.gather(portion.bodies, portion.columns, requests[low:high], spans[low:high])
        for low, high in pairwise((4 * cuts).tolist())
    ]
    compressed = _aside.submit(_compressed, bodies)
    firsts = np.minimum.reduceat(portion.start[order], cuts[:-1])
    lasts = np.maximum.reduceat(portion.end[order], cuts[:-1])
    return Packed(compressed, list(zip(np.diff(cuts).tolist(), firsts.tolist(), lasts.tolist(), strict=True)), position)


def _compressed(bodies: list[Gathered]) -> list[bytes]:
    compressor = zstandard.ZstdCompressor(compression_params=COMPRESSION)
    # One call for all: after each one of its own it would wait for Python's lock.
    compressed = compressor.multi_compress_to_buffer(bodies)
    return [compressed[at].tobytes() for at in range(len(bodies))]


def write(packed: Packed, entries: Entries, level: int) -> range:
    """Store chunks with their index; returns their ids. Inside the step's transaction; those of level 0 are still to be
    judged.
    """
    first = max(largest(Chunk), generation.current(JUDGED)) + 1
    bodies = packed.bodies.result()
    pks = range(first, first + len(bodies))
    rows = [(pk, body, *chunk, level) for pk, body, chunk in zip(pks, bodies, packed.chunks, strict=True)]
    insert(Chunk, ("id", "body", "spans", "first_ns", "last_ns", "level"), rows)
    index.write(entries.run(first))
    return pks


def _clusters(portion: Portion, flows: Ids) -> tuple[Ints, int]:
    """The number of what lies together, in order of arrival: the rows of traces that name one key, or of one trace."""
    first, inverse = arrays.distinct(portion.trace)
    named = np.zeros(len(first), np.uint64)
    named[inverse[flows.row]] = flows.hash
    clusters, number = arrays.distinct(np.where(named != 0, named, portion.trace[first]))
    return number[inverse], len(clusters)


def _cuts(clusters: Ints) -> list[int]:
    """Where chunks begin and end: about every `CHUNK_SPANS` rows, between clusters unless one is larger than that."""
    begins = np.flatnonzero(np.concatenate(([True], clusters[1:] != clusters[:-1], [True])))
    cuts = [0]
    for wanted in range(CHUNK_SPANS, len(clusters), CHUNK_SPANS):
        begin = int(begins[np.searchsorted(begins, wanted)])
        cut = begin if begin < wanted + CHUNK_SPANS else wanted
        if cut > cuts[-1]:
            cuts.append(cut)
    return cuts if cuts[-1] == len(clusters) else [*cuts, len(clusters)]


def entries(portion: Portion, packed: Packed, keys: Keys, form: Format) -> Entries:
    """What the packed rows are found by."""
    linked = np.flatnonzero(portion.link_trace != portion.trace[portion.link_row])
    hashes = np.concatenate(
        (
            ids.of_traces(portion.trace),
            ids.of_linked(portion.link_trace[linked]),
            keys.key.hash,
            keys.message.hash,
            values.of_portion(portion, form),
        )
    )
    rows = (np.arange(len(portion)), portion.link_row[linked], keys.key.row, keys.message.row, portion.value_row)
    at = packed.position[np.concatenate(rows)]
    kept = at >= 0
    return Entries(index.shortened(hashes[kept]), at[kept])
