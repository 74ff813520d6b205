"""What the frame around every page shows: navigation with its counts, the firing alerts, the person's role."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from eventflow.accounts import roles


@dataclass(frozen=True, slots=True)
class NavItem:
    """One entry of the rail. `count` is shown as a badge when it is not empty."""

    name: str
    label: str
    icon: str
    key: str
    url: str
    count: str = ""
    count_class: str = ""
    count_what: str = ""


PAGES = (
    ("overview", "Overview", "gauge", "o", "overview:page"),
    ("topology", "Topology", "graph", "t", "topology:page"),
    ("flows", "Flows", "flow", "f", "flows:list"),
    ("lag", "Lag", "lag", "l", "lag:page"),
    ("dead_letters", "Dead letters", "offramp", "d", "dead_letters:page"),
    ("replays", "Replays", "replay", "r", "replays:page"),
    ("alerts", "Alerts", "bell", "a", "alerts:page"),
)


def navigation() -> list[NavItem]:
    """The pages there are."""
    items = []
    for name, label, icon, key, view in PAGES:
        try:
            items.append(NavItem(name, label, icon, key, reverse(view)))
        except NoReverseMatch:
            continue
    return items


def context(request: HttpRequest) -> dict[str, Any]:
    """Context processor for base.html; costs nothing for people who are not logged in."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    match = request.resolver_match
    return {"nav": navigation(), "nav_active": match.app_name if match else "", "role": roles.role_of(user)}
