"""Packs chunks anew: many small ones (a quiet system writes some spans a second) into few, one without its old spans.

Changes where spans lie and nothing else. One step is one transaction, bounded in spans.
"""

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from eventflow.store.models import Chunk
from eventflow.store.spans import form, generation, pack, runs
from eventflow.store.spans.columns import Flags, Portion, together
from eventflow.store.spans.generation import JUDGED, PACKED, SPANS, OutdatedError
from eventflow.store.spans.keys import keys_of, read_whole
from eventflow.store.spans.opened import TOP_LEVEL, opened, sizes
from eventflow.store.spans.turn import writing

ENOUGH_CHUNKS = 64
STEP_SPANS = 16_384
SMALL = pack.CHUNK_SPANS // 2
"""Chunks with fewer spans on average are packed together."""


def tidy() -> int:
    """Merge runs of the index and pack small chunks together, one step of each. 0 when there was nothing to do."""
    return runs.merge() + together_again()


def together_again() -> int:
    """Pack the oldest chunks of a level together, if there are enough small ones. Returns how many it looked at."""
    judged = generation.current(JUDGED)
    for level in range(TOP_LEVEL):
        seen = generation.current(PACKED + level)
        taken: list[int] = []
        spans, full = 0, False
        for pk, number in islice(sizes(level, seen, judged), 8 * ENOUGH_CHUNKS):
            full = bool(taken) and spans + number > STEP_SPANS
            if full:
                break
            taken.append(pk)
            spans += number
        # A step of few large ones has to go on as well: the small ones behind them wait.
        if len(taken) < ENOUGH_CHUNKS and not full:
            continue
        if spans < len(taken) * SMALL:
            repack(taken, level + 1)
        else:
            try:
                generation.advance(PACKED + level, seen, taken[-1])
            except OutdatedError:
                return 0
        return len(taken)
    return 0


def repack(chunks: Sequence[int], level: int, keep: Callable[[Portion], Flags] | None = None) -> None:
    """Write the spans of these chunks (those that `keep` says) as new ones and delete them."""
    wire, meanings = form.form(), form.meanings()
    with writing():
        generation.hold(SPANS)
        here = opened(chunks)
        parts = [here[pk] for pk in sorted(here)]
        if parts:
            portion = together([part.body for part in parts], [part.columns for part in parts])
            rows = np.arange(len(portion)) if keep is None else np.flatnonzero(keep(portion))
            meaning = meanings.of(portion)
            odd = read_whole(portion, np.flatnonzero(portion.odd), wire)
            keys = keys_of(portion, meaning, meanings, odd)
            packed = pack.pack(portion, rows, keys.key, wire)
            pack.write(packed, pack.entries(portion, packed, keys, wire), level)
        Chunk.objects.filter(pk__in=chunks).delete()
