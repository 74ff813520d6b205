"""Transactions that write spans, one after the other: who waits for SQLite's one writer begins as soon as it is done.

SQLite itself looks again after longer and longer pauses. Who just wrote never overtakes who is next. On PostgreSQL, and
within a transaction, nobody waits here.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connection, transaction

from eventflow.store.spans.claim import lock_path

_mine = threading.local()
"""Each thread has the files of its database open for itself: that is who holds a lock."""


class _File:
    """A file that is locked by one thread at a time; closed when its thread ends."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock(self) -> None:
        """Wait for it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def unlock(self) -> None:
        """Let somebody else have it. The system wakes who waits, and gives it to whoever asks first: often this one."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class _Queue:
    """A thread's way to its turn: who is next waits within the first file, everybody else before it."""

    def __init__(self, path: Path) -> None:
        self._next, self._turn = _File(path.with_name(f"{path.name}-next")), _File(path)

    def wait(self) -> None:
        """Until it is this one's turn."""
        self._next.lock()
        try:
            self._turn.lock()
        finally:
            self._next.unlock()

    def end(self) -> None:
        """It is the next one's turn."""
        self._turn.unlock()


@contextmanager
def writing() -> Iterator[None]:
    """A transaction. Whoever else writes without this waits as SQLite lets it. Raises OSError where no file can be."""
    queue = _queue()
    if queue is None:
        with transaction.atomic():
            yield
        return
    queue.wait()
    try:
        with transaction.atomic():
            yield
    finally:
        queue.end()


def _queue() -> _Queue | None:
    if connection.in_atomic_block:
        return None
    database = str(connection.settings_dict["NAME"])
    if database != getattr(_mine, "database", None):
        path = lock_path("writer")
        _mine.database, _mine.queue = database, None if path is None else _Queue(path)
    queue: _Queue | None = _mine.queue
    return queue
