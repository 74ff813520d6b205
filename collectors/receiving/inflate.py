"""Content encodings, undone within a limit: a bomb is stopped while inflating, never after.

`take` is told of every byte produced and may refuse by raising.
"""

import asyncio
import contextlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import zstandard

from collectors.receiving.errors import BadRequestError, TooLargeError, UnsupportedMediaError

decompressor: Callable[[int], Any] = zlib.decompressobj
errors: tuple[type[Exception], ...] = (zlib.error,)
with contextlib.suppress(ImportError):  # on the processors it knows, twice as fast
    from isal import isal_zlib

    decompressor = isal_zlib.decompressobj
    errors = (isal_zlib.error,)  # type: ignore[assignment]  # its stub takes the class for an instance

ENCODINGS = ("gzip", "deflate", "zstd")
STEP = 1024 * 1024
LARGEST_WINDOW = 8 * STEP


NOW = 2 * STEP
"""Bytes that take a few milliseconds to produce."""
GZIP = b"\x1f\x8b"


async def inflated(encoding: str, body: bytes, limit: int, take: Callable[[int], None]) -> bytes:
    """The same as `inflate`, in the event loop only if it is done in a few milliseconds."""
    found = _inflate_now(encoding, body, limit, take)
    return await asyncio.to_thread(inflate, encoding, body, limit, take) if found is None else found


def _inflate_now(encoding: str, body: bytes, limit: int, take: Callable[[int], None]) -> bytes | None:
    """None where it takes longer than that, however the body was made."""
    if len(body) > NOW:
        return None
    try:
        found = inflate(encoding, body, min(limit, NOW), lambda _: None)
    except TooLargeError:
        return None
    if found is not body:
        take(len(found))
    return found


def inflate(encoding: str, body: bytes, limit: int, take: Callable[[int], None]) -> bytes:
    """`body` without its content encoding, at most `limit` bytes of it."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        accepted = ", ".join(ENCODINGS)
        raise UnsupportedMediaError(f"content-encoding is not supported; send identity, {accepted}")
    chunks: list[bytes] = []
    size = 0
    for chunk in _zstd(body) if encoding == "zstd" else _zlib(encoding, body):
        size += len(chunk)
        if size > limit:
            raise TooLargeError(f"the request is larger than {limit} bytes after decompression")
        take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def _zlib(encoding: str, body: bytes) -> Iterator[bytes]:
    bits = zlib.MAX_WBITS | 16 if encoding == "gzip" else zlib.MAX_WBITS
    if encoding == "deflate" and not _has_zlib_header(body):
        bits = -zlib.MAX_WBITS  # what some clients call deflate
    rest = body
    try:
        while rest:  # a gzip body may have several members
            member = decompressor(bits)
            while not member.eof:
                chunk = member.decompress(rest, STEP)
                rest = member.unconsumed_tail
                yield chunk
                if not chunk and not rest and not member.eof:
                    raise BadRequestError(f"the {encoding} body ends too early")
            rest = member.unused_data.lstrip(b"\0")
    except errors as error:
        raise BadRequestError(f"the body is no {encoding}") from error


def told_by_bytes(body: bytes) -> str:
    """The content encoding that a protobuf message seems to have, empty for none; only gzip is certain."""
    if body.startswith(GZIP):  # no message begins like this
        return "gzip"
    return "deflate" if _has_zlib_header(body) else ""


def _has_zlib_header(body: bytes) -> bool:
    return len(body) >= 2 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def _zstd(body: bytes) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW).stream_reader(body, read_across_frames=True)
    try:
        while chunk := reader.read(STEP):
            yield chunk
    except zstandard.ZstdError as error:
        raise BadRequestError("the body is no zstd, or its window is larger than 8 MiB") from error
