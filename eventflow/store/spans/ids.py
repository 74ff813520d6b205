"""The hashes an id is found by. Kinds are kept apart, so that a message id that looks like a key is none.

What these functions return is stored in the index: changing one of them makes stored spans unfindable.
"""

import numpy as np

from eventflow.store.spans.arrays import text_hashes
from eventflow.store.spans.columns import U64, mixed

_KEY, _MESSAGE, _TRACE, _LINKED = 0x6B, 0x6D, 0x74, 0x6C


def of_key(text: bytes) -> int:
    """A flow's key, UTF-8."""
    return int(of_keys(_hashed(text))[0])


def of_message(text: bytes) -> int:
    """A message's id, UTF-8."""
    return int(of_messages(_hashed(text))[0])


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


def _hashed(text: bytes) -> U64:
    return text_hashes([text], np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([len(text)]))
