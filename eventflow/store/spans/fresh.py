"""Requests just stored, with their columns, so that the digest needs not read and scan them again.

Kept in memory, or handed on in files to another process, the one that digests. Bounded; never the only place of
anything: what is not here is read from the inbox, with the same result.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from secrets import randbits
from typing import TypeAlias

import numpy as np
from django.conf import settings

from eventflow.domain.columns import Format, SpanColumns
from eventflow.domain.observations import SpanBatch
from eventflow.store.spans.form import form

FRESH_BYTES = 48 * 1024 * 1024
NAPS, NAP_SECONDS = 250, 0.002
"""How long senders wait when the digest falls behind."""
SLOWEST_SECONDS = 0.01
"""How long each request waits where it is nearly full; half as full and less, none does."""
HALF_FULL, NEARLY_FULL = 0.5, 0.95
_BUFFERS = tuple(field.name for field in fields(SpanColumns) if field.type in ("bytes", bytes))

Request: TypeAlias = tuple[bytes, SpanColumns]
Stored: TypeAlias = Iterable[tuple[int, SpanBatch]]


class Fresh:
    """The last requests of this process. The fuller it is, the longer senders wait for the digest."""

    def __init__(self, most_bytes: int = FRESH_BYTES, nap: Callable[[float], None] = time.sleep) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, datetime], Request] = OrderedDict()
        self._most_bytes, self._bytes, self._nap = most_bytes, 0, nap
        self._taken = False
        """Whether somebody takes what is kept: a command that only puts spans in has no digest."""

    def add(self, stored: Stored) -> None:
        """Keep what is scanned already, by its id in the inbox. When it is too much, the oldest go."""
        for pk, batch in stored:
            if batch.columns is not None:
                self._wait()
                with self._lock:
                    self._kept[pk, batch.received_at] = (batch.body, batch.columns)
                    self._bytes += len(batch.body)
                    while self._bytes > self._most_bytes:
                        _, (body, _) = self._kept.popitem(last=False)
                        self._bytes -= len(body)

    def _wait(self) -> None:
        """For a while: to read again what is thrown away would cost the digest more than we gain.

        Little by little, so that no sender has to wait for a whole step of the digest.
        """
        naps = NAPS
        while self._taken and (full := self._bytes / self._most_bytes) > HALF_FULL:
            self._nap(SLOWEST_SECONDS * (full - HALF_FULL) / HALF_FULL)
            if full < NEARLY_FULL:
                return
            naps -= 1
            if not naps:
                # Nobody waits again until something is taken.
                self._taken = False

    def take(self, pk: int, received_at: datetime) -> Request | None:
        """Give a request away; None when it is not here."""
        with self._lock:
            found = self._kept.pop((pk, received_at), None)
            if found is not None:
                self._taken = True
                self._bytes -= len(found[0])
                return found
        return None


class HandedOn:
    """Files in a folder, one per request: written by processes that only receive, taken by the one that digests.

    A file is a line of JSON (when it was received, the names that its columns refer to, lengths), then the buffers.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int = FRESH_BYTES,
        wire: Callable[[], Format] = form,
        nap: Callable[[], None] = lambda: time.sleep(NAP_SECONDS),
    ) -> None:
        self._folder, self._most_bytes, self._form, self._nap = folder, most_bytes, wire, nap
        self._taken = True
        """Whether somebody took what was looked for last."""
        # Shapes mean something within one process only: this keeps one writer's apart from another's.
        self._salt = randbits(63)
        self._written: OrderedDict[int, int] = OrderedDict()
        self._bytes = 0

    def clear(self) -> None:
        """Begin anew: what an earlier run left is of no use."""
        self._folder.mkdir(exist_ok=True, mode=0o700)
        for left in self._folder.iterdir():
            left.unlink(missing_ok=True)

    def add(self, stored: Stored) -> None:
        """Hand on what is scanned already. A full disk is no reason to fail: the inbox has it."""
        names = list(self._form().names)
        with suppress(OSError):
            for pk, batch in stored:
                if batch.columns is not None:
                    self._make_room()
                    self._write(pk, _packed(batch, batch.columns, names, self._salt))

    def _write(self, pk: int, parts: Sequence[bytes]) -> None:
        # Under another name until it is whole.
        beside = self._folder / f"{pk}.part"
        with beside.open("wb") as file:
            file.writelines(parts)
        beside.rename(self._folder / str(pk))
        self._written[pk] = sum(map(len, parts))
        self._bytes += self._written[pk]

    def _make_room(self) -> None:
        """Wait for the digest to take some, for a while: what is thrown away would cost it more than we gain.

        Where none was taken meanwhile nobody waits again until one is: another machine may be the one that digests.
        """
        naps = NAPS if self._taken else 0
        while self._bytes > self._most_bytes:
            oldest = next(iter(self._written))
            path = self._folder / str(oldest)
            self._taken = not path.exists()
            if not self._taken and naps:
                naps -= 1
                self._nap()
                continue
            path.unlink(missing_ok=True)
            self._bytes -= self._written.pop(oldest)

    def take(self, pk: int, received_at: datetime) -> Request | None:
        """Give a request away; None when it is not here."""
        path = self._folder / str(pk)
        with suppress(OSError, ValueError):
            body = path.read_bytes()
            path.unlink(missing_ok=True)
            return _unpacked(body, received_at, self._form())
        return None


def _packed(batch: SpanBatch, columns: SpanColumns, names: Sequence[str], salt: int) -> list[bytes]:
    buffers = [getattr(columns, name) for name in _BUFFERS]
    head = {
        "received_at": batch.received_at.isoformat(),
        "names": names,
        "salt": salt,
        "count": columns.count,
        "scope_ranges": columns.scope_ranges,
        "lengths": [len(batch.body), *map(len, buffers)],
    }
    return [json.dumps(head).encode(), b"\n", batch.body, *buffers]


def _unpacked(packed: bytes, received_at: datetime, wire: Format) -> Request | None:
    at = packed.index(b"\n") + 1
    head = json.loads(packed[:at])
    if head["received_at"] != received_at.isoformat():
        return None
    parts = []
    for length in head["lengths"]:
        parts.append(packed[at : at + length])
        at += length
    if at != len(packed):
        raise ValueError("this is not all of a request")
    ranges = tuple(map(tuple, head["scope_ranges"]))
    columns = SpanColumns(count=head["count"], scope_ranges=ranges, **dict(zip(_BUFFERS, parts[1:], strict=True)))
    salted = replace(columns, shapes=_salted(columns.shapes, head["salt"]))
    return parts[0], _renamed(salted, head["names"], wire)


def _salted(shapes: bytes, salt: int) -> bytes:
    return (np.frombuffer(shapes, "<u8") ^ np.uint64(salt)).tobytes()


def _renamed(columns: SpanColumns, names: Sequence[str], wire: Format) -> SpanColumns:
    """The columns with this process's numbers for names: each numbers them as it meets them."""
    here = np.array([wire.position(name) for name in names], "<u4")
    if np.array_equal(here, np.arange(len(here))):
        return columns
    return replace(
        columns,
        ident_names=here[np.frombuffer(columns.ident_names, "<u4")].tobytes(),
        value_names=here[np.frombuffer(columns.value_names, "<u4")].tobytes(),
    )


_kept = Fresh()


@lru_cache(maxsize=4)
def handed_on(data: Path) -> HandedOn:
    """What the ingest processes on this folder hand on."""
    return HandedOn(data / "handed-on")


def begin_handing_on() -> None:
    """In the process that digests, before the others start."""
    handed_on(settings.EVENTFLOW_DATA).clear()


def add(stored: Stored) -> None:
    """Keep these for the digest, wherever it runs."""
    (handed_on(settings.EVENTFLOW_DATA) if settings.EVENTFLOW_RECEIVER else _kept).add(stored)


def take(pk: int, received_at: datetime) -> Request | None:
    """Give a request away; None when it is not here."""
    found = _kept.take(pk, received_at)
    if found is None and settings.EVENTFLOW_INGEST_PROCESSES > 1:
        return handed_on(settings.EVENTFLOW_DATA).take(pk, received_at)
    return found
