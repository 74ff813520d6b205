"""What the command palette finds: services, destinations, consumer groups, and flows by their id."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from eventflow.domain.topology_model import Topology
from eventflow.store.queries import flows
from eventflow.web import formats, graph
from eventflow.web.templatetags.ef import NAMES

app_name = "search"
Item = dict[str, Any]
LONGEST = 300
SHORTEST_ID = 6
MOST_EACH = 5
LOOK_BACK_SECONDS = 3600


def palette(request: HttpRequest) -> JsonResponse:
    """`?q=`: what matches, best first; `flow` is the address of the flow whose id, trace or message it is in full."""
    text = request.GET.get("q", "").strip()[:LONGEST]
    if not text:
        return JsonResponse({"flow": "", "items": []})
    keys = flows.find(text) if len(text) >= SHORTEST_ID else []
    # A key that only begins with the text is a suggestion; anything else was found by an id in full.
    whole = next((key for key in keys if key == text or not key.startswith(text)), None)
    items = _nodes(graph.current(timezone.now(), LOOK_BACK_SECONDS), text.lower())
    items += [
        {
            "group": "Flows",
            "title": key,
            "icon": "flow",
            "sub": "",
            "url": reverse("flows:page", args=[key]),
            "mono": True,
        }
        for key in keys[:MOST_EACH]
    ]
    return JsonResponse({"flow": reverse("flows:page", args=[whole]) if whole else "", "items": items})


def _nodes(topology: Topology, text: str) -> list[Item]:
    """Services, destinations and groups whose name holds the text."""
    services = [(one.name, one.id, "service") for one in topology.services if one.known]
    places = [(one.name, one.id, f"{NAMES.get(one.system, one.system)} {one.kind}") for one in topology.places]
    groups = [
        (row.name, row.id, f"{formats.count(row.lag)} behind, {service.name}" if row.lag else service.name)
        for service in topology.services
        for row in service.groups
    ]
    return [
        *_found("Services", "graph", services, text),
        *_found("Destinations", "hash", places, text),
        *_found("Consumer groups", "lag", groups, text),
    ]


def _found(group: str, icon: str, names: list[tuple[str, str, str]], text: str) -> list[Item]:
    hits = [(name.lower().find(text), name, node, sub) for name, node, sub in names if text in name.lower()]
    page = reverse("topology:page")
    return [
        {"group": group, "title": name, "icon": icon, "sub": sub, "url": f"{page}?{urlencode({'node': node})}"}
        for _, name, node, sub in sorted(hits)[:MOST_EACH]
    ]


urlpatterns: list[URLPattern] = [path("", palette, name="palette")]
