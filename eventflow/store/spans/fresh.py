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

from eventflow.store.spans.handed_on import Giver, Request, Stored, Takers, giver

FRESH_BYTES = 48 * 1024 * 1024
NAPS, SLOWEST_SECONDS = 50, 0.01
"""How often, and how long each time, a request waits where it is full; half as full and less, none does."""
HALF_FULL, NEARLY_FULL = 0.5, 0.95


class Fresh:
    """The requests of this process that wait for its digest. The fuller it is, the longer senders wait, too."""

    def __init__(self, most_bytes: int = FRESH_BYTES, nap: Callable[[float], None] = time.sleep) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, datetime], Request] = OrderedDict()
        self._most_bytes, self._bytes, self._nap = most_bytes, 0, nap
        self._digested = False
        """Whether somebody digests here: a command that only puts spans in waits for nobody."""

    def add(self, stored: Stored) -> None:
        """Keep what is scanned already, by its id in the inbox.

        What finds no room is left out, not what is here: that is what the digest asks for next.
        """
        for pk, batch in stored:
            if batch.columns is not None:
                self._wait()
                with self._lock:
                    if self._bytes < self._most_bytes:
                        self._kept[pk, batch.received_at] = (batch.body, batch.columns)
                        self._bytes += len(batch.body)

    def _wait(self) -> None:
        """For a while: to read again what finds no room would cost the digest more than we gain.

        Little by little, so that no sender has to wait for a whole step of the digest.
        """
        naps = NAPS
        while self._digested and (full := self._bytes / self._most_bytes) > HALF_FULL:
            self._nap(SLOWEST_SECONDS * (full - HALF_FULL) / HALF_FULL)
            if full < NEARLY_FULL:
                return
            naps -= 1
            if not naps:
                # Nobody waits again until the digest asks for something.
                self._digested = False

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
            self._digested = True
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
    """Give a request away; None when it is not here."""
    return _kept.take(pk, received_at) or _takers.take(pk, received_at)


def forget_before(pk: int) -> None:
    """Whoever takes saw no older one in the inbox: what is kept of those gives its room back."""
    _kept.forget_before(pk)
    _takers.forget_before(pk)
