"""The way in: export requests as rows, durable before they are acknowledged, many requests to one fsync.

`append` is durable when it returns. What the database refuses (locked, full, away) is `StoreBusy`: nothing is lost as
long as the receiver then refuses too.
"""

import asyncio
import gzip
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import zstandard
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from eventflow.domain.observations import SpanBatch
from eventflow.store.models import Inbox
from eventflow.store.spans import fresh
from eventflow.store.spans.rows import insert_new
from eventflow.store.spans.turn import writing

PENDING_REQUESTS = 512
PENDING_BYTES = 128 * 1024 * 1024
GROUP_BYTES = 8 * 1024 * 1024
NAP_SECONDS = 0.002
"""How long a commit waits for as many requests as came together last time: it costs as much as several of them."""
LOCK_MILLISECONDS = 5_000
"""How long an acknowledgement waits for another writer: shorter than senders wait for it."""


class StoreBusy(Exception):  # noqa: N818  # a state of the store, no mistake of the caller
    """The store cannot take this now; the same later may work. Nothing of it was stored."""


class _Compressor(threading.local):
    """One a thread, made when a request comes that its sender did not pack."""

    @cached_property
    def compress(self) -> Callable[[bytes], bytes]:
        """A body as rows keep it."""
        return zstandard.ZstdCompressor(level=-1).compress


_own = _Compressor()


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what a database says when it can't write now into StoreBusy, and gives a broken connection up."""
    try:
        yield
    except (OperationalError, InterfaceError, OSError) as error:
        if not connection.in_atomic_block:
            connection.close()
        raise StoreBusy(str(error)) from error
    except DatabaseError as error:
        raise StoreBusy(str(error)) from error


def append(batches: Sequence[SpanBatch]) -> None:
    """Keep export requests. Durable when it returns; raises StoreBusy and keeps none of them otherwise."""
    rows = []
    for batch in batches:
        encoding, body = batch.packed or ("zstd", _own.compress(batch.body))
        rows.append((body, encoding, connection.ops.adapt_datetimefield_value(batch.received_at)))
    with refusals(), writing():
        stored = insert_new(Inbox, ("body", "encoding", "received_at"), rows)
    fresh.add(zip(stored, batches, strict=True))


def unpacked(encoding: str, body: bytes) -> bytes:
    """A row's request. Raises ValueError or an error of zlib's or zstd's for what is none."""
    if encoding == "gzip":
        return gzip.decompress(body)
    return zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True).read()


def inbox_depth() -> int:
    """How many requests are acknowledged and not digested yet."""
    return Inbox.objects.count()


def more_wait_than(number: int) -> bool:
    """Whether more requests than that are acknowledged and not digested yet. Unlike a count quick for however many."""
    return Inbox.objects.order_by("id")[number : number + 1].exists()


@dataclass(slots=True)
class _Waiting:
    batches: Sequence[SpanBatch]
    size: int
    done: Callable[[BaseException | None], None]


class GroupCommit:
    """One writer thread that puts requests waiting at the same time into one transaction.

    Bounded: beyond `PENDING_REQUESTS` or `PENDING_BYTES` a request is refused at once with StoreBusy. `on_commit` is
    called in the writer's thread after each commit (to wake the digester).
    """

    def __init__(
        self, on_commit: Callable[[], None] | None = None, nap: Callable[[], None] = lambda: time.sleep(NAP_SECONDS)
    ) -> None:
        self._on_commit, self._nap = on_commit, nap
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pending_bytes = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="eventflow-inbox", daemon=True)
        self._thread.start()

    async def submit(self, batches: Sequence[SpanBatch]) -> None:
        """Wait until the batches are durable. Raises StoreBusy when they are not and will not be."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def done(error: BaseException | None) -> None:
            # A loop that is gone has nobody waiting in it.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, error)

        self._put(_Waiting(batches, sum(len(batch.body) for batch in batches), done))
        await future

    def close(self) -> None:
        """Write what was taken, then end the thread. Later submissions are refused."""
        with self._lock:
            already, self._closed = self._closed, True
        if not already:
            self._queue.put(None)
        self._thread.join()

    def _put(self, item: _Waiting) -> None:
        with self._lock:
            if self._closed:
                raise StoreBusy("the store is closing")
            if self._pending_bytes and self._pending_bytes + item.size > PENDING_BYTES:
                raise StoreBusy("too many bytes wait to be written")
            if self._queue.qsize() >= PENDING_REQUESTS:
                raise StoreBusy("too many requests wait to be written")
            self._queue.put(item)
            self._pending_bytes += item.size

    def _run(self) -> None:
        together = 1
        try:
            while (first := self._queue.get()) is not None:
                if self._queue.qsize() + 1 < together:
                    self._nap()
                group, more = self._group(first)
                together = len(group)
                self._write(group)
                if not more:
                    break
        finally:
            connection.close()

    def _group(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        """Everything that waits now, up to a size; False when the end mark was among it."""
        group, size = [first], first.size
        while size < GROUP_BYTES:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, False
            group.append(item)
            size += item.size
        return group, True

    def _write(self, group: list[_Waiting]) -> None:
        error: BaseException | None = None
        try:
            with refusals():
                self._patience()
            append([batch for item in group for batch in item.batches])
        except StoreBusy as busy:
            error = busy
        except Exception as unexpected:  # noqa: BLE001  # the thread lives on; the senders are told
            error = StoreBusy(f"{type(unexpected).__name__}: {unexpected}")
        with self._lock:
            self._pending_bytes -= sum(item.size for item in group)
        for item in group:
            item.done(error)
        if error is None and self._on_commit:
            self._on_commit()

    def _patience(self) -> None:
        if connection.vendor == "sqlite" and connection.connection is None:
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout={LOCK_MILLISECONDS}")
