"""Which flow each row of a window is of, and which flows stand by themselves: nothing elsewhere decides about them."""

import numpy as np

from eventflow.store.spans import arrays, ids, index
from eventflow.store.spans.columns import U64, Flags, Ints, Portion
from eventflow.store.spans.letters import with_letters
from eventflow.store.spans.load import is_trace
from eventflow.store.spans.window import Window

_SIDE = 0


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
    texts: dict[int, str] = {}
    several: set[int] = set()
    numbers = flow[keys.row]
    first, _ = arrays.distinct(numbers.view(np.uint64))
    found = zip(numbers[first].tolist(), first.tolist(), keys.hash[first].tolist(), strict=True)
    for number, at, one in found:
        texts[number] = window.texts.get(one) or keys.text(at)
        # The trace with that id is of the same flow, wherever it is.
        several |= {number} if is_trace(texts[number]) else set()
    nameless = np.unique(flow[(high == 0)[trace_of]], return_index=True)
    rows = np.flatnonzero((high == 0)[trace_of])
    for number, at in zip(nameless[0].tolist(), nameless[1].tolist(), strict=True):
        texts.setdefault(number, portion.trace_ids[rows[at]].tobytes().hex())
    # Several keys in one trace: the flow of neither is this trace alone.
    unsure = ((low != high) & (high != 0))[trace_of] | np.isin(flow, np.array(sorted(several), np.int64))
    return np.where(unsure, -1 - flow, flow), high[trace_of], texts


def alone(window: Window, flow: Ints) -> Flags:
    """The rows of flows that stand by themselves: everything that decides about them is here and of the usual kind."""
    portion = window.portion
    bad = np.zeros(len(portion), bool)
    bad |= flow < 0
    bad |= portion.odd
    # Links out of the flow, and links into it from elsewhere, join flows or bring foreign publishers.
    into, at = arrays.among(portion.link_context, portion.context)
    source, target = flow[portion.link_row], np.where(into, flow[at], -1)
    crossing = (source != target) | (target < 0)
    bad[portion.link_row[crossing]] = True
    known_trace, where = arrays.among(portion.link_trace, portion.trace)
    bad[where[crossing & known_trace]] = True
    # A parent that is not here decides where a message came from.
    inside, _ = arrays.among(portion.parent, portion.context)
    hop = window.table()[:, _SIDE] != 0
    bad |= hop & (portion.parent != 0) & ~inside & ~_has_links(portion)
    bad |= _several_messages(window)
    bad |= _elsewhere(window)
    bad |= with_letters(window)
    return ~arrays.among(flow.view(np.uint64), flow[bad].view(np.uint64))[0]


def _has_links(portion: Portion) -> Flags:
    found = np.zeros(len(portion), bool)
    found[portion.link_row] = True
    return found


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
    held, chunks = window.places.of(np.unique(hashes))
    away = held[~np.isin(chunks, np.array(sorted(window.chunks)))]
    found[rows[np.isin(hashes, away)]] = True
    return found
