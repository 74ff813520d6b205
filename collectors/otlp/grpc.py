"""OTLP over gRPC: raw bytes in, the same intake as HTTP. A success means durable.

Overload is UNAVAILABLE with RetryInfo; RESOURCE_EXHAUSTED without it means too large, which no sender may try again.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from collectors.otlp.intake import Intake
from collectors.otlp.signals import SERVICES
from collectors.receiving.budget import Share
from collectors.receiving.errors import (
    BadRequestError,
    OverloadedError,
    RefusedError,
    TooLargeError,
    UnauthenticatedError,
)
from collectors.receiving.inflate import inflated, told_by_bytes
from collectors.receiving.tokens import Gate

Handler: TypeAlias = "Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[bytes]]"
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_concurrent_streams", 64),  # back-pressure of the protocol's own, per connection
    ("grpc.max_send_message_length", 4 * 1024 * 1024),
    ("grpc.per_message_decompression", 0),  # it is done here: within the budget, faster, and kept as it was sent
)


def server(intake: Intake, gate: Gate | None = None, *, shared: bool = False) -> grpc.aio.Server:
    """A gRPC server with the three Export services, not started and without a port."""
    made = grpc.aio.server(
        # A taken port must fail, unless those who have it are of ours.
        options=(*OPTIONS, ("grpc.so_reuseport", int(shared)), ("grpc.max_receive_message_length", intake.max_bytes)),
        compression=grpc.Compression.NoCompression,
    )
    made.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(
                service, {"Export": grpc.unary_unary_rpc_method_handler(_export(intake, gate or Gate(), signal))}
            )
            for signal, service in SERVICES.items()
        )
    )
    return made


def _export(intake: Intake, gate: Gate, signal: str) -> Handler:
    async def export(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        with intake.budget.share() as share:
            try:
                gate.check(_authorization(context))
                share.take(len(request))
                body, packed = await _unpacked(request, share, intake.max_bytes)
                answer = await intake.take(signal, body, share, as_json=False, packed=packed)
            except RefusedError as error:
                await _refuse(intake, context, error)
                raise  # not reached: abort raises
            return answer.protobuf(signal)

    return export


async def _unpacked(sent: bytes, share: Share, limit: int) -> tuple[bytes, tuple[str, bytes]]:
    """A message without its compression, and beside it the encoding with the message as it was sent.

    gRPC's library tells nobody the encoding; what is compressed shows it.
    """
    encoding = told_by_bytes(sent)
    try:
        return await inflated(encoding, sent, limit, share.take), (encoding, sent)
    except BadRequestError:
        if encoding == "gzip":
            raise
        return sent, ("", sent)


def _authorization(context: "grpc.aio.ServicerContext[bytes, bytes]") -> str | None:
    for name, value in context.invocation_metadata() or ():
        if name == "authorization":
            return value if isinstance(value, str) else None
    return None


async def _refuse(intake: Intake, context: "grpc.aio.ServicerContext[bytes, bytes]", error: RefusedError) -> None:
    code = grpc.StatusCode.INVALID_ARGUMENT
    metadata: tuple[tuple[str, bytes], ...] = ()
    if isinstance(error, OverloadedError):
        code = grpc.StatusCode.UNAVAILABLE
        metadata = (("grpc-status-details-bin", _retry_details(error)),)
    elif isinstance(error, TooLargeError):
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
    elif isinstance(error, UnauthenticatedError):
        code = grpc.StatusCode.UNAUTHENTICATED
    intake.counters[f"refused with {code.name}"] += 1
    await context.abort(code, str(error), metadata)


def _retry_details(error: OverloadedError) -> bytes:
    detail = any_pb2.Any()
    detail.Pack(RetryInfo(retry_delay=duration_pb2.Duration(seconds=error.retry_seconds)))
    encoded: bytes = Status(
        code=grpc.StatusCode.UNAVAILABLE.value[0], message=str(error), details=[detail]
    ).SerializeToString()
    return encoded
