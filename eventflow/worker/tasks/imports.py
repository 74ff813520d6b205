"""Celery task of imports: uploaded trace files into the span store, one after the other."""

import logging

from django.utils import timezone

from eventflow.celery import app
from eventflow.live import news
from eventflow.store import spans
from eventflow.store.record import imports
from eventflow.worker import trace_files
from eventflow.worker.exclusive import exclusive

RUN = "eventflow.imports.run"
log = logging.getLogger(__name__)


@app.task(name=RUN)
@exclusive
def run() -> None:
    """Read what waits. What the store cannot take now stays and is read at the next beat."""
    for pk, content in imports.waiting():
        now = timezone.now()
        try:
            found = trace_files.read(content, now)
            if found.batches:
                spans.append(found.batches)
        except trace_files.TraceFileError as error:
            imports.failed(pk, str(error), timezone.now())
        except spans.StoreBusy as error:
            log.warning("import %s waits: %s", pk, error)
            return
        except Exception:
            # One file must not stop those behind it for ever.
            log.exception("import %s failed", pk)
            imports.failed(pk, "it cannot be read; the log has the details", timezone.now())
        else:
            imports.done(pk, found.spans, f"{found.format}{f'; {found.message}' if found.message else ''}", now)
        news.publish(["imports"])


SCHEDULE = {RUN: {"task": RUN, "schedule": 30.0, "options": {"expires": 30}}}
