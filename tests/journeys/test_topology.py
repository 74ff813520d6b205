"""The topology in front of a person: it grows by itself, and the keyboard reaches everything."""

import pytest
from playwright.sync_api import Page, expect

from tests import otlp
from tests.running_demo import Demo

pytestmark = [pytest.mark.journey, pytest.mark.nats]
SECONDS = 1000


def unloaded(page: Page) -> None:
    """Fails when the page was loaded anew since `stay`."""
    assert page.evaluate("window.stayed") == 1


def stay(page: Page) -> None:
    page.evaluate("window.stayed = 1")


def test_a_service_that_speaks_for_the_first_time_becomes_a_node_without_a_reload(demo: Demo, page: Page) -> None:
    page.goto(f"http://{demo.http}/topology/")
    expect(page.locator("#tp-graph .node.svc").nth(2)).to_be_visible(timeout=30 * SECONDS)
    greenhouse = page.locator("#tp-graph .node", has_text="greenhouse")
    expect(greenhouse).to_have_count(0)
    stay(page)
    assert otlp.post(demo.otlp, otlp.Hop(source="greenhouse", destination="harvests").request())
    expect(greenhouse).to_be_visible(timeout=15 * SECONDS)
    expect(page.locator("#tp-graph .node.dst", has_text="harvests")).to_be_visible()
    unloaded(page)


def test_the_keyboard_alone_finds_a_flow(demo: Demo, page: Page) -> None:
    key = otlp.Hop().key
    assert otlp.post(demo.otlp, otlp.Hop(key=key).request())
    page.goto(f"http://{demo.http}/")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.wait_for_url("**/flows/")
    page.keyboard.press("/")
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/flows/?*")
    expect(page.locator(f"main a[href='/flows/{key}/']")).to_be_visible(timeout=15 * SECONDS)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/flows/{key}/")


def test_the_palette_goes_to_a_flow_by_its_whole_id(demo: Demo, page: Page) -> None:
    key = otlp.Hop().key
    assert otlp.post(demo.otlp, otlp.Hop(key=key).request())
    page.goto(f"http://{demo.http}/lag/")
    page.keyboard.press("Control+k")
    # A whole id goes there at once.
    page.keyboard.type(key)
    page.wait_for_url(f"**/flows/{key}/")
