"""How many bytes of requests may be in memory at once, over HTTP and gRPC together. Says no instead of waiting."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from collectors.receiving.errors import OverloadedError


class Budget:
    """Counts bytes in flight; used by the event loop and by the threads that inflate and parse."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = Lock()

    @contextmanager
    def share(self) -> "Iterator[Share]":
        """One request's share, given back at the end whatever happens."""
        share = Share(self)
        try:
            yield share
        finally:
            self._take(-share.taken)

    def _take(self, size: int) -> bool:
        with self._lock:
            if size > 0 and self.used + size > self.limit:
                return False
            self.used += size
            return True


class Share:
    """What one request has taken."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.taken = 0

    def take(self, size: int) -> None:
        """Take `size` more bytes. Raises OverloadedError when the budget does not have them."""
        if not self._budget._take(size):
            raise OverloadedError("too many bytes are being received at once; send this again in a moment")
        self.taken += size
