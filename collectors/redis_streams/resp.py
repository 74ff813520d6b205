"""The Redis protocol (RESP2) as bytes: commands written, answers read. Pure; an error reply is a value, not a raise.

Read here and not by redis-py, because a cycle over a thousand streams then costs a fifth of the CPU, and every byte
that we cost the server can be counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Word: TypeAlias = bytes | str | int
Command: TypeAlias = Sequence[Word]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The server's `-CODE text`."""

    code: str
    text: str


class ProtocolError(ValueError):
    """What answers is no Redis server."""


def packed(commands: Iterable[Command]) -> bytes:
    """Commands as the server reads them."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            raw = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


class _Incomplete(Exception):  # noqa: N818 - a signal between two functions, never seen outside
    pass


class Answers:
    """Bytes in, whole answers out. An answer that is not whole yet is tried again once the bytes have doubled."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = 1

    def feed(self, data: bytes) -> list[Any]:
        """Every answer that is whole now."""
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return []
        raw, position, found = bytes(self._buffer), 0, []
        try:
            while position < len(raw):
                value, position = _parse(raw, position)
                found.append(value)
        except _Incomplete:
            pass
        left = len(raw) - position
        del self._buffer[:position]
        # A lone line may become whole with the next byte; a long answer is not parsed anew for every packet.
        self._wanted = left + 1 if left < 65536 else left + left // 2
        return found


def _parse(raw: bytes, position: int) -> tuple[Any, int]:
    end = raw.find(b"\r\n", position)
    if end < 0:
        if len(raw) - position > 65536:
            raise ProtocolError("a line without an end")
        raise _Incomplete
    kind, line, after = raw[position], raw[position + 1 : end], end + 2
    if kind == 36:  # $ a string
        size = _count(line)
        if size < 0:
            return None, after
        if len(raw) < after + size + 2:
            raise _Incomplete
        return raw[after : after + size], after + size + 2
    if kind == 42:  # * a list
        items: list[Any] = []
        for _ in range(_count(line)):
            item, after = _parse(raw, after)
            items.append(item)
        return items, after
    if kind == 58:  # : a number
        return _count(line), after
    if kind == 43:  # + a word
        return line, after
    if kind == 45:  # - a refusal
        code, _, text = line.decode("utf-8", "replace").partition(" ")
        return Refusal(code, text), after
    raise ProtocolError("no answer of a Redis server")


def _count(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise ProtocolError("no number where one is due") from None
