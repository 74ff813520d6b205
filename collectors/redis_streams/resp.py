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


class Answers:
    """Bytes in, whole answers out. Lists that are not whole yet wait on a stack: nothing is read twice."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._open: list[tuple[list[Any], int]] = []

    def feed(self, data: bytes) -> list[Any]:
        """Every answer that is whole now."""
        found: list[Any] = []
        buffer, position = self._buffer, 0
        buffer += data
        while (end := buffer.find(b"\r\n", position)) >= 0:
            kind, line, after = buffer[position], bytes(buffer[position + 1 : end]), end + 2
            value: Any = None
            if kind == _STRING:
                size = _count(line)
                if size >= 0:
                    if len(buffer) < after + size + 2:
                        break
                    value, after = bytes(buffer[after : after + size]), after + size + 2
            elif kind == _LIST:
                size, value = _count(line), []
                if size > 0:
                    self._open.append((value, size))
                    position = after
                    continue
            else:
                value = _simple(kind, line)
            position = after
            self._placed(value, found)
        if end < 0 and len(buffer) - position > _LONGEST_LINE:
            raise ProtocolError("a line without an end")
        del buffer[:position]
        return found

    def _placed(self, value: Any, found: list[Any]) -> None:
        """Put a value where it belongs; a list that it makes whole is a value itself."""
        while self._open:
            items, size = self._open[-1]
            items.append(value)
            if len(items) < size:
                return
            value, _ = self._open.pop()
        found.append(value)


_STRING, _LIST, _NUMBER, _WORD, _ERROR = b"$*:+-"
_LONGEST_LINE = 64 * 1024


def _simple(kind: int, line: bytes) -> Any:
    if kind == _NUMBER:
        return _count(line)
    if kind == _WORD:
        return line
    if kind == _ERROR:
        code, _, text = line.decode("utf-8", "replace").partition(" ")
        return Refusal(code, text)
    raise ProtocolError("no answer of a Redis server")


def _count(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise ProtocolError("no number where one is due") from None
