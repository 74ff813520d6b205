"""The background jobs of the one process: enough threads for all of them, and not silent when they end."""

import asyncio

import pytest

from eventflow.celery import app
from eventflow.worker import tasks
from eventflow.worker.embedded_celery import EmbeddedCelery


def test_a_kind_of_job_that_takes_long_leaves_a_thread_to_every_other_kind() -> None:
    assert tasks
    assert app.conf.worker_pool == "threads"
    assert app.conf.worker_concurrency > len(app.conf.beat_schedule)


def test_a_worker_or_beat_that_is_gone_is_told_instead_of_jobs_that_silently_never_run() -> None:
    with pytest.raises(RuntimeError, match="background jobs"):
        asyncio.run(EmbeddedCelery().watch())
