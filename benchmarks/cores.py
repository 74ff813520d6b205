"""Which core a process runs on: a server and its load on one each, so that neither takes the other's time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

SERVER, LOAD = 0, 1


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """This thread, and what it starts meanwhile, on one core; where there are two."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
