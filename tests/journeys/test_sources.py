"""A broker added in the browser: tried with a wrong password and a wrong port, then right; seen to connect; and a rule
tried on what was recorded of it. On an Eventflow and a NATS of its own.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.collectors.nats.test_rights import ALL, shop_with_a_letter, users
from tests.running import Eventflow
from tests.services import NatsServer, free_port

pytestmark = [pytest.mark.journey, pytest.mark.nats]
SECONDS = 1000.0


@pytest.fixture
def shop(nats_process: Callable[..., NatsServer]) -> NatsServer:
    """A NATS where the user eventflow may look, and one message waits."""
    server = nats_process(users(ALL))
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps this thread's event loop
        thread.submit(asyncio.run, shop_with_a_letter(server)).result()
    return server


@pytest.fixture
def admin(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """An admin of an empty Eventflow, whose page must end without an error in its console."""
    with Eventflow(tmp_path) as running:
        link = running.manage("login_link").stdout.strip().splitlines()[-1]
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(link)
        yield page
        context.close()
        assert not errors, errors


def test_a_broker_is_tried_added_seen_to_connect_and_a_rule_is_tried_on_it(admin: Page, shop: NatsServer) -> None:
    base = re.match(r"https?://[^/]+", admin.url)
    assert base is not None
    admin.goto(f"{base[0]}/settings/")
    admin.get_by_role("link", name="Add a broker").click()
    form, result = admin.locator("#source-form"), admin.locator("#test-result")

    def attempt(port: int, password: str) -> None:
        form.get_by_label("Address").fill(f"127.0.0.1:{port}")
        form.get_by_label("Password or token").fill(password)
        form.get_by_role("button", name="Test connection").click()

    form.get_by_label("Name").fill("shop")
    form.get_by_label("User").fill("eventflow")
    attempt(shop.port, "hunter2")
    expect(result).to_contain_text("refuses our credentials", timeout=60 * SECONDS)
    attempt(free_port(), "s3cret")
    expect(result).to_contain_text("connection refused", timeout=60 * SECONDS)
    attempt(shop.port, "s3cret")
    expect(result).to_contain_text("1 consumer group", timeout=60 * SECONDS)
    expect(result).to_contain_text("shows how far every consumer is behind")

    form.get_by_role("button", name="Add broker").click()
    panel = admin.locator("#sources section", has=admin.get_by_role("heading", name="shop", exact=True))
    expect(panel.locator("header")).to_contain_text("Connected", timeout=60 * SECONDS)
    assert "s3cret" not in admin.content()

    admin.goto(f"{base[0]}/alerts/?rule=new&kind=lag")
    rule = admin.locator("#rule-form")
    rule.get_by_label("Consumer group; * is any").fill("payment")
    rule.get_by_label("Age", exact=True).fill("0.1")
    rule.get_by_label("For how long", exact=True).fill("0")

    def would_have_fired() -> bool:
        rule.get_by_role("button", name="Try it on the last 7 days").click()
        expect(admin.locator("#try-result")).to_contain_text(re.compile("fired|Nothing is recorded"))
        return "Would have fired 1 time" in admin.locator("#try-result").inner_text()

    for _ in range(20):
        if would_have_fired():
            break
        admin.wait_for_timeout(SECONDS)
    admin.locator("#try-result").get_by_role("link", name="payment on").click()
    expect(admin.get_by_role("main")).to_contain_text("payment")

    admin.goto(f"{base[0]}/settings/?remove=shop")
    admin.get_by_role("button", name="Remove shop").click()
    expect(panel).to_have_count(0, timeout=60 * SECONDS)
