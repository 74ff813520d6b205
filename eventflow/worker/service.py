"""The running Eventflow: web server, receivers, collectors, digester, Celery, in one process and one event loop.

Each role can run alone (`manage.py up --roles web`), so that docker-compose and large installations split them. Starts
everything or says why not; stops everything in the order that loses nothing: receivers first, writers last.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import uvicorn
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone

from collectors.base import Collector, CollectorError, Emit
from collectors.otlp import OtlpReceiver
from collectors.zipkin import ZipkinReceiver
from eventflow.domain.observations import Observation, SourceStatus, SpanBatch
from eventflow.live import news
from eventflow.store import record, spans
from eventflow.store.queries import sources as queries
from eventflow.worker import addresses, allocation, collect, described, metering, receivers, self_tracing, sources
from eventflow.worker.digest import Digester, decode
from eventflow.worker.embedded_celery import EmbeddedCelery
from eventflow.worker.formats import span_format

ROLES = ("web", "ingest", "collect", "tasks")
log = logging.getLogger(__name__)


class _WebServer(uvicorn.Server):
    """uvicorn without its own signal handling: this module decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Any:
        yield


class Recorder:
    """What collectors emit into: spans to the inbox (durable on return), the rest to its tables, then the news."""

    def __init__(self, wake: Callable[[], None], publish: Callable[[Iterable[str]], None]) -> None:
        self._wake, self._publish = wake, publish
        self._commit = spans.GroupCommit()
        # One thread: SQLite has one writer anyway, and it keeps one database connection.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")

    async def emit(self, batch: Sequence[Observation]) -> None:
        """The collectors' `Emit`. Raises CollectorError when the store cannot take more now."""
        traces = [item for item in batch if isinstance(item, SpanBatch)]
        others = [item for item in batch if not isinstance(item, SpanBatch)]
        try:
            if traces:
                await self._commit.submit(traces)
                self._wake()
            if others:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._record, others)
        except (spans.StoreBusy, DatabaseError) as error:
            raise CollectorError(f"the store cannot take more right now: {error}") from error

    def _record(self, batch: Sequence[Observation]) -> None:
        connection.close_if_unusable_or_obsolete()
        self._publish(record.observations(batch, timezone.now()))

    @staticmethod
    def _release() -> None:
        # Looked up here: `connection` is another one in each thread.
        connection.close()

    def close(self) -> None:
        """Write what was accepted and give the connections back."""
        self._commit.close()
        self._thread.submit(self._release).result()
        self._thread.shutdown()


class Service:
    """Everything that runs for the chosen roles, until `stop()` or a signal."""

    def __init__(self, roles: Sequence[str], on_ready: Callable[[], None]) -> None:
        self.roles = frozenset(roles)
        self._on_ready = on_ready
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask it to end."""
        self._stop.set()

    async def run(self, web_socket: socket.socket | None) -> None:
        """Run until asked to stop; raises what made it fail."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        # Ctrl-C reaches all processes in a terminal: those that only receive end when the first one ends them.
        loop.add_signal_handler(signal.SIGINT, (lambda: None) if settings.EVENTFLOW_RECEIVER else self.stop)
        async with AsyncExitStack() as stack:
            background: list[asyncio.Task[None]] = []
            if "web" in self.roles:
                news.home(loop)
                stack.callback(news.home, None)
                background.append(await self._start_web(stack, web_socket))
            if "tasks" in self.roles and not settings.REDIS_URL:
                celery = EmbeddedCelery()
                celery.start()
                stack.push_async_callback(asyncio.to_thread, celery.stop)
                watch = asyncio.create_task(celery.watch())
                stack.callback(watch.cancel)
                background.append(watch)
            if self.roles & {"ingest", "collect"}:
                background.append(self._start_collecting(stack))
            if "ingest" in self.roles and not settings.EVENTFLOW_RECEIVER:
                background += await self._start_receivers(stack)
            if settings.EVENTFLOW_RECEIVER:
                receivers.when_orphaned(loop, self.stop)
                receivers.give_way()
            allocation.settle()
            self._on_ready()
            await self._wait(background)

    async def _wait(self, background: list[asyncio.Task[None]]) -> None:
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([stopped, *background], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in done - {stopped}:
            task.result()

    async def _start_web(self, stack: AsyncExitStack, web_socket: socket.socket | None) -> "asyncio.Task[None]":
        config = uvicorn.Config(
            "eventflow.asgi:application",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            ws_max_size=65536,
            ws_ping_interval=20,
            timeout_graceful_shutdown=2,
            proxy_headers=True,
        )
        server = _WebServer(config)
        assert web_socket is not None  # noqa: S101  # bound by the command before anything else started
        task = asyncio.create_task(server.serve(sockets=[web_socket]))

        async def end() -> None:
            server.should_exit = True
            await asyncio.wait([task], timeout=5)

        stack.push_async_callback(end)
        while not server.started and not task.done():  # noqa: ASYNC110  # uvicorn offers a flag, no event
            await asyncio.sleep(0.01)
        return task

    def _start_collecting(self, stack: AsyncExitStack) -> "asyncio.Task[None]":
        if settings.EVENTFLOW_RECEIVER:
            recorder = Recorder(lambda: None, receivers.tell)
        else:
            digester = Digester(publish=news.publish)
            recorder = Recorder(digester.wake, news.publish)
            digester.start()
            stack.callback(digester.stop)
            stack.callback(self_tracing.install(digester.wake))
        stack.callback(recorder.close)
        task = asyncio.create_task(self._collect(recorder.emit))

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task], timeout=5)

        stack.push_async_callback(end)
        return task

    async def _start_receivers(self, stack: AsyncExitStack) -> "list[asyncio.Task[None]]":
        count = settings.EVENTFLOW_INGEST_PROCESSES - 1
        await sync_to_async(record.source.forget_numbered)(_told_as(2).rpartition(" ")[0], count)
        if not count:
            return []
        others = receivers.Receivers(count, news.publish)
        task = asyncio.create_task(others.run())

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        stack.push_async_callback(end)
        # Whoever stops it now need not wait for those that cannot start.
        listening, stopped = asyncio.create_task(others.all_listen()), asyncio.create_task(self._stop.wait())
        _, waiting = await asyncio.wait([listening, stopped], return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        return [task]

    async def _collect(self, emit: Emit) -> None:
        found: list[Collector] = []
        if "ingest" in self.roles and (settings.EVENTFLOW_RECEIVER or settings.EVENTFLOW_INGEST_PROCESSES == 1):
            found.append(
                OtlpReceiver(
                    http=settings.EVENTFLOW_OTLP_HTTP,
                    grpc=settings.EVENTFLOW_OTLP_GRPC,
                    max_bytes=settings.EVENTFLOW_OTLP_MAX_BYTES,
                    cors=tuple(settings.EVENTFLOW_OTLP_CORS),
                    span_format=span_format(),
                    tokens=settings.EVENTFLOW_INGEST_TOKENS,
                    shared=settings.EVENTFLOW_INGEST_PROCESSES > 2,
                    told_as=_told_as(settings.EVENTFLOW_RECEIVER),
                )
            )
        if "ingest" in self.roles and not settings.EVENTFLOW_RECEIVER:
            if not _wants_zipkin():
                await sync_to_async(record.source.forget)(ZipkinReceiver.system)
            else:
                found.append(
                    ZipkinReceiver(
                        settings.EVENTFLOW_ZIPKIN,
                        decode,
                        max_bytes=settings.EVENTFLOW_OTLP_MAX_BYTES,
                        tokens=settings.EVENTFLOW_INGEST_TOKENS,
                    )
                )
        if "collect" in self.roles:
            resume = await sync_to_async(queries.cursors)()
            found.extend(
                collect.collector(
                    source.name,
                    source.url,
                    seconds=settings.EVENTFLOW_POLL_SECONDS,
                    correlation_keys=settings.EVENTFLOW_CORRELATION_KEYS,
                    resume=resume.get(source.name),
                )
                for source in sources.parse_all(settings.EVENTFLOW_SOURCES)
            )

        async def on_status(status: SourceStatus) -> None:
            try:
                await emit([status])
            except CollectorError as error:
                log.warning("%s: %s (%s)", status.source, status.message, error)

        wanted = described.Described(timezone.now, on_status).wishes if "collect" in self.roles else None
        await collect.supervise(found, emit, on_status=on_status, now=timezone.now, wanted=wanted, meter=_meter)
        # Every collector has stopped for good and said why; the pages that tell it go on.
        await self._stop.wait()


def _told_as(receiver: int) -> str:
    """What a receiving process is called where sources are listed."""
    return f"otlp, process {receiver}" if receiver > 1 else "otlp"


def _meter(emit: Emit) -> Emit:
    return metering.metered(emit, settings.EVENTFLOW_BUDGET, settings.EVENTFLOW_POLL_SECONDS, asyncio.sleep)


def _wants_zipkin() -> bool:
    address = settings.EVENTFLOW_ZIPKIN
    if address and settings.EVENTFLOW_ZIPKIN_IF_FREE and not addresses.is_free("EVENTFLOW_ZIPKIN", address):
        log.info("Zipkin spans are not received: %s is taken. EVENTFLOW_ZIPKIN names another address.", address)
        return False
    return bool(address)


def bind_web(roles: Sequence[str]) -> socket.socket | None:
    """Take the web port before anything else starts, so that a taken one is told at once."""
    return addresses.listen("EVENTFLOW_HTTP", settings.EVENTFLOW_HTTP) if "web" in roles else None
