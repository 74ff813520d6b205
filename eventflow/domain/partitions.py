"""Lag by partition: which ones hold more than their share. Pure."""

from collections.abc import Mapping
from statistics import fmean, pstdev

FEWEST = 4
SIGMAS = 2.0
TIMES_MEAN = 2.0


def hot(waiting: Mapping[str, int | None]) -> tuple[str, ...]:
    """Those that stand out, the worst first: above mean + 2 sigma and twice the mean. None among fewer than four."""
    known = {partition: ready for partition, ready in waiting.items() if ready is not None}
    if len(known) < FEWEST or not any(known.values()):
        return ()
    mean = fmean(known.values())
    limit = max(mean + SIGMAS * pstdev(known.values()), TIMES_MEAN * mean)
    return tuple(sorted((name for name, ready in known.items() if ready > limit), key=lambda name: -known[name]))


def order(partition: str) -> tuple[int, int, str]:
    """Numbers as numbers, before names."""
    return (0, int(partition), "") if partition.isdigit() else (1, 0, partition)
