"""An HTTP server of ours inside the worker's event loop, on exactly the address it is given. Captures no signals.

A taken or impossible address is a permanent CollectorError that names the variable to change.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

from collectors.base import CollectorError

GRACE_SECONDS = 2


class _Server(uvicorn.Server):
    """Uvicorn that leaves the process's signals alone and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(
    address: str, app: Any, variable: str, name: str, *, shared: bool = False
) -> AsyncIterator[tuple[int, "asyncio.Task[None]"]]:
    """`app` on `address`, which `variable` configures: its port, and the task that ends when the server does.

    shared  other processes of ours may listen there, too
    """
    listener = _listen(address, variable, shared=shared)
    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name=name)
    try:
        up = asyncio.create_task(server.up.wait())
        await asyncio.wait([up, task], return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        yield listener.getsockname()[1], task
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()


def _listen(address: str, variable: str, *, shared: bool) -> socket.socket:
    host, port = split(address, variable)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise taken(address, variable) from error
        raise CollectorError(f"cannot listen on {address}: {error.strerror}; set {variable}", permanent=True) from error
    return listener


def split(address: str, variable: str) -> tuple[str, int]:
    """Host and port of ``host:port``."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise CollectorError(f"{variable} must be host:port, such as 127.0.0.1:4318", permanent=True)
    return host.strip("[]") or "127.0.0.1", int(port)


def taken(address: str, variable: str) -> CollectorError:
    """What to say when another program has the port."""
    port = address.rpartition(":")[2]
    return CollectorError(
        f"port {port} ({address}) is taken or not allowed; set {variable} to another host:port", permanent=True
    )
