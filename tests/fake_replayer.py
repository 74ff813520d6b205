"""A broker that takes messages back, in memory or in a file, behind the Replayer contract. It counts every arrival."""

import json
from pathlib import Path

from collectors.base import CollectorError, Outgoing, Receivers


class MemoryReplayer:
    """Remembers what it took; fails as told."""

    def __init__(self, *errors: CollectorError) -> None:
        self.taken: list[Outgoing] = []
        self.errors = list(errors)
        self.closed = 0

    async def receivers(self, destination: str, group: str | None) -> Receivers:
        return Receivers((group or "",), exact=False)

    async def send(self, message: Outgoing) -> str:
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append(message)
        return f"ORDERS {len(self.taken)}"

    async def close(self) -> None:
        self.closed += 1


class FileReplayer(MemoryReplayer):
    """Writes what it took to a file, so that another process can count it after this one was killed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    async def send(self, message: Outgoing) -> str:
        with self.path.open("a") as file:
            file.write(json.dumps({"token": message.token, "destination": message.destination}) + "\n")
        return "ORDERS 1"
