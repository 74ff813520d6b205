"""A process of its own on a fresh database file (or PostgreSQL database), for what must be killed or locked out."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).parent.parent.parent
Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Run]:
    """Starts `tests.store.crash` on a fresh database."""
    environment = {**os.environ, "EVENTFLOW_DATA": str(tmp_path), "EVENTFLOW_SECRET_KEY": "test"}
    if server := os.environ.get("DATABASE_URL"):
        name = f"crash_{os.getpid()}_{abs(hash(tmp_path)) % 10**8}"
        with psycopg.connect(server, autocommit=True) as administrator:
            administrator.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]  # our own name
        environment["DATABASE_URL"] = f"{server.rpartition('/')[0]}/{name}"
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.store.crash", *arguments]
        started.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return started[-1]

    start("prepare").wait(60)
    yield start
    for child in started:
        child.kill()
        child.wait()
        if child.stdout:
            child.stdout.close()


def finish(process: Run, *arguments: str) -> str:
    child = process(*arguments)
    text, _ = child.communicate(timeout=180)
    assert child.returncode == 0
    return text


@pytest.fixture(autouse=True)
def pickled_spans(settings: Any) -> None:
    """The store never looks into requests: here they are pickles."""
    settings.EVENTFLOW_SPAN_FORMAT = "tests.store.pickled.Pickled"
