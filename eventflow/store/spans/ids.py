"""The hashes an id is found by. Kinds are kept apart, so that a message id that looks like a key is none.

What these functions return is stored in the index: changing one of them makes stored spans unfindable.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from eventflow.store.spans.columns import MIX, MIX2, U64, Ints, mixed

_KEY, _MESSAGE, _TRACE, _LINKED, _VALUE = 0x6B, 0x6D, 0x74, 0x6C, 0x76
_LANE = 8
_ALL = 2**64 - 1
_MIX, _MIX2 = int(MIX), int(MIX2)


@lru_cache(maxsize=4_096)
def of_key(text: bytes) -> int:
    """A flow's key, UTF-8."""
    return int(of_keys(hashed(text))[0])


def of_message(text: bytes) -> int:
    """A message's id, UTF-8."""
    return int(of_messages(hashed(text))[0])


def of_keys(texts: U64) -> U64:
    """Flows' keys, given the hashes of their texts."""
    return mixed(texts, _KEY)


def of_messages(texts: U64) -> U64:
    """Messages' ids, given the hashes of their texts."""
    return mixed(texts, _MESSAGE)


def of_traces(traces: U64) -> U64:
    """Spans of these traces, given the traces' hashes."""
    return mixed(traces, _TRACE)


def of_linked(traces: U64) -> U64:
    """Spans that link to these traces, given the traces' hashes."""
    return mixed(traces, _LINKED)


def of_values(names: U64, values: U64) -> U64:
    """Attributes' values, given the hashes of their names and of what stands in the spans."""
    return mixed(mixed(names, _VALUE) ^ values, _VALUE)


def hashed(text: bytes) -> U64:
    """The hash of one text, as `texts` gives it: arrays would take ten times as long for it."""
    found = _mixed(len(text), 1)
    for offset in range(0, len(text), _LANE):
        found = _mixed(found ^ int.from_bytes(text[offset : offset + _LANE], "little"), 2)
    return np.array([found], np.uint64)


def _mixed(value: int, salt: int) -> int:
    """`columns.mixed` of one number."""
    found = (value ^ salt) * _MIX & _ALL
    found ^= found >> 32
    found = found * _MIX2 & _ALL
    return found ^ found >> 32


def texts(bodies: Sequence[bytes], body: Ints, start: Ints, length: Ints) -> U64:
    """Hashes of many texts at once: `length[i]` bytes from `start[i]` of `bodies[body[i]]`, eight bytes at a time."""
    begins = np.cumsum([0, *map(len, bodies)])[:-1]
    buffer = b"".join((*bodies, bytes(_LANE)))
    lanes: U64 = np.ndarray(len(buffer) - _LANE + 1, "<u8", buffer, strides=(1,))
    at = begins[body] + start
    found = mixed(length.astype(np.uint64), 1)
    for offset in range(0, int(length.max(initial=0)), _LANE):
        longer = np.flatnonzero(length > offset)
        left = np.minimum(length[longer] - offset, _LANE).astype(np.uint64)
        # Of the last eight bytes only those of the text count.
        lane = lanes[at[longer] + offset] & (np.uint64(2**64 - 1) >> (np.uint64(64) - left * np.uint64(8)))
        found[longer] = mixed(found[longer] ^ lane, 2)
    return found
