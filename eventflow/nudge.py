"""Wakes a background job at once instead of at its next beat. A lost nudge costs a second: the row is the truth.

Knows jobs by name only, so that the web can call it without knowing the worker.
"""

import logging

from eventflow.celery import app

log = logging.getLogger(__name__)


def nudge(task: str) -> None:
    """Ask for `task` now. Never raises: the beat finds the work anyway."""
    try:
        app.send_task(task, ignore_result=True, retry=False, expires=10)
    except Exception:  # noqa: BLE001  # a broker that is away must not fail the request
        log.warning("could not nudge %s; its beat will find the work", task)
