"""Zipkin's POST /api/v2/spans as a plain ASGI app. A 202 means durable; overload is 503 with Retry-After.

Nothing may send from a browser: a request with an Origin is refused. Answers are plain text, as Zipkin's are.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from collectors.base import Emit
from collectors.receiving.budget import Budget, Share
from collectors.receiving.durable import PARSED_WEIGHT, offer, parsed, utcnow
from collectors.receiving.errors import (
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedMediaError,
)
from collectors.receiving.request import GoneError, Headers, Receive, Reply, Scope, Send, headers_of, media_type, read
from collectors.receiving.tokens import Gate
from collectors.zipkin.parse import Converted, convert
from eventflow.domain.observations import Span, SpanBatch

PATH = "/api/v2/spans"
TEXT = "text/plain; charset=utf-8"
HELP = "Eventflow receives Zipkin v2 spans here: POST /api/v2/spans as JSON.\n"
ReadSpans = Callable[[bytes], Sequence[Span]]


class ZipkinHttp:
    """The app. `read_spans` reads an OTLP body's spans, as the store will."""

    def __init__(
        self,
        emit: Emit,
        read_spans: ReadSpans,
        *,
        max_bytes: int,
        gate: Gate,
        counters: Counter[str],
        now: Callable[[], datetime] = utcnow,
        read_seconds: float = 30.0,
    ) -> None:
        self.emit = emit
        self.read_spans = read_spans
        self.max_bytes = max_bytes
        self.gate = gate
        self.counters = counters
        self.now = now
        self.read_seconds = read_seconds
        self.budget = Budget(8 * max_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        try:
            reply = await self._answer(scope, headers_of(scope), receive)
        except GoneError:
            return
        await reply.send(send, method=scope["method"])

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        method, path = scope["method"], scope["path"].rstrip("/")
        if not path and method in ("GET", "HEAD"):
            return _text(200, HELP)
        if path != PATH:
            return _text(404, "there is nothing here; Zipkin v2 spans go to POST /api/v2/spans\n")
        if method != "POST":
            return _text(405, "send this as POST /api/v2/spans\n", ("allow", "POST"))
        if "origin" in headers:
            return _text(403, "spans are not taken from browsers here; OTLP has an allow-list for them\n")
        with self.budget.share() as share:
            try:
                self.gate.check(headers.get("authorization"))
                return await self._spans(headers, receive, share)
            except RefusedError as error:
                return self._refusal(error)

    async def _spans(self, headers: Headers, receive: Receive, share: Share) -> Reply:
        if media_type(headers) not in ("", "application/json"):
            raise UnsupportedMediaError(
                "content-type must be application/json: Zipkin v2 JSON (not protobuf, not thrift)"
            )
        body = await read(headers, receive, share, self.max_bytes, self.read_seconds)
        share.take(PARSED_WEIGHT * len(body))
        self.counters["requests"] += 1
        self.counters["bytes"] += len(body)
        found, spans = await parsed(len(body), lambda: self._read(body))
        self.counters.update(found.warnings)
        if found.rejected:
            self.counters["spans rejected"] += found.rejected
        if spans:
            await offer(self.emit, [SpanBatch(found.body, self.now(), tuple(spans))])
            self.counters["spans"] += len(spans)
        return _text(202, f"{found.message}\n" if found.message else "")

    def _read(self, body: bytes) -> tuple[Converted, Sequence[Span]]:
        found = convert(body)
        return found, self.read_spans(found.body) if found.spans else ()

    def _refusal(self, error: RefusedError) -> Reply:
        status = 400
        header: tuple[tuple[str, str], ...] = ()
        if isinstance(error, OverloadedError):
            status, header = 503, (("retry-after", str(error.retry_seconds)),)
        elif isinstance(error, TooLargeError):
            status = 413
        elif isinstance(error, UnsupportedMediaError):
            status = 415
        elif isinstance(error, UnauthenticatedError):
            status, header = 401, (("www-authenticate", "Bearer"),)
        self.counters[f"refused with {status}"] += 1
        return _text(status, f"{error}\n", *header)


def _text(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    return Reply(status, text.encode(), TEXT, headers)
