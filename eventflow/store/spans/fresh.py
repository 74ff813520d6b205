"""Requests just stored, with their columns, so that the digest needs not read and scan them again.

Kept in memory, or handed on to another process, the one that digests (handed_on.py). Bounded; never the only place of
anything: what is not here is read from the inbox, with the same result.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import lru_cache

from django.conf import settings

from eventflow.store.spans.handed_on import Giver, Request, Stored, Takers, giver

FRESH_BYTES = 48 * 1024 * 1024
SLOW_BYTES = 32 * 1024 * 1024
"""What senders may send in a second when so much waits as fits into memory; half of it if half as much again waits."""
MOST_TIMES = 8
"""However much waits, they are not slowed down more than by so many times as much."""
AWAY_SECONDS = 10.0
"""A digest that looked at nothing for so long is none that is worth waiting for."""


class Fresh:
    """The requests of this process that wait for its digest. The more of them wait, the longer senders do, too."""

    def __init__(
        self,
        most_bytes: int = FRESH_BYTES,
        nap: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, datetime], Request] = OrderedDict()
        self._most_bytes, self._bytes = most_bytes, 0
        self._waiting: deque[tuple[int, int]] = deque()
        """Ids and sizes of all that waits for a digest here, kept or not."""
        self._waiting_bytes = 0
        self._nap, self._clock = nap, clock
        self._looked_at = -AWAY_SECONDS
        """When the digest looked into the inbox last. A command that only puts spans in has none."""

    def add(self, stored: Stored) -> None:
        """Keep what is scanned already, by its id in the inbox.

        What finds no room is left out, not what is here: that is what the digest asks for next.
        """
        for pk, batch in stored:
            if batch.columns is not None:
                size = len(batch.body)
                if self._clock() - self._looked_at < AWAY_SECONDS:
                    self._wait(size)
                    with self._lock:
                        self._waiting.append((pk, size))
                        self._waiting_bytes += size
                with self._lock:
                    if self._bytes < self._most_bytes:
                        self._kept[pk, batch.received_at] = (batch.body, batch.columns)
                        self._bytes += size

    def _wait(self, size: int) -> None:
        """Little by little, so that nobody waits for a whole step: what is not kept costs the digest twice as much.

        All that waits counts, kept or not: else it would never again come to be less than what fits.
        """
        times = min(2 * self._waiting_bytes / self._most_bytes - 1, MOST_TIMES)
        if times > 0:
            self._nap(times * size / SLOW_BYTES)

    def take(self, pk: int, received_at: datetime) -> Request | None:
        """Give a request away; None when it is not here."""
        with self._lock:
            found = self._kept.pop((pk, received_at), None)
            if found is not None:
                self._bytes -= len(found[0])
                return found
        return None

    def forget_before(self, pk: int) -> None:
        """The digest looks for none older than this."""
        with self._lock:
            self._looked_at = self._clock()
            while self._waiting and self._waiting[0][0] < pk:
                self._waiting_bytes -= self._waiting.popleft()[1]
            while self._kept and next(iter(self._kept))[0] < pk:
                _, (body, _) = self._kept.popitem(last=False)
                self._bytes -= len(body)


_kept = Fresh()
_takers = Takers()


@lru_cache(maxsize=1)
def _giver(descriptors: tuple[int, ...]) -> Giver | None:
    return giver(descriptors)


def channel() -> AbstractContextManager[tuple[int, ...]]:
    """In the process that digests, around one that only receives: what that one needs as EVENTFLOW_HANDED_ON."""
    return _takers.channel()


def add(stored: Stored) -> None:
    """Keep these for the digest, wherever it runs."""
    if not settings.EVENTFLOW_RECEIVER:
        _kept.add(stored)
    elif to := _giver(settings.EVENTFLOW_HANDED_ON):
        to.add(stored)


def take(pk: int, received_at: datetime) -> Request | None:
    """Give a request away, to be looked at until `let_go`; None when it is not here."""
    return _kept.take(pk, received_at) or _takers.take(pk, received_at)


def let_go() -> None:
    """Nobody looks any more at what was taken."""
    _takers.let_go()


def forget_before(pk: int) -> None:
    """Whoever takes saw no older one in the inbox: what is kept of those gives its room back."""
    _kept.forget_before(pk)
    _takers.forget_before(pk)
