"""What two processes of one machine tell each other: lines of JSON over a pair of sockets, on which neither waits."""

import socket
from contextlib import suppress
from typing import Any

import orjson


class Talk:
    """Lines of JSON over one end of a pair of sockets."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._unsent, self._half = bytearray(), b""

    def say(self, what: object) -> None:
        """Something for `send`."""
        self._unsent += orjson.dumps(what, default=tuple) + b"\n"

    def send(self) -> None:
        """Send what was said, as far as the other end has room for it."""
        with suppress(OSError):
            while self._unsent:
                del self._unsent[: self._end.send(self._unsent)]

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._unsent)

    def heard(self) -> list[Any]:
        """What the other end said meanwhile. Raises ValueError for what nobody can have said."""
        with suppress(OSError):
            while part := self._end.recv(65536):
                self._half += part
        *lines, self._half = self._half.split(b"\n")
        return [orjson.loads(line) for line in lines]
