"""OTLP over HTTP as a plain ASGI app: /v1/traces, and /v1/metrics and /v1/logs which are taken but not used.

A 200 means durable. Overload is 503 with Retry-After, never 500 and never 429, which some SDKs don't try again.
Every error is a google.rpc.Status in the request's encoding. Only origins on the allow-list may send from a browser.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

from collectors.otlp.budget import Share
from collectors.otlp.errors import (
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnsupportedMediaError,
)
from collectors.otlp.inflate import inflate
from collectors.otlp.intake import Intake

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

SIGNALS = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
PROTOBUF = "application/x-protobuf"
PROTOBUF_TYPES = (PROTOBUF, "application/protobuf")
JSON = "application/json"
HELP = b"Eventflow receives OpenTelemetry traces here: POST /v1/traces as OTLP/HTTP, protobuf or JSON.\n"
INFLATE_IN_A_THREAD = 2048
"""Fewer bytes than this inflate too little to hold up the event loop, even from a bomb."""
STATUS = {
    400: code_pb2.INVALID_ARGUMENT,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    405: code_pb2.UNIMPLEMENTED,
    413: code_pb2.RESOURCE_EXHAUSTED,
    415: code_pb2.INVALID_ARGUMENT,
    503: code_pb2.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = field(default=())


class _GoneError(Exception):
    """The client hung up; nobody is left to answer."""


class OtlpHttp:
    """The app. `cors`: the origins that may send from a browser, ``*`` for any."""

    def __init__(self, intake: Intake, *, cors: Sequence[str] = (), read_seconds: float = 30.0) -> None:
        self.intake = intake
        self.cors = frozenset(origin.rstrip("/") for origin in cors)
        self.read_seconds = read_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            reply = await self._answer(scope, headers, receive)
        except _GoneError:
            return
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [
                    (name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in (
                        ("content-type", reply.content_type),
                        ("content-length", str(len(reply.body))),
                        *self._cors_headers(headers),
                        *reply.headers,
                    )
                ],
            }
        )
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body})

    async def _answer(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Reply:
        method = scope["method"]
        path = scope["path"].rstrip("/")
        as_json = _media_type(headers) == JSON
        if not path and method in ("GET", "HEAD"):
            return Reply(200, HELP, "text/plain; charset=utf-8")
        if path not in SIGNALS:
            return _error(404, "there is nothing here; traces go to POST /v1/traces", as_json=as_json)
        if "origin" in headers and not self._allowed(headers["origin"]):
            message = "this origin is not on the allow-list (EVENTFLOW_OTLP_CORS)"
            return _error(403, message, as_json=as_json)
        if method == "OPTIONS":
            return _preflight(headers)
        if method != "POST":
            message = f"send this as POST {path}"
            return _error(405, message, as_json=as_json, headers=(("allow", "POST, OPTIONS"),))
        return await self._export(SIGNALS[path], headers, receive, as_json=as_json)

    async def _export(self, signal: str, headers: dict[str, str], receive: Receive, *, as_json: bool) -> Reply:
        intake = self.intake
        with intake.budget.share() as share:
            try:
                media_type = _media_type(headers)
                if not as_json and media_type not in PROTOBUF_TYPES:
                    raise UnsupportedMediaError(f"content-type must be {PROTOBUF} or {JSON}")
                body = await self._inflated(headers, await self._read(headers, receive, share), share)
                answer = await intake.take(signal, body, share, as_json=as_json)
            except RefusedError as error:
                return self._refusal(error, as_json=as_json)
        if as_json:
            return Reply(200, answer.json(signal), JSON)
        return Reply(200, answer.protobuf(signal), media_type)

    async def _read(self, headers: dict[str, str], receive: Receive, share: Share) -> bytes:
        """The body as sent, whole. A client that is too slow is asked to come again: its bytes hold memory."""
        try:
            async with asyncio.timeout(self.read_seconds):
                return await self._receive(headers, receive, share)
        except TimeoutError as error:
            raise OverloadedError("the request came too slowly; send it again") from error

    async def _receive(self, headers: dict[str, str], receive: Receive, share: Share) -> bytes:
        limit = self.intake.max_bytes
        too_large = TooLargeError(f"the request is larger than {limit} bytes")
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise too_large
            share.take(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _inflated(self, headers: dict[str, str], sent: bytes, share: Share) -> bytes:
        limit = self.intake.max_bytes
        encoding = headers.get("content-encoding", "")
        if encoding and len(sent) >= INFLATE_IN_A_THREAD:
            return await asyncio.to_thread(inflate, encoding, sent, limit, share.take)
        return inflate(encoding, sent, limit, share.take)

    def _refusal(self, error: RefusedError, *, as_json: bool) -> Reply:
        status = 400
        headers: tuple[tuple[str, str], ...] = ()
        if isinstance(error, OverloadedError):
            status = 503
            headers = (("retry-after", str(error.retry_seconds)),)
        elif isinstance(error, TooLargeError):
            status = 413
        elif isinstance(error, UnsupportedMediaError):
            status = 415
            headers = (("accept-encoding", "gzip, deflate, zstd"),)
        self.intake.counters[f"refused with {status}"] += 1
        return _error(status, str(error), as_json=as_json, headers=headers)

    def _allowed(self, origin: str) -> bool:
        return "*" in self.cors or origin in self.cors

    def _cors_headers(self, headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
        if not self.cors:
            return ()
        origin = headers.get("origin", "")
        if not origin or not self._allowed(origin):
            return (("vary", "Origin"),)
        return (("access-control-allow-origin", origin), ("vary", "Origin"))


def _media_type(headers: dict[str, str]) -> str:
    return headers.get("content-type", "").split(";", 1)[0].strip().lower()


def _preflight(headers: dict[str, str]) -> Reply:
    asked = headers.get("access-control-request-headers", "content-type, content-encoding")
    return Reply(
        204,
        b"",
        "text/plain",
        (
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", asked),
            ("access-control-max-age", "7200"),
        ),
    )


def _error(status: int, message: str, *, as_json: bool, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    code = STATUS[status]
    if as_json:
        return Reply(status, orjson.dumps({"code": code, "message": message}), JSON, headers)
    return Reply(status, Status(code=code, message=message).SerializeToString(), PROTOBUF, headers)
