"""The ledger of uploaded trace files: kept durably by the web, read and settled by the worker.

A file is read again when the worker died over it: importing twice changes nothing.
"""

from collections.abc import Iterator
from datetime import datetime

import zstandard

from eventflow.store.models import ImportJob
from eventflow.store.spans.text import fit


def keep(name: str, content: bytes, actor: str, now: datetime) -> int:
    """Keep an uploaded file until the worker reads it; returns the job's pk."""
    packed = zstandard.ZstdCompressor(level=1).compress(content)
    return ImportJob.objects.create(name=fit(name, 200), actor=fit(actor, 200), body=packed, created_at=now).pk


def waiting() -> Iterator[tuple[int, bytes]]:
    """The files that nobody has read yet, oldest first, one in memory at a time."""
    for pk in list(ImportJob.objects.filter(state="waiting").order_by("pk").values_list("pk", flat=True)):
        body = ImportJob.objects.filter(pk=pk, state="waiting").values_list("body", flat=True).first()
        if body is not None:
            yield pk, zstandard.ZstdDecompressor().decompress(bytes(body))


def done(pk: int, spans: int, message: str, now: datetime) -> None:
    """It is in the store."""
    _settle(pk, "done", spans, message, now)


def failed(pk: int, message: str, now: datetime) -> None:
    """It is no trace file; trying again cannot help."""
    _settle(pk, "failed", 0, message, now)


def _settle(pk: int, state: str, spans: int, message: str, now: datetime) -> None:
    ImportJob.objects.filter(pk=pk).update(
        state=state, spans=spans, message=fit(message, 1000), finished_at=now, body=b""
    )
