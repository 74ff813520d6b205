"""Background jobs of which one run at a time is enough: a second one of the same process returns at once.

Nothing is lost by that: what a job does stands in the database, and the next beat looks again.
"""

import threading
from collections.abc import Callable
from functools import wraps


def exclusive(job: Callable[[], None]) -> Callable[[], None]:
    """`job`, whose runs never overlap in this process."""
    running = threading.Lock()

    @wraps(job)
    def run() -> None:
        if running.acquire(blocking=False):
            try:
                job()
            finally:
                running.release()

    return run
