"""Whether one partition holds most of a group's lag: a hot key, a slow member, a poisoned message. Pure."""

from collections.abc import Sequence
from math import fsum, sqrt

PARTITIONS = 4
"""Of fewer, one always holds much."""
DEVIATIONS = 2.0


def worst_share(lags: Sequence[int | None]) -> float | None:
    """The worst partition's share of the lag in percent; 0 when it does not stand out, None when that is not known.

    It stands out against the *others*: two standard deviations above their mean. Measured with itself among them it
    could not: of n values none lies further above the mean than the root of n - 1 deviations, 1.7 of four.
    """
    known = [lag for lag in lags if lag is not None]
    if len(known) < len(lags) or len(known) < PARTITIONS:
        return None
    total, worst = sum(known), max(known)
    if not total:
        return 0.0
    others = sorted(known)[:-1]
    mean = (total - worst) / len(others)
    # By hand: `statistics` reckons in fractions, which takes twenty times as long.
    deviation = sqrt(fsum((lag - mean) ** 2 for lag in others) / len(others))
    return 100 * worst / total if worst > mean + DEVIATIONS * deviation else 0.0
