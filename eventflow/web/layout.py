"""Where everything of the topology is drawn: boxes, ports and curved routes, layered from left to right by graphlay.

Promises: the same graph gives the same picture, and a picture once shown keeps its boxes where they are: a new node
only adds. A token names such a line of pictures, so that a page that updates itself stays in its own.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any

import graphlay

from eventflow.domain.topology_model import Edge, Service, Topology
from eventflow.web.layout_ranks import ranks
from eventflow.web.layout_routes import Route, curve, rounded

HEAD, ROW, LETTER = 40, 24, 6.6
SERVICE_WIDTHS, PLACE_WIDTHS, PLACE_HEIGHT = (136, 188), (108, 188), 50
RAMP_GAP, RAMP_HEIGHT, RAMP_INDENT = 16, 36, 34
ROOM = RAMP_GAP + RAMP_HEIGHT
"""Kept free below a service with consumer groups, whether or not letters wait: a first letter moves nothing."""
NODE_GAP, LAYER_GAP = 28, 58
KEPT = 16
OPTIONS = {
    "routing": {"style": "orthogonal", "port_sides": "facing_only"},
    "spacing": {"layer_gap": float(LAYER_GAP), "node_gap": float(NODE_GAP)},
    # Fan-outs spread to both sides of what feeds them; other styles leave holes where lanes pass.
    "coords": {"branch_style": "symmetric"},
    "cycles": {"strategy": "follow_flow"},
}


@dataclass(frozen=True, slots=True)
class Box:
    """Left, top, width, height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        return self.x + self.w

    @property
    def bottom(self) -> float:
        return self.y + self.h

    @property
    def middle(self) -> float:
        return self.y + self.h / 2


@dataclass(frozen=True, slots=True)
class Drawing:
    boxes: Mapping[str, Box]
    routes: Mapping[str, Route]
    bounds: Box
    token: str


@dataclass(slots=True)
class Line:
    """One line of pictures: boxes never move within it. `added` counts those that found their place later."""

    token: str
    boxes: dict[str, Box] = field(default_factory=dict)
    added: int = 0
    shape: object = None
    drawing: Drawing | None = None


_lines: OrderedDict[str, Line] = OrderedDict()
_tokens = count(1)
_lock = Lock()


def arrange(topology: Topology, token: str = "") -> Drawing:
    """Draw it. With an earlier drawing's token its boxes stay; without one the newest line goes on while it is tidy."""
    sizes = _sizes(topology)
    with _lock:
        line = _lines.get(token) or _newest(sizes)
        shape = (tuple(sorted(sizes.items())), tuple((edge.id, edge.port) for edge in topology.edges))
        if line.shape != shape or line.drawing is None:
            _place(line, topology, sizes)
            line.drawing = _draw(line, topology, sizes)
            line.shape = shape
        _lines[line.token] = line
        _lines.move_to_end(line.token)
        while len(_lines) > KEPT:
            _lines.popitem(last=False)
        return line.drawing


def forget() -> None:
    """Start every line anew."""
    with _lock:
        _lines.clear()


def _newest(sizes: Mapping[str, tuple[int, int]]) -> Line:
    """The newest line, or a new one when that has become untidy or shows something else."""
    line = next(reversed(_lines.values()), None)
    if line is not None:
        new = sum(1 for node in sizes if node not in line.boxes)
        gone = sum(1 for node in line.boxes if node not in sizes)
        if line.added + new + gone <= max(1, len(sizes) // 12):
            return line
    return Line(f"{next(_tokens)}")


def height(service: Service) -> int:
    return HEAD + ROW * len(service.groups)


def _width(most: int, least: int, room: float) -> int:
    """Even numbers, so that halves stay whole."""
    return min(most, max(least, math.ceil(room / 2) * 2))


def _sizes(topology: Topology) -> dict[str, tuple[int, int]]:
    """As wide as the names need, within limits."""
    sizes = {}
    for service in topology.services:
        least, most = SERVICE_WIDTHS
        room = max([len(service.name) * 7.7 + 36, *(len(row.name) * LETTER + 74 for row in service.groups)])
        sizes[service.id] = (_width(most, least, room), height(service))
    for place in topology.places:
        least, most = PLACE_WIDTHS
        sizes[place.id] = (_width(most, least, len(place.name) * 7.2 + 38), PLACE_HEIGHT)
    return sizes


def _place(line: Line, topology: Topology, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Give every node its box: those known keep theirs (they may grow downwards), others are added around them."""
    if not line.boxes:
        line.boxes = _fresh(topology, sizes)
        return
    for node, (w, h) in sizes.items():
        if node in line.boxes:
            old = line.boxes[node]
            line.boxes[node] = Box(old.x, old.y, w, h)
    neighbours = _neighbours(topology)
    missing = [node for node in sizes if node not in line.boxes]
    # Those next to something that has its place first.
    while missing:
        node = max(missing, key=lambda one: (_anchored(one, neighbours, line.boxes), one))
        missing.remove(node)
        line.boxes[node] = _beside(node, sizes[node], neighbours, line.boxes, sizes)
        line.added += 1


def _neighbours(topology: Topology) -> dict[str, list[tuple[str, bool]]]:
    """Node → its neighbours, and whether each comes before it."""
    found: dict[str, list[tuple[str, bool]]] = {}
    for edge in _lines_of(topology):
        found.setdefault(edge.source, []).append((edge.target, False))
        found.setdefault(edge.target, []).append((edge.source, True))
    return found


def _lines_of(topology: Topology) -> Iterable[Edge]:
    return (edge for edge in topology.edges if edge.kind != "dead-letter")


def _anchored(node: str, neighbours: Mapping[str, list[tuple[str, bool]]], boxes: Mapping[str, Box]) -> int:
    return sum(1 for other, _ in neighbours.get(node, ()) if other in boxes)


def _beside(
    node: str,
    size: tuple[int, int],
    neighbours: Mapping[str, list[tuple[str, bool]]],
    boxes: Mapping[str, Box],
    shown: Mapping[str, tuple[int, int]],
) -> Box:
    """The free spot nearest to a node's neighbours, in the column after (or before) them."""
    w, h = size
    before = [boxes[other] for other, comes_before in neighbours.get(node, ()) if comes_before and other in boxes]
    after = [boxes[other] for other, comes_before in neighbours.get(node, ()) if not comes_before and other in boxes]
    if before:
        x = max(box.right for box in before) + LAYER_GAP
    elif after:
        x = min(box.x for box in after) - LAYER_GAP - w
    else:
        x = min((box.x for box in boxes.values()), default=0.0)
    # Line up with the column that is there already.
    column = min((box.x for key, box in boxes.items() if key in shown), key=lambda left: abs(left - x), default=x)
    x = column if abs(column - x) < LAYER_GAP / 2 else x
    near = before or after or list(boxes.values())
    y = sum(box.middle for box in near) / len(near) - h / 2 if near else 0.0
    taken = [box for key, box in boxes.items() if key in shown and box.x < x + w + 20 and x < box.right + 20]
    for step in range(400):
        for sign in (1, -1):
            spot = y + sign * step * 10
            if all(spot + h + ROOM + NODE_GAP <= box.y or box.bottom + ROOM + NODE_GAP <= spot for box in taken):
                return Box(round(x), round(spot), w, h)
    return Box(round(x), round(max((box.bottom for box in taken), default=0) + ROOM), w, h)


def _along(distance: float, side: float) -> float:
    """A port's place on its side as graphlay counts it: -1 at the top, 1 at the bottom."""
    return 2 * distance / side - 1


def _request(
    topology: Topology, sizes: Mapping[str, tuple[int, int]], boxes: Mapping[str, Box] | None
) -> graphlay.Graph:
    """The graph in graphlay's terms: with boxes to route around, or with ranks to be placed by."""
    graph = graphlay.Graph()
    rank = {} if boxes else ranks(topology)
    for node, (w, h) in sizes.items():
        fields: dict[str, Any] = {}
        if boxes:
            fields["position"] = {"x": boxes[node].x + w / 2, "y": boxes[node].y + h / 2}
        else:
            fields["rank"] = {"fixed": rank.get(node, 0)}
        graph.node(node, width=float(w), height=float(h), **fields)
    if boxes:
        for service in topology.services:
            if service.groups:
                room = _ramp_box(boxes[service.id])
                at = {"x": room.x + room.w / 2, "y": room.y + room.h / 2}
                graph.node(f"ramp {service.id}", width=room.w, height=room.h, position=at)
    rows = {row.id: index for service in topology.services for index, row in enumerate(service.groups)}
    for edge in _lines_of(topology):
        start, end = sizes[edge.source][1], sizes[edge.target][1]
        if edge.kind == "publish":
            source: object = {"offset": {"side": "right", "t": _along(20, start)}}
            target: object = {"side": "left"}
        else:
            source = {"side": "right"}
            target = {"offset": {"side": "left", "t": _along(HEAD + ROW * rows[edge.port] + ROW / 2, end)}}
        graph.edge(edge.source, edge.target, source_port=source, target_port=target, thickness=5.0)
    return graph


def _fresh(topology: Topology, sizes: Mapping[str, tuple[int, int]]) -> dict[str, Box]:
    if not sizes:
        return {}
    ramped = {service.id for service in topology.services if service.groups}
    roomy = {node: (w, h + ROOM if node in ramped else h) for node, (w, h) in sizes.items()}
    placed = graphlay.layout(_request(topology, roomy, None), options=OPTIONS)
    boxes = {}
    for node, (x, y) in placed.positions().items():
        boxes[node] = Box(round(x - roomy[node][0] / 2), round(y - roomy[node][1] / 2), *sizes[node])
    return boxes


def _ramp_box(box: Box) -> Box:
    return Box(box.x + RAMP_INDENT, box.bottom + RAMP_GAP, box.w - RAMP_INDENT, RAMP_HEIGHT)


def _draw(line: Line, topology: Topology, sizes: Mapping[str, tuple[int, int]]) -> Drawing:
    """Routes around the boxes, the off-ramps, and what all of it covers."""
    boxes = {node: line.boxes[node] for node in sizes}
    routes: dict[str, Route] = {}
    edges = list(_lines_of(topology))
    if edges:
        routed = graphlay.reroute(_request(topology, sizes, boxes), options=OPTIONS)
        for edge, made in zip(edges, routed.edges, strict=True):
            points = [(round(point["x"], 1), round(point["y"], 1)) for point in made.get("points") or []]
            if len(points) < 2:
                a, b = boxes[edge.source], boxes[edge.target]
                points = [(a.right, a.middle), (b.x, b.middle)]
            routes[edge.id] = rounded(points) if len(points) != 2 else curve(points)
    for service in topology.services:
        if service.ramp is None:
            continue
        box = boxes[service.id]
        ramp = _ramp_box(box)
        boxes[service.ramp.id] = ramp
        x, y = box.x + 17, ramp.middle
        path = f"M{x:g} {box.bottom:g}V{y - 12:g}Q{x:g} {y:g} {x + 12:g} {y:g}H{ramp.x - 6:g}"
        routes[f"dead-letter:{service.name}"] = Route(path, (ramp.x - 1, y), (x, (box.bottom + y) / 2), False)
    return Drawing(boxes, routes, _bounds(boxes.values(), routes.values()), line.token)


def _bounds(boxes: Iterable[Box], routes: Iterable[Route]) -> Box:
    boxes, corners = list(boxes), [corner for route in routes for corner in route.corners]
    if not boxes:
        return Box(0, 0, 100, 100)
    left = min([box.x for box in boxes] + [x for x, _ in corners])
    top = min([box.y for box in boxes] + [y for _, y in corners])
    right = max([box.right for box in boxes] + [x for x, _ in corners])
    bottom = max([box.bottom for box in boxes] + [y for _, y in corners])
    return Box(left - 14, top - 14, right - left + 28, bottom - top + 28)
