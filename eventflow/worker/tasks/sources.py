"""Celery task of sources: try the brokers that somebody asked about. A lost nudge costs two seconds, nothing else."""

import asyncio
import logging
from dataclasses import asdict

from django.utils import timezone

from eventflow.celery import app
from eventflow.domain import connection
from eventflow.domain.source_setting import Setting
from eventflow.live import news
from eventflow.store.record import connection_test
from eventflow.worker import described
from eventflow.worker.connection_probe import probe
from eventflow.worker.sources import SourceError

TRY = "eventflow.sources.try"
log = logging.getLogger(__name__)


@app.task(name=TRY)
def try_connections() -> None:
    """What waits, one after the other."""
    while claimed := connection_test.claim(timezone.now()):
        pk, setting = claimed
        try:
            seen = _try(setting)
        except Exception as error:  # a test must end for the person who waits for it
            log.exception("a try to connect failed unexpectedly")
            seen = connection.Seen(error=f"unexpected {type(error).__name__}; the log has the details")
        result = asdict(connection.judge(seen)) | {
            "seconds": seen.seconds,
            "calls": seen.calls,
            "received_bytes": seen.received_bytes,
        }
        connection_test.finish(pk, result, timezone.now())
        news.publish(["sources"])


def _try(setting: Setting) -> connection.Seen:
    """A description as it stands; one without a kind names a source that is configured already."""
    if setting.scheme:
        return asyncio.run(probe(setting.name or "test", setting.url))
    try:
        url = next((source.url for source in described.configured() if source.name == setting.name), "")
    except SourceError as error:
        return connection.Seen(error=str(error))
    if not url:
        return connection.Seen(error=f"{setting.name} is not configured in the process that tries connections")
    return asyncio.run(probe(setting.name, url))


SCHEDULE = {TRY: {"task": TRY, "schedule": 2.0, "options": {"expires": 5}}}
