"""Whose turn it is where several processes of one machine digest into one store: locks that end with their process.

On SQLite a locked file beside the database; on PostgreSQL an advisory lock of the connection. Never left behind.
"""

import fcntl
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.db import connection

_threads = threading.RLock()
"""Also one thread at a time: a file is locked by a process."""


@contextmanager
def turn(name: str) -> Iterator[None]:
    """Wait until nobody else has the turn of this name, and have it."""
    with _threads:
        if connection.vendor == "postgresql":
            with _advisory(name):
                yield
        elif (path := _path(name)) is None:
            yield
        else:
            with path.open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield


class Claim:
    """What a process has for as long as it lives: its shard of the inbox. Not to be had by two."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = None if (path := _path(name)) is None else path.open("w")

    def try_it(self) -> bool:
        """Take it, unless somebody else has it."""
        if self._file is None:
            return connection.vendor != "postgresql" or bool(_asked("SELECT pg_try_advisory_lock(%s)", self._name))
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def give_back(self) -> None:
        """End it before the process does."""
        if self._file is not None:
            self._file.close()
        elif connection.vendor == "postgresql":
            _asked("SELECT pg_advisory_unlock(%s)", self._name)


@contextmanager
def _advisory(name: str) -> Iterator[None]:
    _asked("SELECT pg_advisory_lock(%s)", name)
    try:
        yield
    finally:
        # A connection that broke meanwhile has given the lock back already.
        with suppress(Exception):
            _asked("SELECT pg_advisory_unlock(%s)", name)


def _asked(sql: str, name: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql, [zlib.crc32(f"eventflow {name}".encode())])
        return cursor.fetchone()[0]


def _path(name: str) -> Path | None:
    """The file that stands for a name; None on PostgreSQL and for a database in memory, which has one process."""
    database = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or "memory" in database:
        return None
    return Path(f"{database}.{name}")
