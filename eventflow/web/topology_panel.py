"""What the side panel says about the selected node or edge. Asks the store only for the one that is selected."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString

from eventflow.domain.topology_health import Health
from eventflow.domain.topology_model import Edge, GroupRow, Place, Ramp, Service, Topology
from eventflow.store.queries import lag as lag_queries
from eventflow.store.queries import topology as rollups
from eventflow.web import formats, svg_chart

HISTORY = timedelta(hours=1)
CHART_POINTS = 720
STEP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    note: str
    svg: SafeString


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a list: what it leads to, its state, its name, what stands at its end."""

    select: str
    level: str
    name: str
    end: str


@dataclass(frozen=True, slots=True)
class Panel:
    id: str
    title: str
    kind: str
    health: Health
    system: str = ""
    mono: bool = False
    stats: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    lists: tuple[tuple[str, str, tuple[Line, ...]], ...] = ()
    actions: tuple[tuple[str, str, str], ...] = field(default=())
    """Icon, label and address; the first is the primary one."""


def of(topology: Topology, selected: str, now: datetime) -> Panel | None:
    """The panel of a node's or an edge's id."""
    if service := topology.service(selected):
        return _service(topology, service, now)
    if place := topology.place(selected):
        return _place(topology, place, now)
    if found := topology.group(selected):
        return _group(topology, *found, now)
    if ramp := topology.ramp(selected):
        return _ramp(topology, ramp)
    if edge := topology.edge(selected):
        return _edge(edge, now)
    return None


def _url(view: str, *args: Any, **query: str) -> str:
    try:
        return reverse(view, args=args) + (f"?{urlencode(query)}" if query else "")
    except NoReverseMatch:
        return ""


def _actions(*wanted: tuple[str, str, str]) -> tuple[tuple[str, str, str], ...]:
    """Those whose page there is."""
    return tuple(one for one in wanted if one[2])


def _rate(edges: Iterable[Edge]) -> float | None:
    known = [edge.rate for edge in edges if edge.rate is not None]
    return sum(known) if known else None


def _failing(edges: Iterable[Edge]) -> tuple[str, str, str]:
    edges = list(edges)
    count, errors = sum(edge.count for edge in edges), sum(edge.errors for edge in edges)
    level = "critx" if errors else ""
    return "Failing", formats.percent(errors / count if count else None), level


def _called(edge: Edge) -> str:
    """The destination as spans call it, where they agree."""
    names = {key.destination for key in edge.spans} or {edge.destination}
    return names.pop() if len(names) == 1 else ""


def _rates(wanted: Iterable[Edge], now: datetime, title: str) -> Chart:
    """Messages per second over the last hour, summed over edges."""
    keys = {key for edge in wanted for key in edge.spans}
    series = rollups.edge_series(now - HISTORY, now, STEP_SECONDS)
    points = [found for key, found in series.items() if key in keys]
    # The last step has only begun.
    values = [sum(point.count for point in step) / STEP_SECONDS for step in zip(*points, strict=False)][:-1]
    return Chart(title, "last 1 hour", svg_chart.line(values, now - HISTORY, now, title, write=svg_chart.per_second))


def _service(topology: Topology, service: Service, now: datetime) -> Panel:
    ins = [edge for edge in topology.edges if edge.target == service.id and edge.kind == "consume"]
    outs = [edge for edge in topology.edges if edge.source == service.id and edge.kind == "publish"]
    lists: list[tuple[str, str, tuple[Line, ...]]] = []
    if service.groups:
        rows = tuple(Line(row.id, row.health.level, row.name, _lag_words(row)) for row in service.groups)
        lists.append(("Consumer groups", str(len(rows)), rows))
    if outs:
        sent = tuple(Line(edge.target, edge.health.level, edge.destination, formats.rate(edge.rate)) for edge in outs)
        lists.append(("Publishes to", str(len(sent)), sent))
    if service.ramp and service.ramp.waiting:
        ramp = service.ramp
        level = "crit" if ramp.arriving else "idle"
        lists.append(
            ("Dead letters", "", (Line(ramp.id, level, ", ".join(ramp.locations), f"{ramp.waiting:,} waiting"),))
        )
    return Panel(
        service.id,
        service.name,
        "service" if service.known else "consumer group without a known service",
        service.health,
        stats=(("In", formats.rate(_rate(ins)), ""), ("Out", formats.rate(_rate(outs)), ""), _failing([*ins, *outs])),
        notes=() if service.known else ("The broker tells of this consumer group; no span has named its service yet.",),
        charts=(_rates(ins or outs, now, "Processed per second" if ins else "Published per second"),),
        lists=tuple(lists),
        actions=_actions(
            ("flow", "Open flows through here", _url("flows:list", service=service.name)),
            ("offramp", "Dead letters", _url("dead_letters:page", service=service.name)),
        ),
    )


def _lag_words(row: GroupRow) -> str:
    age = f" · {formats.duration(row.age_seconds)}" if row.age_seconds is not None else ""
    return f"{formats.count(row.lag)}{age}"


def _place(topology: Topology, place: Place, now: datetime) -> Panel:
    ins = [edge for edge in topology.edges if edge.target == place.id]
    outs = [edge for edge in topology.edges if edge.source == place.id]
    readers = tuple(
        Line(edge.port, edge.health.level, f"{edge.group} · {edge.service}", formats.rate(edge.rate)) for edge in outs
    )
    writers = tuple(Line(edge.source, edge.health.level, edge.service, formats.rate(edge.rate)) for edge in ins)
    kind = " · ".join(part for part in (f"{place.kind}", f"in {place.container}" if place.container else "") if part)
    p95 = max((edge.processing_p95 for edge in ins if edge.processing_p95 is not None), default=None)
    kept = [("Messages kept", formats.count(place.messages), "")] if place.messages is not None else []
    return Panel(
        place.id,
        place.name,
        kind,
        place.health,
        place.system,
        True,
        stats=(
            ("Published", formats.rate(_rate(ins)), ""),
            ("Publish p95", formats.duration(p95), ""),
            ("Consumer groups", str(len(readers)), ""),
            *kept,
        ),
        charts=(_rates(ins, now, "Published per second"),) if ins else (),
        lists=tuple(
            (title, str(len(rows)), rows)
            for title, rows in (("Consumer groups", readers), ("Publishers", writers))
            if rows
        ),
        actions=_actions(("flow", "Open flows through here", _url("flows:list", destination=place.name))),
    )


def _group(topology: Topology, service: Service, row: GroupRow, now: datetime) -> Panel:
    edges = [edge for edge in topology.edges if edge.port == row.id]
    wait = max((edge.wait_p95 for edge in edges if edge.wait_p95 is not None), default=None)
    work = max((edge.processing_p95 for edge in edges if edge.processing_p95 is not None), default=None)
    in_flight = [member.in_flight for member in row.members if member.in_flight is not None]
    level = {"crit": "critx", "warn": "warnx"}.get(row.health.level, "")
    reads = tuple(Line(edge.source, edge.health.level, edge.destination, formats.rate(edge.rate)) for edge in edges)
    charts = []
    if row.pk is not None and (detail := lag_queries.group(row.pk, now - HISTORY, now, now)):
        drawn = detail.series.line("ready", CHART_POINTS)
        charts.append(
            Chart(
                "Lag, messages",
                "last 1 hour",
                svg_chart.line(
                    drawn.values,
                    now - HISTORY,
                    now,
                    f"Lag of {row.name}",
                    times=[datetime.fromtimestamp(at / 1000, UTC) for at in drawn.at],
                    cls="c-crit" if row.health.level == "crit" else "",
                ),
            )
        )
    charts.append(_rates(edges, now, "Processed per second"))
    return Panel(
        row.id,
        row.name,
        f"consumer group of {service.name}",
        row.health,
        row.system,
        True,
        stats=(
            ("Lag", formats.count(row.lag), level),
            ("Oldest waiting", formats.duration(row.age_seconds), level),
            ("In flight", formats.count(sum(in_flight) if in_flight else None), ""),
            ("Rate", formats.rate(_rate(edges)), ""),
            ("Wait p95", formats.duration(wait), ""),
            ("Processing p95", formats.duration(work), ""),
            _failing(edges),
        ),
        charts=tuple(charts),
        lists=(("Reads", str(len(reads)), reads),) if reads else (),
        actions=_actions(
            ("flow", "Open flows through here", _url("flows:list", service=service.name)),
            ("lag", "Open lag detail", _url("lag:group", row.pk) if row.pk is not None else ""),
        ),
    )


def _ramp(topology: Topology, ramp: Ramp) -> Panel:
    return Panel(
        ramp.id,
        ", ".join(ramp.locations) or "dead letters",
        f"dead letters of {ramp.service}",
        ramp.health,
        notes=tuple(f"Dead letters may be lost: {trouble}." for trouble in ramp.troubles),
        mono=bool(ramp.locations),
        stats=(
            ("Waiting", formats.count(ramp.waiting), "critx" if ramp.arriving else ""),
            ("In the last 10 min", formats.count(ramp.arriving), ""),
        ),
        actions=_actions(("replay", "Review and replay", _url("dead_letters:page", service=ramp.service))),
    )


def _edge(edge: Edge, now: datetime) -> Panel:
    between = {
        "publish": f"{edge.service} → {edge.destination}",
        "consume": f"{edge.destination} → {edge.service}",
        "dead-letter": f"{edge.service} → dead letters",
    }[edge.kind]
    stats = [("Rate", formats.rate(edge.rate), ""), _failing([edge])]
    if edge.kind == "consume":
        stats += [
            ("Lag", formats.count(edge.lag), ""),
            ("Wait p50", formats.duration(edge.wait_p50), ""),
            ("Wait p95", formats.duration(edge.wait_p95), ""),
        ]
    if edge.kind != "dead-letter":
        stats.append(
            ("Processing p95" if edge.kind == "consume" else "Publish p95", formats.duration(edge.processing_p95), "")
        )
    ends = [
        Line(edge.source, "idle", edge.source.split(":", 1)[1], "from"),
        Line(edge.port or edge.target, "idle", edge.group or edge.target.split(":", 1)[1], "to"),
    ]
    known = {
        "seen": "known from spans",
        "configured": "configured at the broker, no span seen",
        "both": "known from spans and from the broker",
    }
    return Panel(
        edge.id,
        between,
        f"{edge.kind}{f', consumer group {edge.group}' if edge.group else ''} · {known[edge.evidence]}",
        edge.health,
        edge.system,
        True,
        stats=tuple(stats),
        charts=(_rates([edge], now, "Rate"),) if edge.kind != "dead-letter" else (),
        lists=(("Ends", "", tuple(ends)),),
        actions=_actions(
            ("flow", "Open flows through here", _url("flows:list", service=edge.service, destination=_called(edge)))
            if edge.kind != "dead-letter"
            else ("replay", "Review and replay", _url("dead_letters:page", service=edge.service))
        ),
    )
