"""The list of flows by hand: the chart dragged across, a bar followed by keyboard, both told in the address."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.running_demo import Demo

pytestmark = [pytest.mark.journey, pytest.mark.nats]


def test_dragging_across_the_durations_narrows_times_and_durations(demo: Demo, page: Page) -> None:
    page.goto(f"http://{demo.http}/flows/")
    plot = page.locator("[data-plot]")
    plot.wait_for()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.5)
    expect(page.locator(".hm-brush")).to_be_visible()
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] - 2)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"since=.*until=.*m(in|ax)="))
    expect(page.locator(".qb .chip")).to_have_count(2)
    page.get_by_role("link", name="Clear", exact=True).click()
    expect(page.locator(".qb .chip")).to_have_count(0)


def test_a_bar_leads_to_the_flows_that_took_so_long_and_back(demo: Demo, page: Page) -> None:
    page.goto(f"http://{demo.http}/flows/")
    page.locator(".hm-bars a").first.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"\?m(in|ax)="))
    chosen = page.locator(".hm-bars a[aria-current]")
    expect(chosen).to_have_count(1)
    # The bars go on growing while the shop runs: a mouse would have to wait until one stands still.
    chosen.press("Enter")
    expect(page.locator(".qb .chip")).to_have_count(0)
