"""Transactions that write spans, one after the other: who waits for SQLite's one writer begins as soon as it is done.

SQLite itself looks again after longer and longer pauses. On PostgreSQL, and within a transaction, nobody waits here.
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
"""Each thread has the file open for itself: that is who holds a lock."""


class _Queue:
    """A file that is locked by whose turn it is; closed when its thread ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


@contextmanager
def writing() -> Iterator[None]:
    """A transaction. Whoever else writes without this waits as SQLite lets it. Raises OSError where no file can be."""
    queue = _queue()
    if queue is None:
        with transaction.atomic():
            yield
        return
    fcntl.flock(queue.descriptor, fcntl.LOCK_EX)
    try:
        with transaction.atomic():
            yield
    finally:
        fcntl.flock(queue.descriptor, fcntl.LOCK_UN)


def _queue() -> _Queue | None:
    path = None if connection.in_atomic_block else lock_path("writer")
    if path is None:
        return None
    queue: _Queue | None = getattr(_mine, "queue", None)
    if queue is None or queue.path != path:
        queue = _mine.queue = _Queue(path)
    return queue
