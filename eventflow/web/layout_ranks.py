"""Which column a node stands in: the flow goes from left to right, what goes against it is drawn backwards.

Pure and deterministic. Where there is a circle, the weakest flow back is what goes against.
"""

from collections.abc import Mapping

from eventflow.domain.topology_model import Topology

Graph = dict[str, dict[str, float]]
TRICKLE = 0.15
"""What brings a service less than this share of its busiest input does not decide its column: rare compensations would
stretch the whole sheet."""


def ranks(topology: Topology) -> dict[str, int]:
    """Node → column. Services begin in even columns, destinations in odd ones."""
    nodes = [service.id for service in topology.services] + [place.id for place in topology.places]
    after: Graph = {node: {} for node in nodes}
    for edge in topology.edges:
        if edge.kind != "dead-letter":
            after[edge.source][edge.target] = float(max(1, edge.count))
    places = {place.id for place in topology.places}
    order = {node: index for index, node in enumerate(_sequence(after, places))}
    most = dict.fromkeys(after, 0.0)
    for targets in after.values():
        for to, weight in targets.items():
            most[to] = max(most[to], weight)
    forward = {
        node: [
            to
            for to in sorted(after[node])
            if order[to] > order[node] and (to in places or after[node][to] >= TRICKLE * most[to])
        ]
        for node in after
    }
    column: dict[str, int] = {}
    for node in sorted(after, key=order.__getitem__):
        column.setdefault(node, 1 if node in places else 0)
        for to in forward[node]:
            column[to] = max(column.get(to, 0), column[node] + 1)
    reached = {to for node in after for to in forward[node]}
    for node in sorted(after, key=order.__getitem__, reverse=True):
        # One that nothing leads to stands right before what it feeds.
        if node not in reached and forward[node]:
            column[node] = max(column[node], min(column[to] for to in forward[node]) - 1)
    return column


def _sequence(after: Graph, places: set[str]) -> list[str]:
    """An order with little against it (after Eades, Lin, Smyth): sinks last, sources first.

    In a circle the service begins that gives most for what it takes: what comes back to it is a trickle, such as the
    cancellations that reach the shop's checkout.
    """
    before: Graph = {node: {} for node in after}
    for node, targets in after.items():
        for to, weight in targets.items():
            before[to][node] = weight
    left = set(after)
    first: list[str] = []
    last: list[str] = []
    while left:
        sinks = sorted(node for node in left if not _open(after[node], left))
        sources = sorted(node for node in left if node not in sinks and not _open(before[node], left))
        if sinks:
            last[:0] = sinks
            left.difference_update(sinks)
        elif sources:
            first += sources
            left.difference_update(sources)
        else:
            begin = sorted(left - places) or sorted(left)
            node = min(begin, key=lambda one: _weight(before[one], left) / (1 + _weight(after[one], left)))
            first.append(node)
            left.discard(node)
    return first + last


def _open(others: Mapping[str, float], left: set[str]) -> bool:
    return any(other in left for other in others)


def _weight(others: Mapping[str, float], left: set[str]) -> float:
    return sum(weight for other, weight in others.items() if other in left)
