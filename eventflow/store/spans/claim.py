"""What only one process may do at a time: a lock that ends with its process.

On SQLite a locked file beside the database; on PostgreSQL an advisory lock of the connection. Never left behind.
"""

import fcntl
import zlib
from contextlib import suppress
from pathlib import Path

from django.db import connection


class Claim:
    """To be taken and given back in one thread: on PostgreSQL it is that thread's connection's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = None if (path := lock_path(name)) is None else path.open("w")

    def try_it(self) -> bool:
        """Take it, unless somebody else has it."""
        if self._file is None:
            return connection.vendor != "postgresql" or self._asked("pg_try_advisory_lock")
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def give_back(self) -> None:
        """End it before the process does. A connection that broke meanwhile has given it back already."""
        if self._file is not None:
            self._file.close()
        elif connection.vendor == "postgresql":
            self._asked("pg_advisory_unlock")

    def _asked(self, function: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s)", [zlib.crc32(f"eventflow {self._name}".encode())])
            return bool(cursor.fetchone()[0])


def lock_path(name: str) -> Path | None:
    """The file that stands for a name; None on PostgreSQL and for a database in memory, which has one process."""
    database = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or "memory" in database:
        return None
    return Path(f"{database}.{name}")
