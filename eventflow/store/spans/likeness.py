"""One hash per flow over everything that its judgement looks at: flows with one hash are alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eventflow.domain.flow_build import RETRY_PATIENCE_NS
from eventflow.store.spans import arrays
from eventflow.store.spans.columns import U64, Array, Flags, Ints, Portion, mixed
from eventflow.store.spans.meaning import CONSUME, PUBLISH
from eventflow.store.spans.window import Window

_FAILED, _LIKE, _SIDE = 2, 8, 0


@dataclass(frozen=True, slots=True)
class Runs:
    """Rows flow by flow, in the domain's order (start, address).

    Flow `n` has `order[starts[n]:starts[n + 1]]`, and begins and ends when `begun` and `ended` say.
    """

    order: Ints
    starts: Ints
    begun: Ints
    ended: Ints

    @staticmethod
    def of(portion: Portion, rows: Ints, flow: Ints) -> "Runs":
        """These rows, one at least; `flow` has the number of every row's flow."""
        order = rows[np.argsort(portion.start[rows], kind="stable")]
        order = order[arrays.grouped(flow[order], int(flow.max()) + 1)]
        mine, start = flow[order], portion.start[order]
        tied = np.flatnonzero((mine[1:] == mine[:-1]) & (start[1:] == start[:-1]))
        if len(tied):
            # As the domain has them: at one time by their addresses.
            at = np.unique(np.concatenate((tied, tied + 1)))
            trace = portion.trace_ids[order[at]].byteswap()
            span = portion.span_ids[order[at]].byteswap().ravel()
            order[at] = order[at][np.lexsort((span, trace[:, 1], trace[:, 0], start[at], mine[at]))]
        first = np.flatnonzero(np.concatenate(([True], mine[1:] != mine[:-1])))
        ended = np.maximum.reduceat(np.maximum(portion.start, portion.end)[order], first)
        return Runs(order, np.append(first, len(order)), portion.start[order[first]], ended)

    def number(self) -> Ints:
        """The number of each row's flow, counted here."""
        return np.repeat(np.arange(len(self.begun)), np.diff(self.starts))


def hashes(window: Window, runs: Runs, now_ns: int) -> U64:
    """The hash of each flow."""
    portion, table, order, flow = window.portion, window.table(), runs.order, runs.number()
    place = np.full(len(portion), -1, np.int64)
    place[order] = np.arange(len(order)) - runs.starts[flow]
    young = (table[order, _FAILED] != 0) & (now_ns - portion.end[order] < RETRY_PATIENCE_NS)
    parents, links = _named(portion, place, runs)
    parts: Sequence[Array] = (
        table[order, _LIKE],
        parents,
        _ranks(flow, portion.trace[order].view(np.int64)),
        young,
        _ranks(flow, _messages(window)[order]),
        links,
        *_time_ranks(
            flow, portion.start[order], np.where(_end_counts(portion, table, order, flow), portion.end[order], -1)
        ),
    )
    hashed = np.zeros(len(order), np.uint64)
    for salt, part in enumerate(parts):
        hashed = mixed(hashed ^ mixed(_bits(part), 100 + salt), salt)
    hashed = mixed(hashed ^ mixed(place[order].view(np.uint64), 7), 8)
    summed: U64 = np.add.reduceat(hashed, runs.starts[:-1])
    return mixed(summed ^ np.diff(runs.starts).astype(np.uint64), 9)


def _named(portion: Portion, place: Ints, runs: Runs) -> tuple[Ints, Ints]:
    """For each row its parent's place in the flow (-1: no parent) and a hash of the places that it links to.

    What is not in the flow has places before -1: which of them are one and the same counts.
    """
    order, flow = runs.order, runs.number()
    position = np.zeros(len(portion), np.int64)
    position[order] = np.arange(len(order))
    linking = np.flatnonzero(place[portion.link_row] >= 0)
    source = position[portion.link_row[linking]]
    named: U64 = np.concatenate((portion.parent[order], portion.link_context[linking]))
    inside, at = arrays.among(named, portion.context)
    places = np.where(inside, place[at], -1)
    outside = np.flatnonzero(~inside & (named != 0))
    if len(outside):
        by = np.concatenate((np.arange(len(order)), source))[outside]
        outside, by = outside[np.argsort(by, kind="stable")], np.sort(by)
        places[outside] = -2 - _ranks(flow[by], named[outside].view(np.int64))
    links = np.zeros(len(order), np.uint64)
    np.add.at(links, source, mixed(places[len(order) :].view(np.uint64), 5))
    return places[: len(order)], links.view(np.int64)


def _end_counts(portion: Portion, table: Ints, order: Ints, flow: Ints) -> Flags:
    """Where an end may decide: of publishes that failed; of all hops in flows with consumers to be joined by time."""
    side = table[:, _SIDE]
    published = portion.context[side == PUBLISH]
    by_link = np.zeros(len(portion), bool)
    by_link[portion.link_row[arrays.among(portion.link_context, published)[0]]] = True
    joined = by_link | arrays.among(portion.parent, published)[0]
    unjoined = np.bincount(flow, (side[order] == CONSUME) & ~joined[order]) > 0
    hop = side[order] != 0
    found: Flags = hop & (unjoined[flow] | ((side[order] == PUBLISH) & (table[order, _FAILED] != 0)))
    return found


def _bits(values: Array) -> U64:
    return values.astype(np.int64).view(np.uint64)


def _ranks(flow: Ints, values: Ints) -> Ints:
    """Which distinct value of its flow each row has, in the order of their first rows."""
    first, inverse = arrays.distinct(mixed(values.view(np.uint64) ^ mixed(flow.view(np.uint64), 10), 12))
    begins = np.searchsorted(flow, np.arange(flow[-1] + 1))
    found: Ints = first[inverse] - begins[flow]
    return found


def _messages(window: Window) -> Ints:
    found = np.zeros(len(window.portion), np.int64)
    found[window.keys.message.row] = window.keys.message.hash.view(np.int64)
    return found


def _time_ranks(flow: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """The order of all starts and ends within each flow, equal times being equal; -1 where an end does not matter.

    The starts are in order already: only flows of which ends matter need be sorted.
    """
    begins = np.searchsorted(flow, np.arange(flow[-1] + 1))
    later = np.concatenate(([0], np.cumsum((starts[1:] != starts[:-1]) & (flow[1:] == flow[:-1]))))
    of_start, of_end = later - later[begins][flow], np.full(len(starts), -1, np.int64)
    rows = np.flatnonzero(np.bincount(flow, ends >= 0)[flow])
    if len(rows):
        of_start[rows], of_end[rows] = _sorted_ranks(flow[rows], starts[rows], ends[rows])
    return of_start, of_end


def _sorted_ranks(flow: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    counts = ends >= 0
    flows = np.concatenate((flow, flow[counts]))
    times = np.concatenate((starts, ends[counts]))
    order = np.lexsort((times, flows))
    changes = np.ones(len(order), np.int64)
    changes[1:] = (flows[order][1:] != flows[order][:-1]) | (times[order][1:] != times[order][:-1])
    dense = np.empty(len(order), np.int64)
    dense[order] = np.cumsum(changes)
    first = np.full(flow[-1] + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, flows, dense)
    dense -= first[flows]
    of_end = np.full(len(starts), -1, np.int64)
    of_end[counts] = dense[len(starts) :]
    return dense[: len(starts)], of_end
