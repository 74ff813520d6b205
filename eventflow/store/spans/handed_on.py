"""Requests handed on by processes that only receive to the one that digests, through memory that both have.

Lines over a socket say where they lie, and back, up to where nobody looks any more; word of a request is sent when it
lies there whole, never before. Bounded; neither side waits for a socket or fails by it.
"""

import logging
import mmap
import os
import socket
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from secrets import randbits
from typing import IO, NamedTuple, TypeAlias

import numpy as np

from eventflow.domain.columns import Body, Format, SpanColumns
from eventflow.domain.observations import SpanBatch
from eventflow.store.spans.form import form
from eventflow.store.spans.talk import Talk

MEMORY_BYTES = 96 * 1024 * 1024
UNSENT_BYTES = 1024 * 1024
NAPS, NAP_SECONDS = 250, 0.002
"""How long senders wait when the digest falls behind."""
PARTS_TOLD = 16
"""Word of what was taken goes back for each such part of the memory, not for each request."""
_BUFFERS = tuple(field.name for field in fields(SpanColumns) if field.type in ("bytes", bytes))
_buffers: Callable[[SpanColumns], tuple[bytes, ...]] = attrgetter(*_BUFFERS)
log = logging.getLogger(__name__)

Request: TypeAlias = tuple[Body, SpanColumns]
Stored: TypeAlias = Iterable[tuple[int, SpanBatch]]


class _Told(NamedTuple):
    """Word of a request.

    place  counts on where the memory is begun anew
    names  of identities, those that were not told before
    """

    pk: int
    received_at: str
    place: int
    lengths: list[int]
    spans: int
    scope_ranges: Sequence[Sequence[int]]
    names: list[str]


class Giver:
    """The receiving process's end: requests one behind the other, from the beginning again where they are taken."""

    def __init__(
        self,
        memory: mmap.mmap,
        end: socket.socket,
        wire: Callable[[], Format] = form,
        nap: Callable[[], None] = lambda: time.sleep(NAP_SECONDS),
    ) -> None:
        self._memory, self._size, self._talk = memory, len(memory), Talk(end)
        self._form, self._nap = wire, nap
        self._given = self._taken = self._names = 0
        self._is_taken = True
        """Whether somebody took something since it was waited for last."""

    def add(self, stored: Stored) -> None:
        """Hand on what is scanned already, as far as there is room: the inbox has the rest."""
        self._hear()
        for pk, batch in stored:
            if batch.columns is not None:
                self._give(pk, batch, batch.columns)
        self._talk.send()

    def _give(self, pk: int, batch: SpanBatch, columns: SpanColumns) -> None:
        parts = (batch.body, *_buffers(columns))
        lengths = list(map(len, parts))
        size = sum(lengths)
        place = self._room(size)
        if place is None:
            return
        at = place % self._size
        for part, length in zip(parts, lengths, strict=True):
            self._memory[at : at + length] = part
            at += length
        self._given = place + size
        names = self._form().names[self._names :]
        self._names += len(names)
        ranges = columns.scope_ranges
        self._talk.say(_Told(pk, batch.received_at.isoformat(), place, lengths, columns.count, ranges, list(names)))

    def _room(self, length: int) -> int | None:
        """Where so many bytes can lie; waits a while for the digest: reading the inbox costs it more than this gains.

        Where none was taken meanwhile nobody waits again until one is: another machine may be the one that digests.
        What finds no room is left out, not what lies there: that is what the digest asks for next.
        """
        place = self._place(length)
        if place is not None or length > self._size or not self._is_taken:
            return place
        self._is_taken = False
        for _ in range(NAPS):
            self._talk.send()
            self._nap()
            self._hear()
            if (place := self._place(length)) is not None:
                break
        return place

    def _place(self, length: int) -> int | None:
        # All was taken: the pages at the beginning are warm.
        if self._taken == self._given:
            self._taken = self._given = _begun_anew(self._given, self._size)
        place = self._given
        if place % self._size + length > self._size:
            place = _begun_anew(place, self._size)
        fits = place + length <= self._taken + self._size
        return place if fits and self._talk.unsent <= UNSENT_BYTES else None

    def _hear(self) -> None:
        if heard := self._talk.heard():
            self._taken, self._is_taken = heard[-1], True


def _begun_anew(place: int, size: int) -> int:
    return -(-place // size) * size


class Taker:
    """The digesting process's end."""

    def __init__(self, memory: mmap.mmap, end: socket.socket, wire: Callable[[], Format] = form) -> None:
        self._memory, self._size, self._talk, self._form = memory, len(memory), Talk(end), wire
        self._view = memoryview(memory).toreadonly()
        # Shapes mean something within one process only: this keeps one giver's apart from another's.
        self._salt = np.uint64(randbits(63))
        self._held: OrderedDict[int, _Told] = OrderedDict()
        self._taken = self._told = 0
        self._numbers: list[int] = []
        self._same_numbers = True
        self._understood = True

    def __contains__(self, pk: int) -> bool:
        return pk in self._held

    def listen(self) -> None:
        """Hear what was given meanwhile. What can't be understood is the end of it: what follows rests upon it."""
        if not self._understood:
            return
        try:
            for words in self._talk.heard():
                told = _Told(*words)
                if told.names:
                    self._number(told.names)
                self._held[told.pk] = told
        except (TypeError, ValueError) as error:
            log.warning("what a receiving process hands on is read from the inbox from now on: %s", error)
            self._understood = False

    def _number(self, names: Sequence[str]) -> None:
        """Each process numbers names as it meets them."""
        self._numbers += map(self._form().position, names)
        self._same_numbers = self._numbers == list(range(len(self._numbers)))

    def take(self, pk: int, received_at: datetime) -> Request | None:
        """A request that is held: a view of where it lies, good until `let_go`. None older is asked for."""
        found = None
        while pk in self._held:
            first, told = self._held.popitem(last=False)
            if first == pk and told.received_at == received_at.isoformat():
                found = self._read(told)
            self._taken = told.place + sum(told.lengths)
        return found

    def forget_before(self, pk: int) -> None:
        """Older requests are not asked for any more."""
        while self._held and next(iter(self._held)) < pk:
            _, told = self._held.popitem(last=False)
            self._taken = told.place + sum(told.lengths)

    def let_go(self) -> None:
        """Nobody looks any more at what was taken or forgotten: the other end gets its room back."""
        if self._taken - self._told > (self._size // PARTS_TOLD if self._held else 0):
            self._told = self._taken
            self._talk.say(self._taken)
            self._talk.send()

    def _read(self, told: _Told) -> Request:
        at = told.place % self._size
        end = at + told.lengths[0]
        body = self._view[at:end]
        parts = []
        for length in told.lengths[1:]:
            parts.append(self._memory[end : end + length])
            end += length
        buffers = dict(zip(_BUFFERS, parts, strict=True))
        buffers["shapes"] = (np.frombuffer(buffers["shapes"], "<u8") ^ self._salt).tobytes()
        if not self._same_numbers:
            numbers = np.array(self._numbers, "<u4")
            for name in ("ident_names", "value_names"):
                buffers[name] = numbers[np.frombuffer(buffers[name], "<u4")].tobytes()
        return body, SpanColumns(told.spans, scope_ranges=tuple(map(tuple, told.scope_ranges)), **buffers)


class Takers:
    """Those of all receiving processes. One thread takes, another starts and ends processes."""

    def __init__(self, size: int = MEMORY_BYTES) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._takers: list[Taker] = []

    @contextmanager
    def channel(self) -> Iterator[tuple[int, ...]]:
        """The descriptors that a process needs as a giver, while it runs; none where nothing can be handed on."""
        with ExitStack() as stack:
            try:
                memory = stack.enter_context(_memory(self._size))
                # Not closed here: who looks at what was taken keeps it until then.
                mapped = mmap.mmap(memory.fileno(), self._size)
                here, there = map(stack.enter_context, socket.socketpair())
            except OSError as error:
                log.warning("what a receiving process takes in is read from the inbox: %s", error)
                yield ()
                return
            taker = Taker(mapped, here)
            with self._lock:
                self._takers.append(taker)
            try:
                yield memory.fileno(), there.fileno()
            finally:
                with self._lock:
                    self._takers.remove(taker)

    def take(self, pk: int, received_at: datetime) -> Request | None:
        """Give a request away; None when it is not here."""
        with self._lock:
            holder = self._holder(pk)
            if holder is None:
                for taker in self._takers:
                    taker.listen()
                holder = self._holder(pk)
            return holder.take(pk, received_at) if holder else None

    def _holder(self, pk: int) -> Taker | None:
        return next((taker for taker in self._takers if pk in taker), None)

    def forget_before(self, pk: int) -> None:
        """The inbox has none older than this. Nothing is listened to: what is new may not have been in it then."""
        with self._lock:
            for taker in self._takers:
                taker.forget_before(pk)

    def let_go(self) -> None:
        """Nobody looks any more at what was taken or forgotten."""
        with self._lock:
            for taker in self._takers:
                taker.let_go()


def _memory(size: int) -> IO[bytes]:
    """Memory without a name that can be given to another process; of what is not used nothing is taken."""
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("eventflow"), "r+b", buffering=0)
        file.truncate(size)
        return file
    # Written whole: a disk that gets full later would end who writes into what it has no room for.
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # whoever asked for it closes it
    file.write(bytes(size))
    return file


def giver(descriptors: Sequence[int]) -> Giver | None:
    """The end of a process that was started with these; None where nothing can be handed on."""
    if not descriptors:
        return None
    memory, end = descriptors
    try:
        return Giver(mmap.mmap(memory, 0), socket.socket(fileno=end))
    except OSError as error:
        log.warning("what this process takes in is read from the inbox: %s", error)
        return None
