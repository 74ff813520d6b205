"""Tells Python and the C library what kind of process this is: one that runs for days and works on large arrays.

Changes nothing that anybody can see but time and memory: without it much of the ingest's time goes into pages that are
given back to the system and fetched again, and into looking through the same objects for garbage. Memory stays higher.
"""

import ctypes
import gc

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's names for `mallopt`, malloc.h."""
KEPT_BYTES = 256 * 1024 * 1024
"""Freed memory is kept up to this, and only larger pieces are fetched by themselves."""
YOUNG = 50_000
"""New objects after which Python looks for cycles among them; its own 700 come with each request for a page."""


def settle() -> None:
    """When all modules are loaded, before the work begins. Elsewhere than on glibc it does what it can."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
