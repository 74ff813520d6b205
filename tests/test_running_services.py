"""`make services` and `make services-stop`: started once however often asked, and no process is left behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import install_services, running_services
from tests.required import missing
from tests.running import ROOT, until


class Services:
    """The command in a cache of its own."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.running_services", *words],
            cwd=ROOT, env=os.environ | {"EVENTFLOW_SERVICES_CACHE": str(self.cache)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def processes(self) -> list[int]:
        """Whose command line or environment names the cache's folder."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                told = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            except OSError:
                continue
            if str(self.cache).encode() in told:
                found.append(int(place.name))
        return found


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    if shutil.which("redis-server") is None:
        missing("redis", "redis-server is not installed")
    made = Services(tmp_path)
    yield made
    made.run("stop")


def url(told: str, name: str) -> str:
    return next(line.split()[1] for line in told.splitlines() if line.split()[:1] == [name])


def answers(where: str) -> bool:
    parts = urlsplit(where)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), 1):
            return True
    except OSError:
        return False


def test_they_are_started_once_told_again_and_stopped_without_a_trace(services: Services) -> None:
    told = services.run("start", "nats", "redis")
    assert all(answers(url(told, name)) for name in ("nats", "redis"))
    sources = f"nats={url(told, 'nats')},redis={url(told, 'redis')}"
    assert f"export EVENTFLOW_SOURCES='{sources}'" in told
    assert services.run("start", "nats", "redis").replace("Starting …\n", "") == told.replace("Starting …\n", "")
    assert url(services.run("status"), "redis") == url(told, "redis")

    assert "Stopped." in services.run("stop")
    assert services.processes() == []
    assert not any(answers(url(told, name)) for name in ("nats", "redis"))
    assert "Nothing was running." in services.run("stop")


def test_what_a_killed_start_left_behind_is_stopped_too(services: Services) -> None:
    told = services.run("start", "redis")
    holder = next(
        pid for pid in services.processes() if b"running_services" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(holder, signal.SIGKILL)
    until(lambda: not running_services._alive(holder))
    assert answers(url(told, "redis"))
    services.run("stop")
    assert services.processes() == []
    assert not answers(url(told, "redis"))


def test_a_service_nobody_knows_is_refused(services: Services) -> None:
    assert "no such service: oracle" in services.run("start", "oracle")


def test_what_is_installed_already_needs_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert install_services.missing(["redis", "nats"]) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install_services.missing(["redis", "kafka"]) == ["redis-server", "default-jre-headless", "maven"]
