"""How many entries wait for a group: the server's word where it is right, else counted, else unknown with the reason.

Promises: never more than there is, zero only with proof. Reads entries only where ids and numbers prove nothing, in
small pages and at most so many in a cycle; what was counted once is remembered, so that a long count happens once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from collectors.redis_streams import parse
from collectors.redis_streams.client import Client
from collectors.redis_streams.parse import Group, Stream
from collectors.redis_streams.ranks import EntryId, Ranks, text
from collectors.redis_streams.resp import Command, Refusal

PAGE_BYTES = 256 * 1024
PAGE_ENTRIES = 500
ROUNDS = 10
"""Pages of one group's count in one cycle."""
AT_MOST = 20
"""Groups that are counted in one cycle."""

COUNTING = "being counted: this Redis release's own lag is wrong after XTRIM (right since 7.2.7 and 7.4.2)"
HOLES = "entries ahead of the group were deleted (XDEL) and too many are left to count them each time"
NOT_ALLOWED = "this Redis release's own lag may be wrong after XTRIM, and XRANGE, which would prove it, is not allowed"


_Seen: TypeAlias = tuple[EntryId, EntryId | None, tuple[EntryId, int] | None]


@dataclass(frozen=True, slots=True)
class Ready:
    """How many wait; None with a reason. `rank`: which number the last delivered entry has, if that is known."""

    count: int | None
    reason: str | None = None
    rank: int | None = None

    def lost(self, stream: Stream) -> int:
        """How many were trimmed away before the group had them."""
        if self.rank is None or self.count is None or stream.added is None or self.count < stream.length:
            return 0
        return max(0, stream.added - self.rank - self.count)


@dataclass(slots=True)
class _Count:
    """Entries after `low` up to and with `high` (None: the end), read page by page over cycles."""

    stream: Stream
    start: EntryId
    low: EntryId
    high: tuple[EntryId, int] | None
    upwards: bool
    total: int = 0
    done: bool = False

    @property
    def page(self) -> int:
        size = max((e.size for e in (self.stream.first, self.stream.newest) if e), default=0)
        return max(10, min(PAGE_ENTRIES, PAGE_BYTES // max(size, 1)))

    def command(self) -> Command:
        high = text(self.high[0]) if self.high else "+"
        return ("XRANGE", self.stream.key, f"({text(self.low)}", high, "COUNT", self.page)

    def take(self, found: list[parse.Entry]) -> None:
        self.total += len(found)
        self.done = len(found) < self.page
        if found:
            self.low = found[-1].id


class Backlogs:
    """Lives as long as its collector. `denied`: XRANGE is not allowed on some stream."""

    def __init__(self) -> None:
        self.trusted = False
        self.denied = False
        self._ranks: dict[bytes, Ranks] = {}
        self._counts: dict[tuple[bytes, bytes], _Count] = {}
        self._holes: dict[tuple[bytes, bytes], tuple[_Seen, Ready]] = {}

    def learn(self, streams: Sequence[Stream]) -> None:
        """The newest entry's rank is told by the server; streams that are gone are forgotten."""
        kept = {stream.key for stream in streams}
        self._ranks = {key: ranks for key, ranks in self._ranks.items() if key in kept}
        self._counts = {key: count for key, count in self._counts.items() if key[0] in kept}
        self._holes = {key: told for key, told in self._holes.items() if key[0] in kept}
        for stream in streams:
            if stream.added is not None:
                self._ranks.setdefault(stream.key, Ranks()).learn(stream.last_generated, stream.added)

    async def ready(self, client: Client, asked: Sequence[tuple[Stream, Group]]) -> list[Ready]:
        """What waits for each group."""
        told = [self._proved(stream, group) for stream, group in asked]
        open_ones = [pair for pair, ready in zip(asked, told, strict=True) if ready is None]
        if open_ones:
            await self._count(client, open_ones[:AT_MOST])
            told = [
                ready
                or self._proved(*pair)
                or self._holed(*pair)
                or Ready(None, NOT_ALLOWED if self.denied else COUNTING)
                for pair, ready in zip(asked, told, strict=True)
            ]
        return [ready for ready in told if ready is not None]

    def _proved(self, stream: Stream, group: Group) -> Ready | None:
        """Without reading an entry, where ids and numbers prove it."""
        at, added = group.last_delivered, stream.added
        if not stream.length or at >= stream.last_generated:
            return Ready(0, rank=added if at >= stream.last_generated else None)
        rank = self._ranks[stream.key].of(at) if stream.key in self._ranks else None
        if stream.first and at < stream.first.id:
            return Ready(stream.length, rank=0 if at == (0, 0) else rank)
        if added is None or stream.holes_after(at):
            return None
        if group.lag is not None and (self.trusted or added == stream.length):
            return Ready(min(group.lag, stream.length), rank=added - group.lag)
        return None if rank is None else Ready(max(0, min(added - rank, stream.length)), rank=rank)

    def _holed(self, stream: Stream, group: Group) -> Ready | None:
        seen, told = self._holes.get((stream.key, group.name), (None, None))
        # Too many to count stay too many until the group moves, however many come in.
        return told if seen in (_seen(stream, group, all_of_it=True), _seen(stream, group, all_of_it=False)) else None

    async def _count(self, client: Client, asked: Sequence[tuple[Stream, Group]]) -> None:
        counts = [(s, g, self._begun(s, g)) for s, g in asked if self._holed(s, g) is None]
        for _ in range(ROUNDS):
            going = [one for _, _, one in counts if not one.done]
            if not going:
                break
            answers = await client.ask([one.command() for one in going])
            for one, answer in zip(going, answers, strict=True):
                if isinstance(answer, Refusal):
                    self.denied = self.denied or answer.code == "NOPERM"
                    return
                one.take(parse.entries(answer))
        # Trimming that overtook the count made it too low, for good if it were remembered.
        still = await client.ask([("XINFO", "STREAM", one.stream.key) for _, _, one in counts])
        for (stream, group, one), answer in zip(counts, still, strict=True):
            now = parse.stream(stream.key, answer)
            if now is None or now.first is None or now.first.id > one.start or now.max_deleted != stream.max_deleted:
                self._counts.pop((stream.key, group.name), None)
            else:
                self._finish(stream, group, one)

    def _begun(self, stream: Stream, group: Group) -> _Count:
        """A new count, or the one that an earlier cycle began and that still helps."""
        key, at = (stream.key, group.name), group.last_delivered
        known = self._counts.get(key)
        whole = known is not None and stream.first is not None and known.start >= stream.first.id
        if known is not None and known.high is not None and known.upwards and known.start <= at and whole:
            return known
        before, after = self._ranks[stream.key].around(at) if stream.key in self._ranks else (None, None)
        if stream.added is None or stream.holes_after(at):
            started = _Count(stream, at, at, None, upwards=True)
        elif before is not None and stream.first is not None and before[0] >= stream.first.id:
            started = _Count(stream, before[0], before[0], (at, before[1]), upwards=False)
        else:
            started = _Count(stream, at, at, after or (stream.last_generated, stream.added), upwards=True)
        self._counts[key] = started
        return started

    def _finish(self, stream: Stream, group: Group, one: _Count) -> None:
        key = (stream.key, group.name)
        if one.high is None:
            self._holes[key] = (
                _seen(stream, group, all_of_it=one.done),
                Ready(one.total) if one.done else Ready(None, HOLES),
            )
        elif one.done and one.upwards:
            self._ranks[stream.key].learn(one.start, one.high[1] - one.total)
        elif one.done:
            self._ranks[stream.key].learn(one.high[0], one.high[1] + one.total)
        if one.done or one.high is None or not one.upwards:
            self._counts.pop(key, None)


def _seen(stream: Stream, group: Group, *, all_of_it: bool) -> _Seen:
    newest = (stream.last_generated, stream.length) if all_of_it else None
    return (group.last_delivered, stream.max_deleted, newest)
