"""Lag by partition: which ones hold more than their share. Pure."""

from collections.abc import Mapping
from math import sqrt

FEWEST = 4
SIGMAS = 2.0
TIMES_MEAN = 2.0


def hot(waiting: Mapping[str, int | None]) -> tuple[str, ...]:
    """Those that stand out, the worst first: above twice the mean, and above mean + 2 sigma of those that do not.

    Each is held against those that hold less: one among four, or two that hide each other, lie within two sigma of a
    mean that they make themselves. None among fewer than four, and at least half of them are no exception.
    """
    known = {partition: ready for partition, ready in waiting.items() if ready is not None}
    if len(known) < FEWEST or not any(known.values()):
        return ()
    ordered = sorted(known, key=lambda name: (-known[name], order(name)))
    rest, total, squares = len(known), sum(known.values()), sum(ready * ready for ready in known.values())
    enough = TIMES_MEAN * total / rest
    found = 0
    for number in range(1, len(ordered) // 2 + 1):
        ready = known[ordered[number - 1]]
        if ready <= enough:
            break
        rest, total, squares = rest - 1, total - ready, squares - ready * ready
        if ready > (total + SIGMAS * sqrt(max(0, rest * squares - total * total))) / rest:
            found = number
    return tuple(ordered[:found])


def order(partition: str) -> tuple[int, int, str]:
    """Numbers as numbers, before names."""
    return (0, int(partition), "") if partition.isdigit() else (1, 0, partition)
