"""The topology as it is drawn: what each node and edge says, how wide and fast an edge is, what a filter dims.

Built from the domain's topology and the layout; templates/topology/_graph.html puts it into SVG. Reads nothing itself,
except `current`, which asks the store once for everything.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from eventflow.domain.edge import EdgeStats
from eventflow.domain.topology import build
from eventflow.domain.topology_model import Edge, GroupRow, Place, Service, Topology
from eventflow.store.queries import broker
from eventflow.store.queries import topology as rollups
from eventflow.web import formats
from eventflow.web.layout import HEAD, ROW, Box, Drawing, arrange
from eventflow.web.layout_routes import Route

WINDOWS = {"1m": (60, "Last minute"), "15m": (900, "Last 15 min"), "1h": (3600, "Last hour")}
REMEMBERED = timedelta(hours=1)
LETTER_WIDTH = 6.5
STATE_WORDS = {"crit": "critical", "warn": "warning", "ok": "healthy", "idle": "idle"}


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for; what does not match is dimmed, never moved."""

    find: str = ""
    unhealthy: bool = False
    hidden: frozenset[str] = frozenset()

    @property
    def on(self) -> bool:
        return bool(self.find or self.unhealthy or self.hidden)

    def shows(self, edge: Edge) -> bool:
        if self.unhealthy and not edge.bad and not (edge.kind == "dead-letter" and edge.health.level == "crit"):
            return False
        if edge.system and edge.system in self.hidden:
            return False
        words = f"{edge.service} {edge.destination} {edge.group}".lower()
        return not self.find or self.find in words


@dataclass(frozen=True, slots=True)
class GroupView:
    row: GroupRow
    x: float
    y: float
    w: float
    name: str
    lag: str
    badge: int
    level: str
    label: str

    @property
    def trend(self) -> str:
        return {1: "M-3 3.5l3.5-6 3.5 6z", -1: "M-3-3l3.5 6 3.5-6z"}.get(self.row.trend, "M-3-.75h6v1.5h-6z")


@dataclass(frozen=True, slots=True)
class NodeView:
    id: str
    kind: str
    box: Box
    name: str
    sub: str
    level: str
    dim: bool
    label: str
    system: str = ""
    shape: str = ""
    inset: int = 12
    groups: tuple[GroupView, ...] = ()
    waiting: int = 0
    arriving: int = 0
    known: bool = True


@dataclass(frozen=True, slots=True)
class EdgeView:
    edge: Edge
    route: Route
    width: str
    thin: str
    seconds: str
    level: str
    dim: bool
    first: str
    second: str
    mark: tuple[float, float] | None
    label_w: int
    label_h: int


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: tuple[NodeView, ...]
    edges: tuple[EdgeView, ...]
    bounds: Box
    token: str
    systems: tuple[str, ...]
    shown: int
    unhealthy: int
    topology: Topology

    @property
    def view_box(self) -> str:
        return f"{self.bounds.x:g} {self.bounds.y:g} {self.bounds.w:g} {self.bounds.h:g}"


def window(now: datetime, seconds: int = 60) -> list[EdgeStats]:
    """The edges of the last `seconds`."""
    return rollups.edges(now - timedelta(seconds=seconds), now)


def current(now: datetime, seconds: int = 60, minute: list[EdgeStats] | None = None) -> Topology:
    """The topology of the last `seconds`, with what was seen in the last hour. `minute`: its window, where read."""
    return build(
        window(now, seconds) if minute is None else minute,
        broker.groups(now),
        broker.destinations(now),
        broker.letters(now),
        window_seconds=seconds,
        now=now,
        known=rollups.known(now - REMEMBERED),
    )


def draw(topology: Topology, wanted: Filter | None = None, token: str = "") -> Graph:
    """Everything that stands in the picture."""
    drawing = arrange(topology, token)
    wanted = wanted or Filter()
    shown = {edge.id for edge in topology.edges if wanted.shows(edge)}
    lit = {end for edge in topology.edges if edge.id in shown for end in (edge.source, edge.target)}
    scale = _scale(topology)
    nodes = [
        _service(service, drawing, _is_dim(service.id, service.name, wanted, lit)) for service in topology.services
    ]
    nodes += [_place(place, drawing, _is_dim(place.id, place.name, wanted, lit)) for place in topology.places]
    nodes += [
        _ramp(service, drawing, _is_dim(service.ramp.id, service.name, wanted, lit))
        for service in topology.services
        if service.ramp
    ]
    return Graph(
        tuple(nodes),
        tuple(
            _edge(edge, drawing, scale, edge.id not in shown) for edge in topology.edges if edge.id in drawing.routes
        ),
        drawing.bounds,
        drawing.token,
        tuple(topology.systems),
        sum(not node.dim for node in nodes),
        sum(edge.bad or (edge.kind == "dead-letter" and edge.health.level == "crit") for edge in topology.edges),
        topology,
    )


def _is_dim(node: str, name: str, wanted: Filter, lit: set[str]) -> bool:
    return wanted.on and node not in lit and not (wanted.find and not wanted.unhealthy and wanted.find in name.lower())


def _scale(topology: Topology) -> float:
    """The rate that is drawn at full width: the next power of two, so that widths do not breathe."""
    top = max((edge.rate or 0.0 for edge in topology.edges), default=0.0)
    return float(2 ** math.ceil(math.log2(max(16.0, top))))


def cut(text: str, room: float) -> str:
    """A name that is too long keeps its ends."""
    most = max(4, int(room))
    if len(text) <= most:
        return text
    head = math.ceil(most * 0.55)
    return f"{text[:head]}…{text[-(most - 1 - head) :]}"


def _service(service: Service, drawing: Drawing, dim: bool) -> NodeView:
    box = drawing.boxes[service.id]
    groups = tuple(_group(row, box, index) for index, row in enumerate(service.groups))
    sub = f"{len(groups)} consumer group{'' if len(groups) == 1 else 's'}" if groups else "publishes only"
    if not service.known:
        sub = "no span seen"
    return NodeView(
        service.id,
        "service",
        box,
        cut(service.name, (box.w - 34) / 7.6),
        sub,
        service.health.level,
        dim,
        f"service {service.name}, {STATE_WORDS[service.health.level]}{_because(service.health.rule)}",
        groups=groups,
        known=service.known,
    )


def _because(rule: str) -> str:
    return f", {rule}" if rule else ""


def _group(row: GroupRow, box: Box, index: int) -> GroupView:
    text = formats.short(row.lag)
    badge = math.ceil(len(text) * LETTER_WIDTH) + 19
    trend = {1: "growing", -1: "draining"}.get(row.trend, "steady")
    told = f"lag {formats.count(row.lag)} messages, {trend}" if row.lag is not None else "lag unknown"
    return GroupView(
        row,
        box.x,
        box.y + HEAD + ROW * index,
        box.w,
        cut(row.name, (box.w - 22 - badge) / LETTER_WIDTH),
        text,
        badge,
        row.health.level,
        f"consumer group {row.name}, {told}{_because(row.health.rule)}",
    )


def _place(place: Place, drawing: Drawing, dim: bool) -> NodeView:
    box = drawing.boxes[place.id]
    shape = {"queue": "queue", "stream": "stream", "subject": "subject", "exchange": "subject"}.get(place.kind, "topic")
    inset = {"queue": 14, "stream": 16, "subject": 10}.get(shape, 9)
    sub = f"{place.partitions} partitions" if place.partitions else place.container or place.kind
    return NodeView(
        place.id,
        "place",
        box,
        cut(place.name, (box.w - inset - 22) / 7.1),
        cut(sub, 18),
        place.health.level,
        dim,
        f"{place.kind} {place.name}, {STATE_WORDS[place.health.level]}",
        place.system,
        shape,
        inset,
    )


def _ramp(service: Service, drawing: Drawing, dim: bool) -> NodeView:
    ramp = service.ramp
    if ramp is None:
        raise ValueError("this service has no off-ramp")
    coming = ", arriving now" if ramp.arriving else ", may be lost" if ramp.troubles else ""
    return NodeView(
        ramp.id,
        "ramp",
        drawing.boxes[ramp.id],
        "dead letters",
        "",
        ramp.health.level,
        dim,
        f"dead letters of {service.name}, {ramp.waiting} waiting{coming}",
        shape="topic",
        inset=9,
        waiting=ramp.waiting,
        arriving=ramp.arriving,
    )


def _edge(edge: Edge, drawing: Drawing, scale: float, dim: bool) -> EdgeView:
    route = drawing.routes[edge.id]
    share = min(1.0, (edge.rate or 0.0) / scale)
    width = 1.6 if edge.kind == "dead-letter" else 1.4 + 5 * math.sqrt(share)
    # Steps, so that a rate that wavers does not make the dashes jump.
    seconds = round(max(0.45, 2.4 - 1.95 * math.sqrt(share)) / 0.15) * 0.15
    first, second = _words(edge)
    wide = max(len(first), len(second))
    ramp_level = edge.health.level if edge.kind == "dead-letter" else ""
    level = ramp_level or ("idle" if not edge.rate and not edge.bad else edge.health.level)
    mark = None
    if edge.bad and edge.kind != "dead-letter":
        x, y = route.end
        mark = (x - 18, y) if route.lane else route.label
    return EdgeView(
        edge,
        route,
        f"{width:.1f}",
        f"{max(1.2, width * 0.34):.1f}",
        f"{seconds:.2f}",
        level,
        dim,
        first,
        second,
        mark,
        round(wide * 6 + 14),
        30 if second else 17,
    )


def _words(edge: Edge) -> tuple[str, str]:
    """The two lines of an edge's label."""
    if edge.kind == "dead-letter":
        return (f"{formats.rate(edge.rate)} arriving" if edge.rate else ""), ""
    first = formats.rate(edge.rate) if edge.rate is not None else "no traffic seen"
    if edge.errors:
        first += f" · {formats.percent(edge.error_ratio)} failed"
    if edge.kind == "publish":
        return first, f"p95 {formats.duration(edge.processing_p95)}" if edge.processing_p95 is not None else ""
    parts = []
    if edge.wait_p50 is not None:
        parts.append(f"waits {formats.duration(edge.wait_p50)}, p95 {formats.duration(edge.wait_p95)}")
    elif edge.processing_p95 is not None:
        parts.append(f"p95 {formats.duration(edge.processing_p95)}")
    return first, " · ".join(parts)
