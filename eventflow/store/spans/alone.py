"""Which flow each row of a window is of, and which flows stand by themselves: nothing elsewhere decides about them."""

import numpy as np

from eventflow.store.spans import arrays, ids, index
from eventflow.store.spans.columns import U64, Flags, Ints
from eventflow.store.spans.letters import with_letters
from eventflow.store.spans.load import is_trace
from eventflow.store.spans.window import Window

_SIDE = 0
UNKNOWN = 64
"""So many traces that are not here are looked up in a step because somebody links to them."""


def flows(window: Window) -> tuple[Ints, U64, dict[int, str]]:
    """The number of each row's flow (negative: its trace has several), its trace's key if any, and the flows' keys."""
    portion, keys = window.portion, window.keys.key
    first, trace_of = arrays.distinct(portion.trace)
    traces = portion.trace[first]
    low = np.full(len(traces), np.iinfo(np.uint64).max, np.uint64)
    high = np.zeros(len(traces), np.uint64)
    np.minimum.at(low, trace_of[keys.row], keys.hash)
    np.maximum.at(high, trace_of[keys.row], keys.hash)
    named = np.where(high == 0, traces, high)
    _, flow_of_trace = arrays.distinct(named)
    flow: Ints = flow_of_trace[trace_of]
    numbers = flow[keys.row]
    named_at, _ = arrays.distinct(numbers.view(np.uint64))
    texts = dict(zip(numbers[named_at].tolist(), keys.texts_at(named_at), strict=True))
    # Where a trace's id is a key, that trace is of the same flow, wherever it is.
    several = np.array([number for number, text in texts.items() if len(text) == 32 and is_trace(text)], np.int64)
    nameless = high == 0
    hexes = (raw.hex() for raw in portion.trace_ids[first[nameless]].view("V16").ravel().tolist())
    texts.update(zip(flow_of_trace[nameless].tolist(), hexes, strict=True))
    # Several keys in one trace: the flow of neither is this trace alone.
    unsure = ((low != high) & ~nameless)[trace_of] | arrays.one_of(flow, several)
    return np.where(unsure, -1 - flow, flow), high[trace_of], texts


def alone(window: Window, flow: Ints, keyed: U64) -> Flags:
    """The rows of flows that stand by themselves: everything that decides about them is here and of the usual kind.

    `flow` and `keyed` as `flows` gives them. What is not stored yet decides nothing: such flows are judged as they are.
    """
    bad = (flow < 0) | window.portion.odd
    _mark_joined(window, flow, keyed, bad)
    bad |= _several_messages(window)
    bad |= _elsewhere(window)
    bad |= with_letters(window)
    return ~arrays.among(flow.view(np.uint64), flow[bad].view(np.uint64))[0]


def _mark_joined(window: Window, flow: Ints, keyed: U64, bad: Flags) -> None:
    """Links out of a flow, and links into it from elsewhere, join flows or bring foreign publishers."""
    portion = window.portion
    source = portion.link_row
    into, at = arrays.among(portion.link_context, portion.context)
    known, where = arrays.among(portion.link_trace, portion.trace)
    target = np.where(into, flow[at], np.where(known, flow[where], flow[source]))
    crossing = target != flow[source]
    bad[source[crossing]] = True
    bad[where[crossing & known]] = True
    # Nobody knows these targets' trace here. It may be stored; and a trace without a key belongs where it links to.
    unknown = np.flatnonzero(~into & ~known)
    away = (keyed[source[unknown]] == 0) | _stored(window, portion.link_trace[unknown])
    bad[source[unknown[away]]] = True


def _stored(window: Window, traces: U64) -> Flags:
    """Which of these traces lie in chunks that are not here.

    Of many only some are looked up, since the whole index has to say that it has none: many are those that are still to
    come, and wake whom they concern.
    """
    some = arrays.ascending(index.shortened(ids.of_traces(traces)))[:UNKNOWN]
    return arrays.one_of(index.shortened(ids.of_traces(traces)), window.away(some))


def _several_messages(window: Window) -> Flags:
    return np.bincount(window.keys.message.row, minlength=len(window.portion)) > 1


def _elsewhere(window: Window) -> Flags:
    """Rows of grown flows whose trace or key lies in chunks that are not here, too."""
    portion, keys = window.portion, window.keys.key
    found = np.zeros(len(portion), bool)
    if not len(window.grown):
        return found
    of_traces = ids.of_traces(portion.trace)
    grown = window.is_grown(of_traces)
    grown[keys.row[window.is_grown(keys.hash)]] = True
    traces = arrays.among(portion.trace, portion.trace[grown])[0]
    rows = np.concatenate((np.flatnonzero(traces), np.flatnonzero(traces), keys.row[traces[keys.row]]))
    hashes = index.shortened(
        np.concatenate((of_traces[traces], ids.of_linked(portion.trace[traces]), keys.hash[traces[keys.row]]))
    )
    found[rows[arrays.one_of(hashes, window.away(arrays.ascending(hashes)))]] = True
    return found
