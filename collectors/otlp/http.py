"""OTLP over HTTP as a plain ASGI app: /v1/traces, and /v1/metrics for lag, and /v1/logs which are taken but not used.

A 200 means durable. Overload is 503 with Retry-After, never 500 and never 429, which some SDKs don't try again.
Every error is a google.rpc.Status in the request's encoding. Only origins on the allow-list may send from a browser.
"""

from collections.abc import Sequence
from dataclasses import replace

import orjson
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

from collectors.otlp.intake import Intake
from collectors.receiving.errors import (
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaError,
)
from collectors.receiving.request import GoneError, Receive, Reply, Scope, Send, headers_of, media_type, read_packed
from collectors.receiving.tokens import Gate

SIGNALS = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
PROTOBUF = "application/x-protobuf"
PROTOBUF_TYPES = (PROTOBUF, "application/protobuf")
JSON = "application/json"
HELP = b"Eventflow receives OpenTelemetry traces here: POST /v1/traces as OTLP/HTTP, protobuf or JSON.\n"
STATUS = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    405: code_pb2.UNIMPLEMENTED,
    413: code_pb2.RESOURCE_EXHAUSTED,
    415: code_pb2.INVALID_ARGUMENT,
    503: code_pb2.UNAVAILABLE,
}


class OtlpHttp:
    """The app. `cors`: the origins that may send from a browser, ``*`` for any."""

    def __init__(
        self, intake: Intake, *, cors: Sequence[str] = (), gate: Gate | None = None, read_seconds: float = 30.0
    ) -> None:
        self.intake = intake
        self.cors = frozenset(origin.rstrip("/") for origin in cors)
        self.gate = gate or Gate()
        self.read_seconds = read_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        headers = headers_of(scope)
        try:
            reply = await self._answer(scope, headers, receive)
        except GoneError:
            return
        await replace(reply, headers=(*self._cors_headers(headers), *reply.headers)).send(send, method=scope["method"])

    async def _answer(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Reply:
        method = scope["method"]
        path = scope["path"].rstrip("/")
        as_json = media_type(headers) == JSON
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
        sent_type = media_type(headers)
        with intake.budget.share() as share:
            try:
                self.gate.check(headers.get("authorization"))
                if not as_json and sent_type not in PROTOBUF_TYPES:
                    raise UnsupportedMediaError(f"content-type must be {PROTOBUF} or {JSON}")
                body, packed = await read_packed(headers, receive, share, intake.max_bytes, self.read_seconds)
                answer = await intake.take(signal, body, share, as_json=as_json, packed=packed)
            except RefusedError as error:
                return self._refusal(error, as_json=as_json)
        if as_json:
            return Reply(200, answer.json(signal), JSON)
        return Reply(200, answer.protobuf(signal), sent_type)

    def _refusal(self, error: RefusedError, *, as_json: bool) -> Reply:
        status = 400
        headers: tuple[tuple[str, str], ...] = ()
        if isinstance(error, OverloadedError):
            status = 503
            headers = (("retry-after", str(error.retry_seconds)),)
        elif isinstance(error, TooLargeError):
            status = 413
        elif isinstance(error, UnauthenticatedError):
            status = 401
            headers = (("www-authenticate", "Bearer"),)
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
