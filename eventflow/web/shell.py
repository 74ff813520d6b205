"""What the frame around every page shows: navigation with its counts, the person's role, the keys there are."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from eventflow.accounts import roles
from eventflow.store.queries import shell as queries
from eventflow.web import formats


@dataclass(frozen=True, slots=True)
class NavItem:
    """One entry of the rail. `count` is shown as a badge when it is not empty; `more`: in the menu on small screens."""

    name: str
    label: str
    icon: str
    key: str
    url: str
    count: str = ""
    count_class: str = ""
    count_what: str = ""
    more: bool = False


PAGES = (
    ("overview", "Overview", "gauge", "o", "overview:page"),
    ("topology", "Topology", "graph", "t", "topology:page"),
    ("flows", "Flows", "flow", "f", "flows:list"),
    ("lag", "Lag", "lag", "l", "lag:page"),
    ("dead_letters", "Dead letters", "offramp", "d", "dead_letters:page"),
    ("replays", "Replays", "replay", "r", "replays:page"),
    ("alerts", "Alerts", "bell", "a", "alerts:page"),
)
MORE = {"lag", "replays", "alerts"}

KEYMAP = (
    (
        "Everywhere",
        (
            (("Ctrl K",), "Search and commands"),
            (("/",), "Focus the filter on this page"),
            (("g", "t"), "Go to Topology (o f l d r a too)"),
            (("p",), "Pause or resume live updates"),
            (("[", "]"), "Time range: earlier, later"),
            (("?",), "This help"),
        ),
    ),
    (
        "Lists",
        (
            (("j", "k"), "Next, previous row"),
            (("Enter",), "Open"),
            (("x",), "Select for bulk actions"),
            (("e",), "Archive (dead letters)"),
            (("r",), "Replay (dead letters)"),
        ),
    ),
    (
        "Topology",
        (
            (("Tab",), "Next node, left to right"),
            (("←", "→"), "Upstream, downstream neighbour"),
            (("+", "-"), "Zoom"),
            (("0",), "Fit to window"),
            (("u",), "Only unhealthy"),
            (("v",), "Table view"),
        ),
    ),
    (
        "Flow timeline",
        (
            (("↑", "↓"), "Previous, next event"),
            (("f",), "Zoom to selected event"),
            (("0",), "Whole flow"),
            (("c",), "Critical path"),
            (("y",), "Copy correlation id"),
        ),
    ),
)


def _badges() -> dict[str, tuple[str, str, str]]:
    """Page → text, class and meaning of its badge."""
    counts = queries.counts()
    firing = "crit" if counts.alerts_critical else "warn"
    behind = "crit" if counts.groups_critical else "warn"
    letters = "crit" if counts.letters_arriving else ""
    shown = {
        "lag": (counts.groups_behind, behind, "groups behind"),
        "dead_letters": (counts.letters_open, letters, "waiting"),
        "replays": (counts.replays_running, "", "running"),
        "alerts": (counts.alerts_firing, firing, "firing"),
    }
    return {page: (formats.short(number), cls, what) for page, (number, cls, what) in shown.items() if number}


def navigation() -> list[NavItem]:
    """The pages there are."""
    items, badges = [], _badges()
    for name, label, icon, key, view in PAGES:
        try:
            url = reverse(view)
        except NoReverseMatch:
            continue
        items.append(NavItem(name, label, icon, key, url, *badges.get(name, ("", "", "")), more=name in MORE))
    return items


def context(request: HttpRequest) -> dict[str, Any]:
    """Context processor for base.html; costs nothing for people who are not logged in, nor for fragments."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    match = request.resolver_match
    return {
        # Called by the template when it shows them, once per request: fragments without a rail cost no query.
        "nav": cache(navigation),
        "nav_active": match.app_name if match else "",
        "role": cache(partial(roles.role_of, user)),
        "keymap": KEYMAP,
    }
