"""axe-core finds nothing to say about any page, in light and dark and on a phone, with what the demo put on them."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext

from tests.journeys.pages import LOOKS, Look, open_as, paths
from tests.running_demo import Demo

pytestmark = [pytest.mark.journey, pytest.mark.nats]


def said(violation: dict[str, Any]) -> str:
    nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
    return f"{violation['id']}: {violation['help']} ({len(violation['nodes'])}): {nodes}"


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_axe_finds_no_violation_on_any_page(demo: Demo, person: BrowserContext, browser: Browser, look: Look) -> None:
    found: list[str] = []
    with open_as(browser, person, look) as page:
        for name, path in paths(demo, page).items():
            page.goto(f"http://{demo.http}{path}")
            page.wait_for_timeout(700)
            violations = Axe().run(page).response["violations"]
            found += [f"{name}: {said(violation)}" for violation in violations]
            if look.width < 500:
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                if wide > 0:
                    found.append(f"{name}: {wide} px wider than the screen")
    assert not found, "\n" + "\n".join(found)
