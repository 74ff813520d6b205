"""Celery's worker and beat as threads of this process, over its in-memory broker: the default without Redis.

The same tasks, the same schedule. They touch no signal handler and write no file; `stop()` waits for what runs.
"""

import asyncio
import logging
import threading

from celery.beat import Scheduler, Service
from celery.worker import WorkController
from kombu.utils.objects import cached_property

from eventflow.celery import app

log = logging.getLogger(__name__)
WATCH_SECONDS = 1.0


class _Beat(Service):
    """Beat with its schedule in memory: every entry is an interval, so nothing needs to survive a restart."""

    @cached_property
    def scheduler(self) -> Scheduler:
        return Scheduler(app=self.app, max_interval=self.max_interval, lazy=False)


class EmbeddedCelery:
    """One worker with some threads, and one beat."""

    def __init__(self) -> None:
        self._worker = WorkController(
            app=app,
            loglevel="WARNING",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            hostname="embedded@localhost",
            logfile=None,
            quiet=True,
        )
        self._beat = _Beat(app=app, max_interval=0.5)  # type: ignore[arg-type]  # any number of seconds
        self._threads = [
            threading.Thread(target=self._worker.start, name="celery-worker", daemon=True),
            threading.Thread(target=lambda: self._beat.start(embedded_process=False), name="celery-beat", daemon=True),
        ]

    def start(self) -> None:
        import eventflow.worker.tasks  # noqa: F401, PLC0415  # registers tasks and schedule

        app.finalize()
        for thread in self._threads:
            thread.start()

    async def watch(self) -> None:
        """Raise RuntimeError when worker or beat end unasked: without them no alert fires and no replay is sent."""
        while all(thread.is_alive() for thread in self._threads):  # noqa: ASYNC110  # threads offer no event
            await asyncio.sleep(WATCH_SECONDS)
        raise RuntimeError("the background jobs (Celery's worker or beat) ended unasked; the log above says why")

    def stop(self, seconds: float = 5.0) -> None:
        """Ask both to stop and wait for them, at most `seconds` each."""
        self._beat.stop(wait=False)
        self._worker.stop()
        for thread in self._threads:
            thread.join(seconds)
