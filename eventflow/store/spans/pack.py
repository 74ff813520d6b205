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
from django.db.models import Max

from eventflow.domain.columns import Format
from eventflow.store.models import Chunk
from eventflow.store.spans import arrays, generation, ids, index, values
from eventflow.store.spans.columns import U64, Ints, Portion
from eventflow.store.spans.generation import JUDGED
from eventflow.store.spans.keys import Keys
from eventflow.store.spans.rows import insert

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
    """Chunks ready to be written: bodies, (spans, first, last) each, and index entries by the chunk's position."""

    bodies: "Future[list[bytes]]"
    chunks: Sequence[tuple[int, int, int]]
    hashes: Ints
    positions: Ints

    def wait(self) -> None:
        """Until it is compressed: before a transaction keeps others from writing."""
        self.bodies.result()


def pack(portion: Portion, rows: Ints, keys: Keys, form: Format) -> Packed:
    """Chunks of these rows of a portion."""
    if not len(rows):
        nothing = np.zeros(0, np.int64)
        return Packed(_aside.submit(list), (), nothing, nothing)
    number, clusters = _clusters(portion, keys)
    order = rows[arrays.grouped(number[rows], clusters)]
    cuts = np.array(_cuts(number[order]))
    position = np.full(len(portion), -1, np.int64)
    position[order] = np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))
    requests, spans = portion.request[order].astype("<u4").tobytes(), portion.index[order].astype("<u4").tobytes()
    bodies: list[Gathered] = [
        form.gather(portion.bodies, portion.columns, requests[low:high], spans[low:high])
        for low, high in pairwise((4 * cuts).tolist())
    ]
    firsts = np.minimum.reduceat(portion.start[order], cuts[:-1])
    lasts = np.maximum.reduceat(portion.end[order], cuts[:-1])
    chunks = list(zip(np.diff(cuts).tolist(), firsts.tolist(), lasts.tolist(), strict=True))
    compressed = _aside.submit(_compressed, bodies)
    hashes, positions = _entries(portion, position, keys, values.of_portion(portion, form))
    return Packed(compressed, chunks, hashes, positions)


def _compressed(bodies: list[Gathered]) -> list[bytes]:
    compressor = zstandard.ZstdCompressor(compression_params=COMPRESSION)
    # One call for all: after each one of its own it would wait for Python's lock.
    compressed = compressor.multi_compress_to_buffer(bodies)
    return [compressed[at].tobytes() for at in range(len(bodies))]


def write(packed: Packed, level: int) -> range:
    """Store chunks with their index; returns their ids. Inside the step's transaction; those of level 0 are still to be
    judged.
    """
    last = Chunk.objects.aggregate(last=Max("id"))["last"] or 0
    first = max(last, generation.current(JUDGED)) + 1
    bodies = packed.bodies.result()
    pks = range(first, first + len(bodies))
    rows = [(pk, body, *chunk, level) for pk, body, chunk in zip(pks, bodies, packed.chunks, strict=True)]
    insert(Chunk, ("id", "body", "spans", "first_ns", "last_ns", "level"), rows)
    index.add(packed.hashes, packed.positions + first)
    return pks


def _clusters(portion: Portion, keys: Keys) -> tuple[Ints, int]:
    """The number of what lies together, in order of arrival: the rows of traces that name one key, or of one trace."""
    first, inverse = arrays.distinct(portion.trace)
    named = np.zeros(len(first), np.uint64)
    named[inverse[keys.key.row]] = keys.key.hash
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
