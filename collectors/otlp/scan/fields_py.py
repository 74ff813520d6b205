"""Protobuf's bytes, field by field, in plain Python. For messages that are known to be sound: it checks nothing."""

from collections.abc import Iterator

from eventflow.domain.columns import Body


def varint(s: bytes, i: int) -> tuple[int, int]:
    """The number at `i`, and where it ends."""
    value = s[i]
    i += 1
    if value < 128:
        return value, i
    value &= 127
    shift = 7
    while True:
        byte = s[i]
        i += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, i
        shift += 7


def encoded(number: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def begun(tag: int, size: int) -> bytes:
    """How a field begins with so many bytes in it."""
    if size < 128:
        return bytes((tag, size))
    if size < 16384:
        return bytes((tag, size & 127 | 128, size >> 7))
    return bytes((tag,)) + encoded(size)


def message(tag: int, content: Body) -> bytes:
    """A field with a message, or text, in it."""
    return begun(tag, len(content)) + content


def fields(s: bytes, i: int, end: int) -> Iterator[tuple[int, int, int]]:
    """A message's fields: tag, and where the value lies."""
    while i < end:
        tag, i = varint(s, i)
        to = _end(s, i, tag)
        if tag & 7 == 2:
            _, i = varint(s, i)
        yield tag, i, to
        i = to


def _end(s: bytes, i: int, tag: int) -> int:
    """Where the value of a field ends that begins at `i`."""
    wire = tag & 7
    if wire == 2:
        size, i = varint(s, i)
        return i + size
    if wire == 0:
        return varint(s, i)[1]
    if wire == 3:  # a group, which nobody has sent for fifteen years, ends where its own end tag stands
        while True:
            inner, i = varint(s, i)
            if inner & 7 == 4:
                return i
            i = _end(s, i, inner)
    return i + (8 if wire == 1 else 4)
