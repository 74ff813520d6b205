"""The whole thing as a person meets it: `manage.py demo` on its own ports, and a real browser in front of it."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.required import missing

ROOT = Path(__file__).resolve().parents[2]
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Demo:
    """A running demo: its addresses, what it printed, and its switches."""

    http: str
    otlp: str
    env: dict[str, str]
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def manage(self, *arguments: str, data: str = "") -> str:
        env = self.env | ({"EVENTFLOW_DATA": data} if data else {})
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fault(self, name: str, state: str) -> None:
        self.manage("demo", name, state)

    def login_link(self) -> str:
        return self.manage("login_link", data=str(Path(self.env["EVENTFLOW_DATA"]) / "demo" / "eventflow")).strip()

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := re.search(pattern, "\n".join(self.lines)):
                return found
            assert self.process.poll() is None, "the demo ended:\n" + "\n".join(self.lines)
            time.sleep(0.1)
        raise AssertionError(f"{pattern} was not printed within {seconds} s:\n" + "\n".join(self.lines))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise


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
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", *options],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    demo = Demo(http, otlp, env, process)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            demo.lines.append(line.rstrip())

    threading.Thread(target=read, daemon=True).start()
    demo.wait_for(r"Log in once with", 60)
    return demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The shop at its usual rate, with nothing going wrong by itself."""
    running = start_demo(tmp_path_factory.mktemp("demo"), "--no-story")
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
    link = demo.wait_for(r"Log in once with\s+(\S+)", 5)[1]
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
