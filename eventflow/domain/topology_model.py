"""What the topology consists of: services with their consumer groups, destinations, and the edges between them.

Frozen values. What goes in (`GroupLag`, `DestinationInfo`, `LetterCount`) comes first, then the graph that comes out.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from eventflow.domain import topology_health as health
from eventflow.domain.edge import EdgeKey
from eventflow.domain.topology_health import IDLE, Health, Level

Evidence: TypeAlias = Literal["seen", "configured", "both"]
Kind: TypeAlias = Literal["publish", "consume", "dead-letter"]


@dataclass(frozen=True, slots=True)
class GroupLag:
    """A consumer group on one destination as the broker tells it. None is not known."""

    pk: int
    source: str
    system: str
    destination: str
    name: str
    service: str = ""
    container: str = ""
    subscriptions: tuple[str, ...] = ()
    ready: int | None = None
    in_flight: int | None = None
    age_seconds: float | None = None
    out_rate: float | None = None
    status: str = "ok"
    reason: str = ""
    trend: int = 0
    firing: str = ""
    firing_level: Level = "warn"


@dataclass(frozen=True, slots=True)
class DestinationInfo:
    """A topic, queue, stream or subject as the broker tells it."""

    source: str
    system: str
    name: str
    kind: str
    container: str = ""
    partitions: int | None = None
    messages: int | None = None
    dead_letters_of: tuple[str, ...] = ()
    letters_trouble: str = ""
    """Why dead letters can't arrive or stay (`domain.letter_place`)."""


@dataclass(frozen=True, slots=True)
class LetterCount:
    """How many letters wait that failed in one place."""

    system: str
    location: str
    destination: str
    group: str
    service: str
    waiting: int
    arriving: int = 0
    """Of these, captured in the last ten minutes."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A consumer group in the box of its service; `members` are its rows at the broker, one per destination."""

    id: str
    system: str
    name: str
    members: tuple[GroupLag, ...] = ()
    health: Health = IDLE

    @property
    def lag(self) -> int | None:
        """Messages waiting, over all its destinations; None when none of them is known."""
        known = [member.ready for member in self.members if member.ready is not None]
        return sum(known) if known else None

    @property
    def age_seconds(self) -> float | None:
        return max((member.age_seconds for member in self.members if member.age_seconds is not None), default=None)

    @property
    def trend(self) -> int:
        trends = [member.trend for member in self.members]
        return 1 if 1 in trends else min(trends, default=0)

    @property
    def pk(self) -> int | None:
        """The row whose lag page to open: the furthest behind."""
        return max(self.members, key=lambda member: (member.ready or 0, -member.pk)).pk if self.members else None


@dataclass(frozen=True, slots=True)
class Ramp:
    """Where a service's dead letters leave the line."""

    id: str
    service: str
    waiting: int
    arriving: int
    locations: tuple[str, ...] = ()
    evidence: Evidence = "seen"
    troubles: tuple[str, ...] = ()
    """Why letters can't arrive or stay, each with the place where."""

    @property
    def health(self) -> Health:
        """Letters that arrive come first, then that they may be lost."""
        if self.arriving:
            return Health("crit", "Dead letters", "arriving now")
        if self.troubles:
            return Health("warn", "Letters lost", "; ".join(self.troubles))
        return Health("idle", "Quiet", "nothing new in the last 10 min")


@dataclass(frozen=True, slots=True)
class Service:
    """`known` is false for one that only its consumer group speaks of."""

    id: str
    name: str
    known: bool = True
    groups: tuple[GroupRow, ...] = ()
    ramp: Ramp | None = None
    health: Health = health.OK


@dataclass(frozen=True, slots=True)
class Place:
    """A destination: topic, queue, stream or subject."""

    id: str
    name: str
    system: str
    kind: str = "topic"
    container: str = ""
    source: str = ""
    partitions: int | None = None
    messages: int | None = None
    health: Health = health.OK


@dataclass(frozen=True, slots=True)
class Edge:
    """A connection with its numbers. `port` is the group row it ends at. None is not known.

    `spans` is what spans call it, which may be another name than the broker's: the keys of its sums.
    """

    id: str
    kind: Kind
    source: str
    target: str
    service: str
    system: str
    destination: str
    group: str = ""
    port: str = ""
    evidence: Evidence = "seen"
    count: int = 0
    errors: int = 0
    rate: float | None = None
    wait_p50: float | None = None
    wait_p95: float | None = None
    processing_p95: float | None = None
    lag: int | None = None
    age_seconds: float | None = None
    trend: int = 0
    health: Health = health.OK
    spans: tuple[EdgeKey, ...] = ()

    @property
    def error_ratio(self) -> float | None:
        return min(1.0, self.errors / self.count) if self.count else None

    @property
    def bad(self) -> bool:
        return self.health.level in ("warn", "crit")


@dataclass(frozen=True, slots=True)
class Topology:
    services: tuple[Service, ...] = ()
    places: tuple[Place, ...] = ()
    edges: tuple[Edge, ...] = ()
    window_seconds: float = 60.0

    def service(self, node_id: str) -> Service | None:
        return next((one for one in self.services if one.id == node_id), None)

    def place(self, node_id: str) -> Place | None:
        return next((one for one in self.places if one.id == node_id), None)

    def group(self, node_id: str) -> tuple[Service, GroupRow] | None:
        return next(((one, row) for one in self.services for row in one.groups if row.id == node_id), None)

    def ramp(self, node_id: str) -> Ramp | None:
        return next((one.ramp for one in self.services if one.ramp and one.ramp.id == node_id), None)

    def edge(self, edge_id: str) -> Edge | None:
        return next((one for one in self.edges if one.id == edge_id), None)

    @property
    def systems(self) -> list[str]:
        return sorted({place.system for place in self.places})


def service_id(name: str) -> str:
    return f"service:{name}"


def place_id(system: str, name: str) -> str:
    return f"destination:{system}:{name}"


def group_id(service: str, system: str, name: str) -> str:
    return f"group:{service}:{system}:{name}"
