"""The whole thing as a person meets it: `manage.py demo` on its own ports, and a real browser in front of it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.required import missing
from tests.running import ROOT, Command
from tests.services import free_port

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Demo:
    """A running demo: its addresses, what it printed, and its switches."""

    http: str
    otlp: str
    env: dict[str, str]
    command: Command

    def manage(self, *arguments: str, data: str = "") -> str:
        env = self.env | ({"EVENTFLOW_DATA": data} if data else {})
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fault(self, name: str, state: str) -> None:
        self.manage("demo", name, state)

    def login_link(self) -> str:
        return self.manage("login_link", data=str(Path(self.env["EVENTFLOW_DATA"]) / "demo" / "eventflow")).strip()

    def stop(self) -> None:
        self.command.end(signal.SIGINT, 30)


def start_demo(folder: Path, *options: str) -> Demo:
    """A fresh demo on free ports; ready when its login link is printed."""
    http, otlp = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    env = os.environ | {
        "EVENTFLOW_DATA": str(folder),
        "EVENTFLOW_HTTP": http,
        "EVENTFLOW_OTLP_HTTP": otlp,
        "EVENTFLOW_OTLP_GRPC": f"127.0.0.1:{free_port()}",
        "PYTHONUNBUFFERED": "1",
    }
    command = Command([sys.executable, "manage.py", "demo", *options], env)
    try:
        command.wait_for(r"Log in once with", 120)
    except BaseException:
        command.end(signal.SIGINT)
        raise
    return Demo(http, otlp, env, command)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The shop a little below its usual rate, with nothing going wrong by itself."""
    running = start_demo(tmp_path_factory.mktemp("demo"), "--no-story", "--rate", "3")
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        missing("chromium", "no Chromium on this machine (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def person(demo: Demo, browser: Browser) -> Iterator[BrowserContext]:
    """Somebody logged in by the link that the demo printed."""
    link = demo.command.wait_for(r"Log in once with\s+(\S+)", 5)[1]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(link)
    assert "login" not in page.url
    page.close()
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
