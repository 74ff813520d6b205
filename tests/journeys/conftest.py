"""The whole thing as a person meets it: `manage.py demo` on its own ports, and a real browser in front of it.

For this package only: Playwright keeps an event loop running, in which no asynchronous test could run.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.running_demo import Demo, chromium, log_in, start_demo


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The shop a little below its usual rate, with nothing going wrong by itself."""
    running = start_demo(tmp_path_factory.mktemp("demo"), "--no-story", "--rate", "3")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def person(browser: Browser, demo: Demo) -> Iterator[BrowserContext]:
    """Somebody logged in by the link that the demo printed."""
    context = log_in(demo, browser)
    yield context
    context.close()


@pytest.fixture
def page(person: BrowserContext) -> Iterator[Page]:
    """A fresh tab that must end without an error in its console."""
    errors: list[str] = []
    tab = person.new_page()
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield tab
    tab.close()
    assert not errors, errors
