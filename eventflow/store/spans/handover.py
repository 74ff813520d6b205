"""What was just digested, kept for whoever gives its flows their lines: read once more from there, not from the chunks.

Bounded in bytes; what is not here is opened from the chunks, with the same result. Never the only place of anything.
"""

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eventflow.domain.columns import Body, SpanColumns
from eventflow.store.spans.columns import Flags
from eventflow.store.spans.opened import Opened

KEPT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A request or a chunk, scanned; `fresh` says which of its spans are new to the lines."""

    body: bytes
    columns: SpanColumns
    fresh: Flags


@dataclass(frozen=True, slots=True)
class _Step:
    first: int
    last: int
    parts: tuple[Part, ...]

    def size(self) -> int:
        return sum(len(part.body) for part in self.parts)


class Handover:
    """Steps of the digest by the chunks that they wrote, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: list[_Step] = []

    def put(self, chunks: range, bodies: Sequence[Body], columns: Sequence[SpanColumns], new: Flags) -> None:
        """Keep a step: the requests whose new spans lie in these chunks now.

        Only which chunks these are when it is too much: what waits longest is taken next.
        """
        if not chunks:
            return
        with self._lock:
            parts: tuple[Part, ...] = ()
            if sum(map(len, bodies)) <= KEPT_BYTES - sum(step.size() for step in self._steps):
                cuts = np.cumsum([one.count for one in columns])[:-1]
                parts = tuple(map(Part, map(bytes, bodies), columns, np.split(new, cuts)))
            self._steps.append(_Step(chunks[0], chunks[-1], parts))

    def forget(self) -> None:
        """The store changed behind our back: what its chunks are called may mean something else now."""
        with self._lock:
            self._steps.clear()

    def end_of(self, chunk: int) -> int:
        """The last chunk of the step that wrote this one; itself when that is not known."""
        with self._lock:
            return next((step.last for step in self._steps if step.first <= chunk <= step.last), chunk)

    def take(self, chunks: Collection[int]) -> tuple[list[Part], set[int]]:
        """The steps that wrote nothing but these chunks, and the chunks of theirs. Older steps are forgotten."""
        wanted = set(chunks)
        parts: list[Part] = []
        found: set[int] = set()
        with self._lock:
            for step in self._steps:
                written = range(step.first, step.last + 1)
                if step.parts and wanted.issuperset(written):
                    parts += step.parts
                    found.update(written)
            self._steps = [step for step in self._steps if step.first > max(wanted, default=0)]
        return parts, found


def parts_of(opened: Iterable[Opened], *, fresh: bool) -> list[Part]:
    """Chunks as parts."""
    return [Part(chunk.body, chunk.columns, np.full(chunk.columns.count, fresh)) for chunk in opened]
