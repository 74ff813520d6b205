"""The graph of who talks to whom, from spans and from the broker together.

`build` joins what was seen (edges out of spans) with what is configured (groups and their subscriptions, dead-letter
destinations); every edge says which of the two it is. Deterministic: same input, same order. Knows nothing of drawing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from eventflow.domain import topology_health as health
from eventflow.domain import topology_queues
from eventflow.domain.edge import EdgeKey, EdgeStats
from eventflow.domain.replay import nats_match
from eventflow.domain.topology_health import IDLE, Health
from eventflow.domain.topology_model import (
    DestinationInfo,
    Edge,
    GroupLag,
    GroupRow,
    LetterCount,
    Place,
    Ramp,
    Service,
    Topology,
    group_id,
    place_id,
    service_id,
)
from eventflow.domain.topology_queues import Seen

LEAST_SECONDS = 10.0
"""A system younger than the window is measured over its age, but never over less than this."""
ARRIVING_SECONDS = 600
KINDS = {"nats": "subject", "rabbitmq": "queue", "aws_sqs": "queue", "celery": "queue"}
"""What a system calls a destination that only spans tell of; elsewhere a topic."""


@dataclass(slots=True)
class _Builder:
    """What is gathered while joining; `build` reads it out at the end."""

    groups: Sequence[GroupLag]
    destinations: Sequence[DestinationInfo]
    seconds: float
    dead: set[tuple[str, str]] = field(default_factory=set)
    edges: dict[str, Edge] = field(default_factory=dict)
    rows: dict[str, dict[str, GroupRow]] = field(default_factory=dict)
    owners: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ports: dict[str, list[str]] = field(default_factory=dict)
    ramps: dict[str, Ramp] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def put(self, edge: Edge) -> None:
        """Add an edge, or join what is configured to what was seen."""
        known = self.edges.get(edge.id)
        if known is None:
            self.edges[edge.id] = edge
            if edge.port:
                self.ports.setdefault(edge.port, []).append(edge.id)
        elif known.evidence != edge.evidence:
            lagging = replace(known, lag=edge.lag, age_seconds=edge.age_seconds, trend=edge.trend)
            self.edges[edge.id] = replace(lagging, evidence="both", health=health.worst((known.health, edge.health)))

    def row(self, service: str, system: str, name: str) -> GroupRow:
        known = self.rows.setdefault(service, {})
        key = group_id(service, system, name)
        return known.setdefault(key, GroupRow(key, system, name, health=health.OK))

    def at(self, port: str) -> list[Edge]:
        """The edges that end at a group's row."""
        return [self.edges[edge_id] for edge_id in self.ports.get(port, ())]


def build(
    edges: Sequence[EdgeStats],
    groups: Sequence[GroupLag],
    destinations: Sequence[DestinationInfo],
    dead_letters: Sequence[LetterCount],
    *,
    window_seconds: float,
    now: datetime,
    known: Iterable[EdgeKey] = (),
) -> Topology:
    """Join spans and broker. Rates are over the window, or over the age of a system that is younger than it.

    `known` are edges seen before the window: they stay in the graph, idle, so that a quiet minute makes nothing vanish.
    """
    busy = {stats.key for stats in edges}
    edges = [*edges, *(EdgeStats(key, 0, 0) for key in known if key not in busy)]
    firsts = [stats.first_at for stats in edges if stats.first_at]
    age = (now - min(firsts)).total_seconds() if firsts else window_seconds
    joined = _Builder(groups, destinations, max(LEAST_SECONDS, min(window_seconds, age)))
    joined.dead = {(one.system, one.name) for one in destinations if one.dead_letters_of}
    ordered = sorted(topology_queues.joined(edges, groups), key=lambda seen: seen.stats.key)
    for one in ordered:
        if one.stats.key.kind != "consume":
            _publish(joined, one)
    for one in ordered:
        key = one.stats.key
        if key.kind == "consume" and (key.system, key.destination) not in joined.dead:
            _consume(joined, one)
    _configured(joined)
    _ramps(joined, dead_letters)
    return _read(joined, window_seconds)


def _publish(joined: _Builder, seen: Seen) -> None:
    stats, key = seen.stats, seen.stats.key
    service = key.service or "unknown service"
    joined.seen.add(service)
    if key.kind == "dead-letter" or (key.system, key.destination) in joined.dead:
        known = joined.ramps.get(service) or Ramp(f"dead-letters:{service}", service, 0, 0)
        joined.ramps[service] = replace(known, locations=tuple(sorted({*known.locations, key.destination})))
        return
    verdict = health.failing(stats.count, stats.errors) or (health.OK if stats.count else IDLE)
    joined.put(
        Edge(
            f"publish:{service}:{key.system}:{key.destination}",
            "publish",
            service_id(service),
            place_id(key.system, key.destination),
            service,
            key.system,
            key.destination,
            count=stats.count,
            errors=stats.errors,
            rate=stats.count / joined.seconds,
            processing_p95=stats.processing.p95,
            health=verdict,
            spans=seen.keys,
        )
    )


def _consume(joined: _Builder, seen: Seen) -> None:
    stats, key = seen.stats, seen.stats.key
    group = key.group or _only_group(joined, key.system, key.destination, key.service) or "no group named"
    service = key.service or group
    joined.seen.add(service)
    owners = joined.owners.setdefault((key.system, group), [])
    if service not in owners:
        owners.append(service)
    row = joined.row(service, key.system, group)
    verdict = health.failing(stats.count, stats.errors) or (health.OK if stats.count else IDLE)
    joined.put(
        Edge(
            f"consume:{service}:{key.system}:{key.destination}:{group}",
            "consume",
            place_id(key.system, key.destination),
            service_id(service),
            service,
            key.system,
            key.destination,
            group,
            row.id,
            count=stats.count,
            errors=stats.errors,
            rate=stats.count / joined.seconds,
            wait_p50=stats.wait.p50,
            wait_p95=stats.wait.p95,
            processing_p95=stats.processing.p95,
            health=verdict,
            spans=seen.keys,
        )
    )


def _only_group(joined: _Builder, system: str, destination: str, service: str) -> str:
    """The one group that reads `destination` for `service`, when spans do not name theirs."""
    reading = [
        one
        for one in joined.groups
        if one.system == system
        and any(nats_match(pattern, destination) for pattern in one.subscriptions or (one.destination,))
    ]
    mine = [one for one in reading if service in (one.service, one.name)] or reading
    return mine[0].name if len(mine) == 1 else ""


def _configured(joined: _Builder) -> None:
    """The broker's groups: lag on their rows, and an edge from every destination they may read."""
    names: dict[str, set[str]] = {}
    for system, name in [
        *((edge.system, edge.destination) for edge in joined.edges.values()),
        *((one.system, one.name) for one in joined.destinations if one.kind != "stream"),
    ]:
        if (system, name) not in joined.dead:
            names.setdefault(system, set()).add(name)
    for one in sorted(joined.groups, key=lambda group: (group.system, group.name, group.source, group.destination)):
        patterns = one.subscriptions or (one.destination,)
        if all((one.system, pattern) in joined.dead for pattern in patterns) or _is_internal(patterns):
            continue
        verdict = health.lagging(
            one.status, one.reason, one.age_seconds, firing=one.firing, firing_level=one.firing_level
        )
        owners = joined.owners.get((one.system, one.name)) or [one.service or one.name]
        joined.owners[one.system, one.name] = owners
        read = _readable(patterns, names.get(one.system, set()))
        if one.name == one.destination:
            read = _without_own_queue(joined, one, owners, read)
        for service in owners:
            row = joined.row(service, one.system, one.name)
            # Idle at the broker is no news for a group whose deliveries we see.
            seen = [edge.health for edge in joined.at(row.id) if edge.count]
            level = health.worst((*seen, verdict)) if seen else health.worst((verdict, *_of(row)))
            joined.rows[service][row.id] = replace(row, members=(*row.members, one), health=level)
            alone = len(read) <= 1
            for name in read or [one.destination]:
                joined.put(
                    Edge(
                        f"consume:{service}:{one.system}:{name}:{one.name}",
                        "consume",
                        place_id(one.system, name),
                        service_id(service),
                        service,
                        one.system,
                        name,
                        one.name,
                        row.id,
                        evidence="configured",
                        rate=one.out_rate if alone else None,
                        lag=one.ready if alone else None,
                        age_seconds=one.age_seconds if alone else None,
                        trend=one.trend,
                        health=verdict,
                    )
                )


def _readable(patterns: Sequence[str], names: set[str]) -> list[str]:
    """The known destinations that the patterns cover."""
    exact = names.intersection(patterns)
    wild = [pattern for pattern in patterns if "*" in pattern or ">" in pattern]
    return sorted(exact | {name for name in names if any(nats_match(pattern, name) for pattern in wild)})


def _without_own_queue(joined: _Builder, one: GroupLag, owners: Sequence[str], read: list[str]) -> list[str]:
    """A queue that is its own group is that row in its service's box; where spans tell which exchange or key feeds it,
    a node of its own would only stand beside."""
    fed = {edge.destination for service in owners for edge in joined.at(group_id(service, one.system, one.name))}
    fed -= {one.destination}
    published = any(edge.kind == "publish" and edge.destination == one.destination for edge in joined.edges.values())
    return read if published or not fed.intersection(read) else [name for name in read if name != one.destination]


def _of(row: GroupRow) -> tuple[Health, ...]:
    return (row.health,) if row.members else ()


def _is_internal(patterns: Sequence[str]) -> bool:
    return all(pattern.startswith("$") for pattern in patterns)


def _ramps(joined: _Builder, letters: Sequence[LetterCount]) -> None:
    """An off-ramp per service: letters that wait, and dead-letter destinations that its groups are configured with."""
    configured: dict[str, set[str]] = {}
    holders = {(one.system, one.container) for one in joined.destinations if one.container}
    for place in joined.destinations:
        if (place.system, place.name) in holders:
            # A stream is told of by the subjects it holds.
            continue
        for (system, name), owners in joined.owners.items():
            if system == place.system and name in place.dead_letters_of:
                for service in owners:
                    configured.setdefault(service, set()).add(place.name)
    for one in letters:
        owners = joined.owners.get((one.system, one.group), [])
        service = one.service or (owners[0] if owners else one.group or one.location)
        known = joined.ramps.get(service) or Ramp(f"dead-letters:{service}", service, 0, 0)
        joined.ramps[service] = replace(
            known,
            waiting=known.waiting + one.waiting,
            arriving=known.arriving + one.arriving,
            locations=tuple(sorted({*known.locations, one.location})),
        )
    lost = _lost(joined, configured)
    for service, names in configured.items():
        ramp = joined.ramps.get(service)
        if ramp is None:
            joined.ramps[service] = Ramp(f"dead-letters:{service}", service, 0, 0, tuple(sorted(names)), "configured")
        else:
            both = tuple(sorted({*ramp.locations, *names}))
            joined.ramps[service] = replace(ramp, locations=both, evidence="both")
    for service, troubles in lost.items():
        ramp = joined.ramps.get(service) or Ramp(f"dead-letters:{service}", service, 0, 0, (), "configured")
        joined.ramps[service] = replace(ramp, troubles=tuple(sorted(troubles)))


def _lost(joined: _Builder, configured: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is wrong with a service's dead letters: with the places where they lie, or with the way from its groups."""
    found: dict[str, set[str]] = {}
    held: dict[str, set[str]] = {}
    for place in joined.destinations:
        held.setdefault(place.container, set()).add(place.name)
    for place in joined.destinations:
        if not place.letters_trouble:
            continue
        names = {place.name} | (held.get(place.name, set()) if place.kind == "stream" else set())
        suffer = {service for service, lie in configured.items() if names & lie}
        suffer |= {service for service, ramp in joined.ramps.items() if names.intersection(ramp.locations)}
        if not place.dead_letters_of:
            for one in joined.groups:
                if one.system == place.system and place.name in (one.destination, one.name):
                    suffer.update(joined.owners.get((one.system, one.name), ()))
        for service in suffer:
            found.setdefault(service, set()).add(f"{place.name}: {place.letters_trouble}")
    return found


def _read(joined: _Builder, window_seconds: float) -> Topology:
    edges = list(joined.edges.values())
    for service, ramp in sorted(joined.ramps.items()):
        edges.append(
            Edge(
                f"dead-letter:{service}",
                "dead-letter",
                service_id(service),
                ramp.id,
                service,
                "",
                ", ".join(ramp.locations),
                evidence=ramp.evidence,
                rate=ramp.arriving / ARRIVING_SECONDS,
                lag=ramp.waiting,
                health=ramp.health,
            )
        )
    return Topology(
        tuple(_services(joined, edges)), tuple(_places(joined, edges)), tuple(_sorted(edges)), window_seconds
    )


def _sorted(edges: Sequence[Edge]) -> list[Edge]:
    kinds = {"publish": 0, "consume": 1, "dead-letter": 2}
    return sorted(edges, key=lambda edge: (kinds[edge.kind], edge.id))


def _services(joined: _Builder, edges: Sequence[Edge]) -> list[Service]:
    services = []
    publishing: dict[str, list[Edge]] = {}
    for edge in edges:
        if edge.kind == "publish":
            publishing.setdefault(edge.service, []).append(edge)
    names = {edge.service for edge in edges} | set(joined.rows) | set(joined.ramps)
    for name in sorted(names):
        rows = [
            replace(row, health=health.worst([row.health, *(edge.health for edge in joined.at(row.id))]))
            for _, row in sorted(joined.rows.get(name, {}).items())
        ]
        named = [(f"consumer group {row.name}: ", row.health) for row in rows]
        named += [(f"publishing to {edge.destination}: ", edge.health) for edge in publishing.get(name, ())]
        verdict = health.worst([one for _, one in named])
        why = next((before + one.rule for before, one in named if one is verdict and one.rule), "")
        shown = replace(verdict, rule=why if verdict.level in ("warn", "crit") else verdict.rule)
        services.append(
            Service(service_id(name), name, name in joined.seen, tuple(rows), joined.ramps.get(name), shown)
        )
    return services


def _places(joined: _Builder, edges: Sequence[Edge]) -> list[Place]:
    told = {(one.system, one.name): one for one in joined.destinations}
    places = []
    publishers: dict[tuple[str, str], list[Health]] = {}
    for edge in edges:
        if edge.kind == "publish":
            publishers.setdefault((edge.system, edge.destination), []).append(edge.health)
    for system, name in sorted({(edge.system, edge.destination) for edge in edges if edge.kind != "dead-letter"}):
        one = told.get((system, name))
        told_of = publishers.get((system, name))
        verdict = health.worst(told_of) if told_of else Health("idle", "Idle", "no publisher seen")
        kind = one.kind if one else KINDS.get(system, "topic")
        places.append(
            Place(
                place_id(system, name),
                name,
                system,
                kind,
                one.container if one else "",
                one.source if one else "",
                one.partitions if one else None,
                one.messages if one else None,
                verdict,
            )
        )
    return places
