"""The topology over the API: nodes, and edges with rate, errors, wait and lag; each marked seen, configured or both."""

from typing import Any, Literal

from django.http import HttpRequest
from django.utils import timezone
from ninja import P, QueryEx, Router, Schema

from eventflow.web import graph

router = Router(tags=["topology"])


class Group(Schema):
    """A consumer group in its service. null is not known."""

    id: str
    name: str
    lag: int | None
    age_seconds: float | None
    trend: int
    level: str
    reason: str


class Service(Schema):
    """`known` is false where only a consumer group at the broker speaks of it."""

    id: str
    name: str
    known: bool
    level: str
    reason: str
    groups: list[Group]
    dead_letters: int | None


class Destination(Schema):
    id: str
    name: str
    system: str
    kind: str
    container: str
    messages: int | None


class Edge(Schema):
    """`evidence` is seen (spans), configured (broker) or both; `rate` is per second over the window."""

    id: str
    kind: str
    source: str
    target: str
    service: str
    destination: str
    group: str
    evidence: Literal["seen", "configured", "both"]
    count: int
    errors: int
    rate: float | None
    wait_p50: float | None
    wait_p95: float | None
    processing_p95: float | None
    lag: int | None
    age_seconds: float | None


class Document(Schema):
    window_seconds: float
    services: list[Service]
    destinations: list[Destination]
    edges: list[Edge]


def _service(one: Any) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "known": one.known,
        "level": one.health.level,
        "reason": one.health.rule,
        "dead_letters": one.ramp.waiting if one.ramp else None,
        "groups": [
            {
                "id": row.id,
                "name": row.name,
                "lag": row.lag,
                "age_seconds": row.age_seconds,
                "trend": row.trend,
                "level": row.health.level,
                "reason": row.health.rule,
            }
            for row in one.groups
        ],
    }


@router.get("/topology", response=Document, summary="Who talks to whom, how fast and how far behind")
def read(request: HttpRequest, window_seconds: QueryEx[int, P(ge=10, le=86_400)] = 60) -> dict[str, Any]:
    found = graph.current(timezone.now(), window_seconds)
    return {
        "window_seconds": found.window_seconds,
        "services": [_service(one) for one in found.services],
        "destinations": found.places,
        "edges": found.edges,
    }
