"""Requests just stored, with their columns, so that the digest needs not read and scan them again.

Kept in memory, or handed on to another process, the one that digests (handed_on.py). Bounded; never the only place of
anything: what is not here is read from the inbox, with the same result.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import lru_cache

from django.conf import settings

from eventflow.store.spans.handed_on import NAPS, Giver, Request, Stored, Takers, giver

FRESH_BYTES = 48 * 1024 * 1024
SLOWEST_SECONDS = 0.01
"""How long each request waits where it is nearly full; half as full and less, none does."""
HALF_FULL, NEARLY_FULL = 0.5, 0.95


class Fresh:
    """The last requests of this process. The fuller it is, the longer senders wait for the digest."""

    def __init__(self, most_bytes: int = FRESH_BYTES, nap: Callable[[float], None] = time.sleep) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, datetime], Request] = OrderedDict()
        self._most_bytes, self._bytes, self._nap = most_bytes, 0, nap
        self._taken = False
        """Whether somebody takes what is kept: a command that only puts spans in has no digest."""

    def add(self, stored: Stored) -> None:
        """Keep what is scanned already, by its id in the inbox. When it is too much, the oldest go."""
        for pk, batch in stored:
            if batch.columns is not None:
                self._wait()
                with self._lock:
                    self._kept[pk, batch.received_at] = (batch.body, batch.columns)
                    self._bytes += len(batch.body)
                    while self._bytes > self._most_bytes:
                        _, (body, _) = self._kept.popitem(last=False)
                        self._bytes -= len(body)

    def _wait(self) -> None:
        """For a while: to read again what is thrown away would cost the digest more than we gain.

        Little by little, so that no sender has to wait for a whole step of the digest.
        """
        naps = NAPS
        while self._taken and (full := self._bytes / self._most_bytes) > HALF_FULL:
            self._nap(SLOWEST_SECONDS * (full - HALF_FULL) / HALF_FULL)
            if full < NEARLY_FULL:
                return
            naps -= 1
            if not naps:
                # Nobody waits again until something is taken.
                self._taken = False

    def take(self, pk: int, received_at: datetime) -> Request | None:
        """Give a request away; None when it is not here."""
        with self._lock:
            found = self._kept.pop((pk, received_at), None)
            if found is not None:
                self._taken = True
                self._bytes -= len(found[0])
                return found
        return None


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
    """Give a request away; None when it is not here."""
    return _kept.take(pk, received_at) or _takers.take(pk, received_at)


def forget_before(pk: int) -> None:
    """Whoever takes saw no older one in the inbox: what others handed on of those gives its room back."""
    _takers.forget_before(pk)
