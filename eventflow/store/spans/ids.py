"""The hashes an id is found by. Kinds are kept apart, so that a message id that looks like a key is none."""

import numpy as np
from xxhash import xxh3_64_intdigest

from eventflow.store.spans.columns import U64, mixed, trace_hashes

_TRACE, _LINKED = 0x74, 0x6C


def of_key(text: bytes) -> int:
    """A flow's key, UTF-8."""
    return xxh3_64_intdigest(text, 1)


def of_message(text: bytes) -> int:
    """A message's id, UTF-8."""
    return xxh3_64_intdigest(text, 2)


def of_traces(traces: U64) -> U64:
    """Spans of these traces, given the traces' hashes."""
    return mixed(traces, _TRACE)


def of_linked(traces: U64) -> U64:
    """Spans that link to these traces, given the traces' hashes."""
    return mixed(traces, _LINKED)


def trace(trace_id: str) -> U64:
    """The hash of a trace id in hex, as an array of one."""
    return trace_hashes(np.frombuffer(bytes.fromhex(trace_id), "<u8").reshape(1, 2))
