"""The topology's pages: the graph, the same edges as a table, and the side panel of what is selected."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.utils import timezone

from eventflow.domain.topology_health import ORDER
from eventflow.domain.topology_model import Topology
from eventflow.web import graph as drawing
from eventflow.web import topology_panel
from eventflow.web.templatetags.ef import NAMES

app_name = "topology"
Link = dict[str, Any]


def page(request: HttpRequest) -> HttpResponse:
    """Everything is in the address: window, filters, view, selection. Live updates get the part that changes."""
    now = timezone.now()
    key = request.GET.get("window", "1m")
    key = key if key in drawing.WINDOWS else "1m"
    topology = drawing.current(now, drawing.WINDOWS[key][0])
    wanted = drawing.Filter(
        request.GET.get("find", "").strip().lower(),
        request.GET.get("unhealthy") == "1",
        frozenset(request.GET.getlist("hide")),
    )
    graph = drawing.draw(topology, wanted, request.GET.get("layout", ""))
    selected = _selected(topology, request.GET.get("node", "") or request.GET.get("edge", ""))
    context = {
        "graph": graph,
        "wanted": wanted,
        "selected": selected,
        "panel": topology_panel.of(topology, selected, now) if selected else None,
        "window": key,
        "windows": [(name, label) for name, (_, label) in drawing.WINDOWS.items()],
        "view": "table" if request.GET.get("view") == "table" else "graph",
        "rows": _rows(graph),
        "links": _links(request, graph),
        "now": now,
    }
    template = "topology/_view.html" if request.headers.get("HX-Request") else "topology/page.html"
    return render(request, template, context)


def _selected(topology: Topology, wanted: str) -> str:
    """The id of what the address names; a plain name will do: the group wins over the service of the same name."""
    if not wanted:
        return ""
    known = (topology.service, topology.place, topology.group, topology.ramp, topology.edge)
    if any(find(wanted) for find in known):
        return wanted
    for service in topology.services:
        for row in service.groups:
            if row.name == wanted:
                return row.id
    named = [(node.name, node.id) for node in topology.services] + [(node.name, node.id) for node in topology.places]
    return dict(reversed(named)).get(wanted, "")


def _rows(graph: drawing.Graph) -> list[drawing.EdgeView]:
    """The edges as rows, the worst first; those a filter dims are left out."""
    shown = [one for one in graph.edges if not one.dim]
    return sorted(shown, key=lambda one: (ORDER.index(one.edge.health.level), one.edge.kind, one.edge.id))


def _links(request: HttpRequest, graph: drawing.Graph) -> Link:
    """Addresses that change one thing and keep the rest."""

    def url(**changes: str | None) -> str:
        query = request.GET.copy()
        for name, value in changes.items():
            if value is None:
                query.pop(name, None)
            else:
                query[name] = value
        return f"{request.path}?{query.urlencode()}"

    def toggled(system: str) -> str:
        query = request.GET.copy()
        hidden = query.getlist("hide")
        query.setlist("hide", [one for one in hidden if one != system] if system in hidden else [*hidden, system])
        return f"{request.path}?{query.urlencode()}"

    hidden = request.GET.getlist("hide")
    return {
        "unhealthy": url(unhealthy=None if request.GET.get("unhealthy") == "1" else "1"),
        "graph": url(view=None),
        "table": url(view="table"),
        "close": url(node=None, edge=None),
        "live": url(layout=graph.token),
        "brokers": [(one, NAMES.get(one, one), one not in hidden, toggled(one)) for one in graph.systems],
        "keep": [
            (name, value) for name, value in request.GET.items() if name not in ("find", "window", "layout", "hide")
        ],
        "hidden": hidden,
    }


urlpatterns: list[URLPattern] = [path("", page, name="page")]
