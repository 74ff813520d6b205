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
    """Rows flow by flow, in the order of their starts: flow `n` has `order[starts[n]:starts[n + 1]]`, and begins and
    ends when `begun` and `ended` say."""

    order: Ints
    starts: Ints
    begun: Ints
    ended: Ints

    @staticmethod
    def of(portion: Portion, rows: Ints, flow: Ints) -> "Runs":
        """These rows, one at least; `flow` has the number of every row's flow."""
        order = rows[np.argsort(portion.start[rows], kind="stable")]
        order = order[arrays.grouped(flow[order], int(flow.max()) + 1)]
        mine = flow[order]
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
    inside, parent = arrays.among(portion.parent[order], portion.context)
    parents = np.where(portion.parent[order] == 0, -1, np.where(inside, place[parent], -2))
    parts: Sequence[Array] = (
        table[order, _LIKE],
        parents,
        _ranks(flow, portion.trace[order].view(np.int64)),
        young,
        _ranks(flow, _messages(window)[order]),
        _links(portion, place)[order],
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


def _links(portion: Portion, place: Ints) -> Ints:
    """A hash of the places in the flow that each row links to."""
    inside, at = arrays.among(portion.link_context, portion.context)
    targets = np.where(inside, place[at], -1)
    found = np.zeros(len(portion), np.uint64)
    np.add.at(found, portion.link_row, mixed(targets.view(np.uint64), 5))
    return found.view(np.int64)


def _time_ranks(flow: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """The order of all starts and ends within each flow, equal times being equal; -1 where an end does not matter."""
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
