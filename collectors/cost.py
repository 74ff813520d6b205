"""What one look at a source cost it: calls, bytes and time since it began."""

import time
from dataclasses import replace
from typing import Protocol

from eventflow.domain.observations import SourceStatus


class Counting(Protocol):
    """A client that counts what it asked and got."""

    @property
    def calls(self) -> int: ...

    @property
    def received_bytes(self) -> int: ...


class Cost:
    """Begins when it is made."""

    def __init__(self, client: Counting) -> None:
        self._client = client
        self._calls, self._bytes, self._at = client.calls, client.received_bytes, time.perf_counter()

    def on(self, status: SourceStatus) -> SourceStatus:
        """The status with what was spent so far."""
        return replace(
            status,
            calls=self._client.calls - self._calls,
            received_bytes=self._client.received_bytes - self._bytes,
            cycle_seconds=time.perf_counter() - self._at,
        )
