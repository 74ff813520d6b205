"""`manage.py demo` as a process of its own on free ports, and the browser that people look at it with."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

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
        # What a shell runs in the background, and all that is started there, never sees Ctrl-C.
        self.command.end(signal.SIGTERM, 30)


def start_demo(folder: Path, *options: str) -> Demo:
    """A fresh demo on free ports; ready when its login link is printed."""
    http, otlp = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    env = os.environ | {
        "EVENTFLOW_DATA": str(folder),
        "EVENTFLOW_HTTP": http,
        "EVENTFLOW_OTLP_HTTP": otlp,
        "EVENTFLOW_OTLP_GRPC": f"127.0.0.1:{free_port()}",
        "EVENTFLOW_ZIPKIN": "off",
        "PYTHONUNBUFFERED": "1",
    }
    command = Command([sys.executable, "manage.py", "demo", *options], env)
    try:
        command.wait_for(r"Log in once with", 120)
    except BaseException:
        command.end(signal.SIGTERM)
        raise
    return Demo(http, otlp, env, command)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; skips the test that has none."""
    if CHROMIUM is None:
        missing("chromium", "no Chromium on this machine (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield running
        finally:
            running.close()


def log_in(demo: Demo, browser: Browser) -> BrowserContext:
    """Somebody logged in by the link that the demo printed. It works once."""
    link = demo.command.wait_for(r"Log in once with\s+(\S+)", 5)[1]
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(link)
    assert "login" not in page.url
    page.close()
    return context
