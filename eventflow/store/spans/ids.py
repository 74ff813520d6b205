"""The hashes an id is found by. Kinds are kept apart, so that a message id that looks like a key is none.

What these functions return is stored in the index: changing one of them makes stored spans unfindable.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from eventflow.store.spans.arrays import text_hashes
from eventflow.store.spans.columns import U64, mixed
from eventflow.store.spans.index import CUT

_KEY, _MESSAGE, _TRACE, _VALUE = 0x6B, 0x6D, 0x74, 0x76
_BESIDE = np.uint64(1 << CUT)
"""The lowest bit that the index keeps."""


@lru_cache(maxsize=4_096)
def of_key(text: bytes) -> int:
    """A flow's key, UTF-8."""
    return int(of_keys(hashed([text]))[0])


def of_message(text: bytes) -> int:
    """A message's id, UTF-8."""
    return int(of_messages(hashed([text]))[0])


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
    """Spans that link to these traces, given the traces' hashes.

    In the index they stand beside the traces' own spans: who asks for both finds them on one page.
    """
    return of_traces(traces) ^ _BESIDE


def of_values(names: U64, values: U64) -> U64:
    """Attributes' values, given the hashes of their names and of what stands in the spans."""
    return mixed(mixed(names, _VALUE) ^ values, _VALUE)


def hashed(texts: Sequence[bytes]) -> U64:
    """The hashes of texts."""
    lengths = np.array([len(text) for text in texts], np.int64)
    return text_hashes(texts, np.arange(len(texts)), np.zeros(len(texts), np.int64), lengths)
