"""Every page of a running demo, and the three ways of looking at it: light, dark, and on a phone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from playwright.sync_api import Browser, BrowserContext, Page

from tests.running_demo import Demo


class Look(NamedTuple):
    """A screen and a colour scheme."""

    name: str
    scheme: Literal["light", "dark"]
    width: int
    height: int


LOOKS = (Look("light", "light", 1440, 900), Look("dark", "dark", 1440, 900), Look("390", "light", 390, 844))
FIXED = {
    "overview": "/",
    "topology": "/topology/",
    "topology-table": "/topology/?view=table",
    "flows": "/flows/",
    "flows-narrowed": "/flows/?range=24h&min=1ms&q=no.such%3Dattribute",
    "lag": "/lag/",
    "dead-letters": "/dead-letters/",
    "replays": "/replays/",
    "alerts": "/alerts/",
    "alert-rule": "/alerts/?rule=new&kind=skew",
    "settings": "/settings/",
    "settings-broker": "/settings/?source=new",
    "settings-cost": "/settings/sources/cost/",
}


@contextmanager
def open_as(browser: Browser, person: BrowserContext, look: Look) -> Iterator[Page]:
    """A tab of the same person with another screen."""
    context = browser.new_context(
        storage_state=person.storage_state(),
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
        reduced_motion="reduce",
    )
    try:
        yield context.new_page()
    finally:
        context.close()


def paths(demo: Demo, page: Page) -> dict[str, str]:
    """Name → path; pages of one thing as far as there is such a thing now."""

    def first(path: str) -> Any:
        items = page.request.get(f"http://{demo.http}/api/v1/{path}").json().get("items", [])
        return items[0] if items else None

    found = dict(FIXED)
    failed = first("flows?status=dead-lettered") or first("flows?status=recovered") or first("flows")
    if failed:
        found["flow"] = f"/flows/{failed['key']}/"
        found["flow-events"] = f"/flows/{failed['key']}/?tab=events"
    if letter := first("dead-letters?status=all"):
        found["dead-letter"] = f"/dead-letters/{letter['id']}/"
    for name, list_path, selector in (
        ("lag-group", "/lag/", "main a[href^='/lag/groups/']"),
        ("replay", "/replays/", "main a[href^='/replays/']:not([href='/replays/'])"),
        ("settings-people", "/settings/", "a[href*='people']"),
        ("settings-audit", "/settings/", "a[href*='audit']"),
    ):
        page.goto(f"http://{demo.http}{list_path}")
        link = page.locator(selector).first
        if link.count():
            found[name] = str(link.get_attribute("href"))
    return found
