"""Lag pages: the table of consumer groups and one group with its history. Reads only."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone

from eventflow.domain import lag as engine
from eventflow.domain.lag import LagStatus
from eventflow.store.queries import alerts, lag, lag_group
from eventflow.store.queries.lag import LagRow
from eventflow.web import charts, formats, heatmap, ranges

app_name = "lag"

WORDS = {
    LagStatus.OK: "Healthy",
    LagStatus.IDLE: "Idle",
    LagStatus.SLOW: "Behind",
    LagStatus.DRIFTING: "Drifting",
    LagStatus.DRAINING: "Draining",
    LagStatus.STOPPED: "Stopped",
    LagStatus.STALLED: "Stalled",
    LagStatus.REWOUND: "Rewound",
    LagStatus.RETENTION_RISK: "Data at risk",
    LagStatus.ABANDONED: "Abandoned",
    LagStatus.UNKNOWN: "Unknown",
}
METHODS = {
    "broker-exact": "told by the broker",
    "broker-approximate": "told by the broker, roughly",
    "probe-exact": "probed",
    "interpolated": "interpolated",
    "little": "estimated",
    "spans": "from spans",
    "reported": "reported over OTLP",
}
RANK = {"crit": 4, "warn": 3, "run": 2, "ok": 1, "idle": 0}
SORTS: dict[str, Callable[[LagRow], Any]] = {
    "status": lambda row: RANK[row.severity],
    "group": lambda row: row.group.lower(),
    "destination": lambda row: row.destination.lower(),
    "lag": lambda row: -1 if row.ready is None else row.ready,
    "age": lambda row: -1.0 if row.age_seconds is None else row.age_seconds,
    "in": lambda row: -1.0 if row.in_rate is None else row.in_rate,
    "out": lambda row: -1.0 if row.out_rate is None else row.out_rate,
}
COLUMNS = (
    ("status", "Status, and the rule that gave it", ""),
    ("group", "Consumer group", ""),
    ("destination", "Destination", "opt"),
    ("lag", "Lag", "num"),
    ("age", "Oldest waiting", "num"),
    ("in", "In", "num opt"),
    ("out", "Out", "num opt"),
    ("", "Time to drain", "num opt"),
    ("", "Last", "opt"),
    ("", "Members", "num opt"),
)
DEFAULT_SORT = "-lag"
SHOWN = 200
RECENT = 60
SPARK_POINTS = 720


def _view(row: LagRow) -> dict[str, Any]:
    """A row in words."""
    word, reason = WORDS[row.status], row.reason
    if row.firing:
        worst = min(row.firing, key=lambda note: note.severity != "critical")
        word = "Critical" if worst.severity == "critical" else "Behind"
        reason = limit_words(worst.seconds, worst.messages) or row.reason
    error = f"±{formats.duration(row.error_seconds)}, " if row.error_seconds else ""
    return {
        "row": row,
        "word": word,
        "reason": reason,
        "cls": row.severity,
        "method": error + METHODS.get(row.method, row.method),
        "drain": drain_words(row),
        "trend": trend_words(row),
        "behind": (row.in_rate or 0) - (row.out_rate or 0),
    }


def limit_words(seconds: float | None, messages: int | None) -> str:
    """What a rule says is too much."""
    parts = [f"oldest waiting over {formats.duration(seconds)}"] if seconds is not None else []
    if messages is not None:
        parts.append(f"over {formats.count(messages)} waiting")
    return ", or ".join(parts)


def trend_words(row: LagRow) -> str:
    """Where it is going; of what can't be seen, only that it can't."""
    if row.ready is None or row.status == LagStatus.UNKNOWN:
        return "not known now"
    return {1: "▲ growing", -1: "▼ shrinking"}.get(row.trend, "steady")


def drain_words(row: LagRow) -> str:
    """When it will be done, in words; never a number that is not known."""
    if row.backlog is None or row.status == LagStatus.UNKNOWN:
        return formats.EMPTY
    if row.backlog == 0:
        return "keeping up"
    if row.drain_seconds is not None:
        return formats.duration(row.drain_seconds)
    if row.trend > 0:
        return "falling behind"
    return "keeping up" if row.age_seconds is not None and row.age_seconds < 5 else "steady"


def _matches(row: LagRow, text: str, only: str, broker: str) -> bool:
    if only == "behind" and row.severity not in ("crit", "warn"):
        return False
    if only not in ("", "behind") and row.status != only:
        return False
    if broker and row.system != broker:
        return False
    words = f"{row.group} {row.destination} {row.service} {row.source}".lower()
    return all(part in words for part in text.lower().split())


def _headings(request: HttpRequest, sort: str, members: bool) -> list[dict[str, str]]:
    headings = []
    for key, label, cls in COLUMNS if members else COLUMNS[:-1]:
        query = request.GET.copy()
        down = sort == f"-{key}" or (sort != key and "num" not in cls and key != "status")
        query["sort"] = key if down else f"-{key}"
        order = {f"-{key}": "descending", key: "ascending"}.get(sort, "") if key else ""
        headings.append({"key": key, "label": label, "cls": cls, "order": order, "query": query.urlencode()})
    return headings


def _table(request: HttpRequest) -> dict[str, Any]:
    now = timezone.now()
    span = ranges.of(request, now)
    everything = lag.groups(now)
    text, only = request.GET.get("q", "").strip(), request.GET.get("status", "")
    broker, sort = request.GET.get("broker", ""), request.GET.get("sort", DEFAULT_SORT)
    if sort.removeprefix("-") not in SORTS:
        sort = DEFAULT_SORT
    rows = [row for row in everything if _matches(row, text, only, broker)]
    rows.sort(key=lambda row: (row.group, row.destination))
    rows.sort(key=SORTS[sort.removeprefix("-")], reverse=sort.startswith("-"))
    sources = lag.sources()
    # Some brokers (NATS) tell no members: a column of dashes would tell nothing either.
    members = any(row.members is not None for row in everything)
    return {
        "now": now,
        "members": members,
        "span": span,
        "rows": [_view(row) for row in lag.with_sparks(rows[:SHOWN], span.seconds, now)],
        "left_out": max(0, len(rows) - SHOWN),
        "total": len(everything),
        "destinations": len({(row.source, row.destination) for row in everything}),
        "behind": sum(row.severity in ("crit", "warn") for row in everything),
        "systems": sorted({row.system for row in everything}),
        "headings": _headings(request, sort, members),
        "q": text,
        "only": only,
        "broker": broker,
        "sort": sort,
        "blind": [source for source in sources if source.state != "ok"],
        "sources": sources,
        "query": request.GET.urlencode(),
    }


def page(request: HttpRequest) -> HttpResponse:
    """All groups; filter, order and range in the address."""
    return render(request, "lag/page.html", _table(request))


def table(request: HttpRequest) -> HttpResponse:
    """The table alone, for live updates and filters."""
    response = render(request, "lag/_table.html", {**_table(request), "part": True})
    response["HX-Replace-Url"] = f"{reverse('lag:page')}?{request.GET.urlencode()}"
    return response


def _detail(request: HttpRequest, pk: int) -> tuple[lag.GroupDetail, ranges.Range]:
    now = timezone.now()
    span = ranges.of(request, now)
    return _found(pk, span.start, span.end, now), span


def _found(pk: int, start: datetime, end: datetime, now: datetime) -> lag.GroupDetail:
    detail = lag.group(pk, start, end, now)
    if detail is None:
        raise Http404("No such consumer group. It may have been removed from its broker.")
    return detail


def group(request: HttpRequest, pk: int) -> HttpResponse:
    """One group on one destination. htmx and live updates get the part that changes."""
    detail, span = _detail(request, pk)
    row = detail.row
    needed = (row.in_rate or 0) if row.trend > 0 else None
    inside = lag_group.inside(pk, span.start, span.end)
    context = {
        "span": span,
        "detail": detail,
        "view": _view(row),
        "row": row,
        "needed": needed,
        "inside": inside,
        "heat": heatmap.of(inside),
        "falling": row.trend > 0 and row.backlog is not None,
        "siblings": [_view(sibling) for sibling in detail.siblings],
        "is_behind": row.status in engine.BEHIND or row.status in engine.LATE,
        "recent": detail.series.newest(RECENT),
        "spark_messages": detail.series.line("ready", SPARK_POINTS).values,
        "spark_seconds": detail.series.line("age_seconds", SPARK_POINTS).values,
        "spark_rates": detail.series.line("out_rate", SPARK_POINTS).values,
        "rules": alerts.lag_rules_for(lag.subject(row.source, row.destination, row.group)),
    }
    template = "lag/_group.html" if request.headers.get("HX-Request") else "lag/group.html"
    return render(request, template, context)


def chart(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """A chart's figure as JSON: messages, seconds or rates, of the range or of a piece of it."""
    now = timezone.now()
    span = ranges.of(request, now)
    times = ranges.piece(request, now) or (span.start, span.end)
    detail = _found(pk, *times, now)
    if name == "rates":
        return JsonResponse(charts.rates(detail.series, times))
    row = detail.row
    rules = alerts.lag_rules_for(lag.subject(row.source, row.destination, row.group))
    if name == "seconds":
        limits = [(rule.severity, rule.seconds) for rule in rules if rule.seconds is not None]
        return JsonResponse(charts.seconds(detail.series, times, detail.incidents, limits))
    counts = [(rule.severity, float(rule.messages)) for rule in rules if rule.messages is not None]
    changes = [note.at for note in lag_group.rebalances(pk, *times)]
    return JsonResponse(charts.messages(detail.series, times, detail.incidents, counts, changes))


urlpatterns = [
    path("", page, name="page"),
    path("table/", table, name="table"),
    path("groups/<int:pk>/", group, name="group"),
    path("groups/<int:pk>/charts/<slug:name>/", chart, name="chart"),
]
