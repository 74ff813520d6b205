"""The first page: key figures, the topology in small, what failed, lags, happened; or how to begin.

Each part is a fragment of its own, so that news of lag does not ask for flows again.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone

from eventflow.domain.topology_model import Topology
from eventflow.store.queries import overview as queries
from eventflow.web import activity, figures
from eventflow.web import graph as drawing

app_name = "overview"
PAGES = {"overview", "topology", "flows", "lag", "dead_letters", "replays", "alerts", "settings"}
Context = dict[str, Any]


def _figures(request: HttpRequest) -> Context:
    now = timezone.now()
    return figures.context(now, figures.lag_rows(now), drawing.window(now))


def _graph(request: HttpRequest) -> Context:
    return _drawn(request, drawing.current(timezone.now()))


def _drawn(request: HttpRequest, topology: Topology) -> Context:
    graph = drawing.draw(topology, token=request.GET.get("layout", ""))
    return {"graph": graph, "sources": queries.sources()}


def _failed(request: HttpRequest) -> Context:
    return figures.failed(timezone.now())


def _groups(request: HttpRequest) -> Context:
    return figures.groups(figures.lag_rows(timezone.now()))


def _activity(request: HttpRequest) -> Context:
    return {"feed": activity.recent(timezone.now())}


PARTS: dict[str, Callable[[HttpRequest], Context]] = {
    "figures": _figures,
    "graph": _graph,
    "failed": _failed,
    "groups": _groups,
    "activity": _activity,
}


def page(request: HttpRequest) -> HttpResponse:
    if not queries.anything_seen():
        return render(request, "overview/start.html", _start())
    now = timezone.now()
    rows, minute = figures.lag_rows(now), drawing.window(now)
    context = figures.context(now, rows, minute) | figures.groups(rows) | _failed(request) | _activity(request)
    context |= _drawn(request, drawing.current(now, minute=minute))
    return render(request, "overview/page.html", context)


def part(request: HttpRequest, name: str) -> HttpResponse:
    """One part, for live updates."""
    if name not in PARTS:
        raise Http404("The overview has no such part.")
    return render(request, f"overview/_{name}.html", PARTS[name](request))


def _start() -> Context:
    return {
        "otlp_http": f"http://{settings.EVENTFLOW_OTLP_HTTP}",
        "otlp_grpc": f"http://{settings.EVENTFLOW_OTLP_GRPC}",
        "sources": queries.sources(),
        "arrived": False,
        "now": timezone.now(),
    }


def start(request: HttpRequest) -> HttpResponse:
    """Whether something has arrived, for the page that says how to begin."""
    return render(request, "overview/_waiting.html", _start() | {"arrived": queries.anything_seen()})


def rail(request: HttpRequest) -> HttpResponse:
    """The rail alone, for live updates; `?page=` is the page it stands on."""
    at = request.GET.get("page", "")
    return render(request, "_rail.html", {"nav_active": at if at in PAGES else ""})


urlpatterns: list[URLPattern] = [
    path("", page, name="page"),
    path("rail/", rail, name="rail"),
    path("overview/start/", start, name="start"),
    path("overview/<slug:name>/", part, name="part"),
]
