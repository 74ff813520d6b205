"""What the engine does to whole columns of hashes and numpy is slow at; compiled where a compiler was present.

`_arrays.pyx` and `arrays_py.py` give the same results; EVENTFLOW_NATIVE=0 forces the second. Only tables are changed.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from eventflow.domain.columns import Body
from eventflow.store.spans import arrays_py
from eventflow.store.spans.dtypes import U64, Flags, Ints

if os.environ.get("EVENTFLOW_NATIVE") != "0" and find_spec("eventflow.store.spans._arrays") is not None:
    from eventflow.store.spans import _arrays as _best
else:
    _best = arrays_py  # type: ignore[misc]  # two modules of one interface


def mixed(values: U64, salt: int = 0) -> U64:
    """A 64-bit hash of 64-bit values, well spread; `salt` keeps different uses apart. They are stored: never change."""
    return _best.mixed(values, salt)


def distinct(values: U64) -> tuple[Ints, Ints]:
    """The rows in which each distinct value stands first, ascending; for every row the number of its value there."""
    return _best.distinct(values)


def among(hashes: U64, wanted: U64) -> tuple[Flags, Ints]:
    """Which of `hashes` are among `wanted`, and where they stand there first (0 for the others)."""
    return _best.among(hashes, wanted)


def one_of(numbers: Ints, wanted: Ints) -> Flags:
    """Which of `numbers` are among `wanted`."""
    return among(numbers.view(np.uint64), wanted.view(np.uint64))[0]


def ascending(numbers: Ints) -> Ints:
    """The distinct ones, ascending, several times as fast as np.unique."""
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def grouped(numbers: Ints, groups: int) -> Ints:
    """The rows in the order of their numbers, which are in [0, groups); rows of one number stay in their order."""
    return _best.grouped(numbers, groups)


def find(table: U64, hashes: U64) -> tuple[Flags, Ints]:
    """Which hashes are in a table by open addressing, and their numbers (zeros for the others).

    A table has 2**n rows of a hash and its numbers, at least one of them free (0); no hash is 0.
    """
    return _best.find(table, hashes)


def settle(table: U64, hashes: U64, numbers: Ints) -> int:
    """Put hashes with their numbers into a table as for `find`; of equal ones the last counts. How many were new."""
    return _best.settle(table, hashes, numbers)


def text_hashes(bodies: Sequence[Body], body: Ints, start: Ints, length: Ints) -> U64:
    """Hashes of many texts, `length[i]` bytes from `start[i]` of `bodies[body[i]]`. They are stored: never change."""
    return _best.text_hashes(bodies, body, start, length)


def from_planes(plain: bytes, begin: int, width: int, count: int) -> Ints:
    """`count` numbers of `width` bytes (0 to 8), whose lowest bytes stand together, then the next, and so on."""
    return _best.from_planes(plain, begin, width, count)
