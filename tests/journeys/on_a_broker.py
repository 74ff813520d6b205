"""The shop's six faults as a person sees them in the browser, on whatever broker the shop runs.

A module for a broker says which (`name`) and inherits the journey. Everything goes wrong at once, then is made good.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests import required
from tests.journeys.test_topology import SECONDS
from tests.running import until
from tests.running_demo import Demo, log_in, start_demo

RATE = "4"


class FaultsOnABroker:
    """One demo, one browser, one walk through the pages."""

    name = ""
    waits_for_the_stop = False
    """The alert for a stopped consumer comes after more than a minute: one broker's module waits for it."""

    @pytest.fixture
    def shop(self, tmp_path: Path) -> Iterator[Demo]:
        try:
            running = start_demo(tmp_path, "--no-story", "--rate", RATE, "--broker", self.name)
        except AssertionError as error:
            required.missing(self.name, str(error)[-500:])
        try:
            yield running
        finally:
            running.stop()
            # Shown beside a test that failed.
            print(running.command.said[-20_000:])

    @pytest.fixture
    def tab(self, shop: Demo, browser: Browser) -> Iterator[Page]:
        """A tab of somebody logged in, that must end without an error in its console.

        The browser is the package's: a process can drive only one at a time.
        """
        yield from _tab(browser, shop)

    def test_each_of_the_six_faults_shows_on_the_pages_and_is_made_good(self, shop: Demo, tab: Page) -> None:
        both_consumers_have_begun(shop, tab)
        shop.fault("all", "on")
        poison_and_gift_cards_lie_among_the_dead_letters(shop, tab)
        a_doubled_order_shows_both_publications(shop, tab)
        a_forgotten_step_is_missing_in_its_flow(shop, tab)
        the_slow_and_the_stopped_consumer_fall_behind(shop, tab)
        each_raises_its_alert_and_nobody_else_does(shop, tab, stopped=self.waits_for_the_stop)
        shop.fault("all", "off")
        a_gift_card_order_is_replayed_and_recovers(shop, tab)
        the_stopped_consumer_catches_up(shop, tab)


def _tab(browser: Browser, shop: Demo) -> Iterator[Page]:
    errors: list[str] = []
    context = log_in(shop, browser)
    tab = context.new_page()
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield tab
    context.close()
    assert not errors, errors


def _get(shop: Demo, tab: Page, path: str) -> Any:
    return tab.request.get(f"http://{shop.http}/api/v1/{path}").json()


def _flow(shop: Demo, tab: Page, right: Any, what: str) -> str:
    """The key of a flow that is as wanted, in the words of the API."""

    def look() -> str:
        tab.wait_for_timeout(1 * SECONDS)  # asking reads many flows
        rows = _get(shop, tab, "flows?event_type=orders.placed&limit=50")["items"]
        return next((row["key"] for row in rows if right(row, lambda key: _get(shop, tab, f"flows/{key}"))), "")

    return until(look, 40, what)


def _events(shop: Demo, tab: Page, key: str) -> Locator:
    tab.goto(f"http://{shop.http}/flows/{key}/?tab=events")
    return tab.locator("#event-rows tr")


def _lag_row(shop: Demo, tab: Page, group: str) -> Locator:
    if not tab.url.endswith("/lag/"):
        tab.goto(f"http://{shop.http}/lag/")
    return tab.get_by_role("main").get_by_role("row").filter(has=tab.get_by_role("link", name=group, exact=True))


def poison_and_gift_cards_lie_among_the_dead_letters(shop: Demo, tab: Page) -> None:
    tab.goto(f"http://{shop.http}/dead-letters/")
    causes = tab.locator("#dl-groups .gr-i")
    # The page was opened before the first letter came: it fills by itself.
    expect(tab.get_by_role("main")).to_contain_text("UnicodeDecodeError", timeout=40 * SECONDS)
    expect(causes.filter(has_text="GiftCardBalanceError")).to_contain_text("payment", timeout=40 * SECONDS)
    expect(causes.filter(has_text="UnicodeDecodeError")).to_contain_text("fraud-check")
    causes.filter(has_text="GiftCardBalanceError").click()
    expect(tab.locator("#det")).to_contain_text("4 since it was published, then dead-lettered", timeout=15 * SECONDS)


def a_doubled_order_shows_both_publications(shop: Demo, tab: Page) -> None:
    def doubled(row: Any, document: Any) -> bool:
        if row["events"] < 2:
            return False
        roots = [one for one in document(row["key"])["messages"] if one["destination"] == "orders.placed"]
        return len(roots) == 2 and len({one["message_id"] for one in roots}) == 2

    events = _events(shop, tab, _flow(shop, tab, doubled, "an order that was published twice"))
    published = events.filter(has_text="checkout").filter(has_text="orders.placed")
    expect(published).to_have_count(2, timeout=15 * SECONDS)


def a_forgotten_step_is_missing_in_its_flow(shop: Demo, tab: Page) -> None:
    def forgotten(row: Any, document: Any) -> bool:
        went = set(row["destinations"])
        reserving = {one["name"] for one in row["services"]} >= {"inventory-service", "order-service"}
        # Settled: an order that is merely on its way has somebody who waits for a message.
        return reserving and row["status"] == "completed" and not went & {"inventory.reserved", "payments.refused"}

    events = _events(shop, tab, _flow(shop, tab, forgotten, "an order without its reservation"))
    expect(events.filter(has_text="payments.captured").first).to_be_visible(timeout=15 * SECONDS)
    for later in ("inventory.reserved", "orders.confirmed", "shipments.created"):
        expect(events.filter(has_text=later)).to_have_count(0)


def both_consumers_have_begun(shop: Demo, tab: Page) -> None:
    """Whoever was stopped before its first commit has no lag that anybody could know."""
    for group in ("email", "shipping"):
        expect(_lag_row(shop, tab, group)).not_to_contain_text("Unknown", timeout=60 * SECONDS)


def the_slow_and_the_stopped_consumer_fall_behind(shop: Demo, tab: Page) -> None:
    for group in ("email", "shipping"):
        expect(_lag_row(shop, tab, group)).to_contain_text("falling behind", timeout=60 * SECONDS)
    headings = tab.get_by_role("main").get_by_role("columnheader").all_inner_texts()
    out = _lag_row(shop, tab, "shipping").get_by_role("cell").nth(headings.index("Out"))
    expect(out).to_have_text("0/s", timeout=60 * SECONDS)


def each_raises_its_alert_and_nobody_else_does(shop: Demo, tab: Page, *, stopped: bool) -> None:
    tab.goto(f"http://{shop.http}/alerts/")
    firing = tab.locator("#al-firing > ul > li")
    expect(firing.filter(has_text="email is")).to_contain_text("behind", timeout=90 * SECONDS)
    for cause in ("GiftCardBalanceError", "UnicodeDecodeError"):
        expect(firing.filter(has_text=cause)).to_have_count(1)
    stop = firing.filter(has_text="shipping finishes nothing")
    if not stopped:
        expect(firing.filter(has_not_text="shipping finishes nothing")).to_have_count(3)
        return
    expect(stop).to_contain_text("critical", timeout=120 * SECONDS)
    expect(firing).to_have_count(4)
    tab.goto(f"http://{shop.http}/topology/?view=table")
    row = tab.get_by_role("main").get_by_role("row").filter(has_text="shipping-service").filter(has_text="Critical")
    expect(row).to_contain_text("shipping finishes nothing")


def a_gift_card_order_is_replayed_and_recovers(shop: Demo, tab: Page) -> None:
    tab.goto(f"http://{shop.http}/dead-letters/?q=GiftCard")
    tab.locator("#dl-list tbody tr").first.get_by_role("link", name="Replay").click()
    dialog = tab.get_by_role("dialog")
    dialog.locator("#rp-why").fill("the ledger works again")
    dialog.locator("[data-go-replay]").click()
    expect(dialog).to_contain_text("Processed by payment-service", timeout=40 * SECONDS)


def the_stopped_consumer_catches_up(shop: Demo, tab: Page) -> None:
    tab.goto(f"http://{shop.http}/lag/")
    expect(_lag_row(shop, tab, "shipping")).not_to_contain_text("falling behind", timeout=60 * SECONDS)
