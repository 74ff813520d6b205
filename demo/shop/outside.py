"""The world outside the shop: HTTP services and databases that answer after a realistic while.

Promises the client spans a real call would leave. Nothing here opens a connection.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AnyValue

from demo.shop.telemetry import tracer


async def http(method: str, host: str, path: str, *, seconds: float, status: HTTPStatus = HTTPStatus.OK) -> HTTPStatus:
    attributes: dict[str, AnyValue] = {
        "http.request.method": method,
        "server.address": host,
        "server.port": 443,
        "url.full": f"https://{host}{path}",
    }
    with tracer.start_as_current_span(method, kind=SpanKind.CLIENT, attributes=attributes) as span:
        await _pause(seconds)
        span.set_attribute("http.response.status_code", status.value)
        if status >= HTTPStatus.BAD_REQUEST:
            span.set_attribute("error.type", str(status.value))
            span.set_status(StatusCode.ERROR)
    return status


async def sql(operation: str, table: str, statement: str, *, seconds: float) -> None:
    attributes: dict[str, AnyValue] = {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.operation.name": operation,
        "db.collection.name": table,
        "db.query.text": statement,
    }
    with tracer.start_as_current_span(f"{operation} {table}", kind=SpanKind.CLIENT, attributes=attributes):
        await _pause(seconds)


async def smtp(host: str, recipient_domain: str, *, seconds: float) -> None:
    attributes: dict[str, AnyValue] = {
        "server.address": host,
        "server.port": 25,
        "network.protocol.name": "smtp",
        "shop.domain": recipient_domain,
    }
    with tracer.start_as_current_span("SMTP send", kind=SpanKind.CLIENT, attributes=attributes):
        await _pause(seconds)


@contextmanager
def request(method: str, route: str) -> Iterator[Span]:
    """A customer's request reaching the shop: the root of a trace."""
    attributes = {"http.request.method": method, "http.route": route, "url.path": route, "url.scheme": "https"}
    with tracer.start_as_current_span(f"{method} {route}", kind=SpanKind.SERVER, attributes=attributes) as span:
        yield span
        span.set_attribute("http.response.status_code", HTTPStatus.CREATED.value)


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds * random.uniform(0.6, 1.5))
