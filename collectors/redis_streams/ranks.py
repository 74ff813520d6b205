"""Which number an entry has, counted from the first one ever added: what the server's own `lag` gets wrong. Pure.

Redis 7.0, 7.2 before 7.2.7 and 7.4 before 7.4.2 count entries that were trimmed before a group read them as waiting
for ever. Entries added minus the rank of the last delivered one is right, whatever was trimmed.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

EntryId = tuple[int, int]

KEPT = 512
_SEQUENCE_BITS = 20


def entry_id(raw: object) -> EntryId | None:
    """`1700000000000-3` as numbers; None for what is none."""
    if isinstance(raw, bytes):
        milliseconds, _, sequence = raw.partition(b"-")
        if milliseconds.isdigit() and (sequence.isdigit() or not sequence):
            return int(milliseconds), int(sequence or 0)
    return None


def text(entry: EntryId) -> str:
    """An id as commands write it."""
    return f"{entry[0]}-{entry[1]}"


def packed(entry: EntryId) -> int:
    """An id as one number, to be kept as a cursor. A sequence beyond a million is told too low: some are read again."""
    return (entry[0] << _SEQUENCE_BITS) | min(entry[1], (1 << _SEQUENCE_BITS) - 1)


def unpacked(cursor: int) -> EntryId:
    """`packed` undone."""
    return cursor >> _SEQUENCE_BITS, cursor & ((1 << _SEQUENCE_BITS) - 1)


@dataclass(slots=True)
class Ranks:
    """What is known of one stream: some entries and their ranks. Deleting and trimming change no rank."""

    _known: list[tuple[EntryId, int]] = field(default_factory=list)

    def learn(self, entry: EntryId, rank: int) -> None:
        """`entry` is the `rank`-th ever added. What contradicts it belonged to a stream of the same name before."""
        at = bisect_left(self._known, (entry, -1))
        exact = at < len(self._known) and self._known[at][0] == entry
        fits = (at == 0 or self._known[at - 1][1] <= rank) and (
            at == len(self._known) or (self._known[at][1] == rank if exact else self._known[at][1] >= rank)
        )
        if not fits:
            self._known.clear()
            exact = False
        if not exact:
            insort(self._known, (entry, rank))
        if len(self._known) > KEPT:
            del self._known[1::2]  # every second one; the newest are learned again soon

    def of(self, entry: EntryId) -> int | None:
        """Its rank, if that was learned."""
        at = bisect_left(self._known, (entry, -1))
        return self._known[at][1] if at < len(self._known) and self._known[at][0] == entry else None

    def around(self, entry: EntryId) -> tuple[tuple[EntryId, int] | None, tuple[EntryId, int] | None]:
        """The nearest known entries before and after an unknown one: counting from or to them is enough."""
        at = bisect_left(self._known, (entry, -1))
        return self._known[at - 1] if at else None, self._known[at] if at < len(self._known) else None
