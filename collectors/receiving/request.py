"""Reading one HTTP request within limits, and the answer to it: plain ASGI, whatever the protocol above.

Never holds more than the share of the budget it was given; a client that is too slow is asked to come again.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from collectors.receiving.budget import Share
from collectors.receiving.errors import OverloadedError, TooLargeError
from collectors.receiving.inflate import inflated

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = "dict[str, str]"


class GoneError(Exception):
    """The client hung up; nobody is left to answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = field(default=())

    async def send(self, send: Send, *, method: str) -> None:
        """Send it; HEAD gets no body."""
        names = (("content-type", self.content_type), ("content-length", str(len(self.body))), *self.headers)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in names]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else self.body})


def headers_of(scope: Scope) -> Headers:
    """The request's headers by lower-case name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def media_type(headers: Headers) -> str:
    """The content type without its parameters."""
    return headers.get("content-type", "").split(";", 1)[0].strip().lower()


async def read(headers: Headers, receive: Receive, share: Share, limit: int, seconds: float) -> bytes:
    """The body, whole and without its content encoding, at most `limit` bytes of it, sent within `seconds`."""
    body, _ = await read_packed(headers, receive, share, limit, seconds)
    return body


async def read_packed(
    headers: Headers, receive: Receive, share: Share, limit: int, seconds: float
) -> tuple[bytes, tuple[str, bytes]]:
    """The same, and beside it the content encoding with the body as it was sent."""
    try:
        async with asyncio.timeout(seconds):
            sent = await _receive(headers, receive, share, limit)
    except TimeoutError as error:
        raise OverloadedError("the request came too slowly; send it again") from error
    encoding = headers.get("content-encoding", "").strip().lower()
    return await inflated(encoding, sent, limit, share.take), (encoding, sent)


async def _receive(headers: Headers, receive: Receive, share: Share, limit: int) -> bytes:
    too_large = TooLargeError(f"the request is larger than {limit} bytes")
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise too_large
        share.take(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)
