"""The worst of each hour of a day of one group, in a form of fixed size: thousands are read as one array.

Rounded to 7 digits, so that a limit has to be asked for with a margin (`MARGIN`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eventflow.store.lag_pack import MINUTE, SPAN, TENTHS, Lags

HOUR = 3_600
NUMBER = SPAN[MINUTE] // HOUR
COLUMNS = ("ready", "age_seconds", "status", "kept_share", "skew")
MARGIN = 1 - 1e-6
Singles = NDArray[np.float32]


def summed(lags: Lags, begin: int) -> bytes:
    """Of the day that begins then, in seconds since 1970; at least one moment."""
    hours = lags.at // (HOUR * TENTHS) - begin // HOUR
    begins = np.flatnonzero(np.diff(hours, prepend=-1))
    found = np.full((len(COLUMNS), NUMBER), np.nan, np.float32)
    for number, name in enumerate(COLUMNS):
        found[number, hours[begins]] = np.fmax.reduceat(lags[name], begins)
    return found.astype("<f4").tobytes()


def opened(bodies: Sequence[bytes | memoryview]) -> Singles:
    """Days × columns × hours; NaN where nothing is known."""
    return np.frombuffer(b"".join(bodies), "<f4").reshape(len(bodies), len(COLUMNS), NUMBER)
