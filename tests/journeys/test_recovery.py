"""A failed order from its correlation id to green, and a slow consumer from alert to end, as a person sees it."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.test_topology import SECONDS, stay, unloaded
from tests.running import until
from tests.running_demo import Demo

pytestmark = [pytest.mark.journey, pytest.mark.nats]


def failed_order(demo: Demo, page: Page) -> str:
    """The correlation id that a customer would name: of an order whose message lies among the dead letters."""

    def look() -> str:
        answer: Any = page.request.get(f"http://{demo.http}/api/v1/dead-letters").json()
        return next((letter["correlation_id"] for letter in answer["items"] if letter["correlation_id"]), "")

    return until(look, 60, "a dead letter")


def test_a_failed_order_is_found_replayed_and_turns_green_without_a_reload(demo: Demo, page: Page) -> None:
    demo.fault("gift-card", "on")
    try:
        order = failed_order(demo, page)
    finally:
        demo.fault("gift-card", "off")
    page.goto(f"http://{demo.http}/flows/")
    page.keyboard.press("/")
    page.keyboard.type(order)
    page.keyboard.press("Enter")
    page.wait_for_url("**/flows/?*")
    page.locator(f"main a[href='/flows/{order}/']").click()
    page.wait_for_url(f"**/flows/{order}/**")
    status = page.locator("#flow-status")
    expect(status).to_contain_text("Dead-lettered", ignore_case=True, timeout=15 * SECONDS)
    stay(page)
    page.locator("#flow .fl-hd").get_by_role("link", name="Replay").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("orders.placed")
    dialog.locator("#rp-why").fill("the ledger works again")
    dialog.locator("[data-go-replay]").click()
    expect(status).to_contain_text("Recovered", timeout=40 * SECONDS)
    unloaded(page)
    page.goto(f"http://{demo.http}/replays/")
    expect(page.get_by_role("main")).to_contain_text("the ledger works again")


def test_a_slow_consumer_raises_an_alert_that_every_page_shows_and_that_ends_by_itself(demo: Demo, page: Page) -> None:
    page.goto(f"http://{demo.http}/flows/")
    stay(page)
    bell, alarm = page.locator("#bell-button"), page.locator("#m-bell .alarm", has_text="email")
    demo.fault("slow-consumer", "on")
    try:
        expect(page.locator("#toasts")).to_contain_text("email", timeout=60 * SECONDS)
        expect(bell).not_to_have_accessible_name("Alerts, none firing")
        bell.click()
        expect(alarm).to_be_visible()
        page.keyboard.press("Escape")
    finally:
        demo.fault("slow-consumer", "off")
    expect(alarm).to_have_count(0, timeout=120 * SECONDS)
    unloaded(page)
    page.goto(f"http://{demo.http}/alerts/")
    expect(page.get_by_role("main")).to_contain_text("email")
