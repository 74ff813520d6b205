"""Requests just stored, with their columns, so that the digest needs not read and scan them again.

Kept in memory, or handed on to another process, the one that digests (handed_on.py). Bounded; never the only place of
anything: what is not here is read from the inbox, with the same result.
"""

import threading
from collections import OrderedDict
from contextlib import AbstractContextManager
from datetime import datetime
from functools import lru_cache

from django.conf import settings

from eventflow.store.spans.handed_on import Giver, Request, Stored, Takers, giver

FRESH_BYTES = 96 * 1024 * 1024


class Fresh:
    """The last requests of this process; the oldest go when it is too much."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, datetime], Request] = OrderedDict()
        self._bytes = 0

    def add(self, stored: Stored) -> None:
        """Keep what is scanned already, by its id in the inbox."""
        with self._lock:
            for pk, batch in stored:
                if batch.columns is not None:
                    self._kept[pk, batch.received_at] = (batch.body, batch.columns)
                    self._bytes += len(batch.body)
            while self._bytes > FRESH_BYTES:
                _, (body, _) = self._kept.popitem(last=False)
                self._bytes -= len(body)

    def take(self, pk: int, received_at: datetime) -> Request | None:
        """Give a request away; None when it is not here."""
        with self._lock:
            found = self._kept.pop((pk, received_at), None)
            if found is not None:
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
