"""Eventflow as a process of its own, on free ports with its own folder, as tests of the whole need it.

`kill()` is kill -9. What a test starts it stops: use it in a `with` block.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tests.services import free_port

ROOT = Path(__file__).resolve().parents[1]
T = TypeVar("T")


def until(look: Callable[[], T], seconds: float = 20, what: str = "it") -> T:
    """What `look` says once it says something; fails with its last word after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s; last: {found!r}"
        time.sleep(0.05)
    return found


class Command:
    """A command in the project's root whose output is kept; in a process group of its own."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip())

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """The first match in what it printed; fails when it ends or is silent about it."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.said)):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said}"
            assert time.monotonic() < deadline, f"{pattern} was not printed within {seconds} s:\n{self.said}"
            time.sleep(0.05)
        return found

    def end(self, number: signal.Signals = signal.SIGINT, seconds: float = 20) -> int:
        """Send a signal to the process and return its exit code; kill -9 of its whole group if it does not end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill_group()
            self.process.wait()
            self._reader.join(5)

    def kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def group(self) -> list[int]:
        """The processes of its group that are still there."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(group) == self.process.pid and state != "Z":
                found.append(int(stat.parent.name))
        return found


class Eventflow:
    """`manage.py up`. Ports and folder stay the same over restarts."""

    def __init__(self, folder: Path, *, sources: str = "", roles: str = "", env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.http, self.otlp_http, self.otlp_grpc = (f"127.0.0.1:{free_port()}" for _ in range(3))
        inherited = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "REDIS_URL", "EVENTFLOW_URL"}}
        self.env = inherited | {
            "EVENTFLOW_DATA": str(folder),
            "EVENTFLOW_HTTP": self.http,
            "EVENTFLOW_OTLP_HTTP": self.otlp_http,
            "EVENTFLOW_OTLP_GRPC": self.otlp_grpc,
            "EVENTFLOW_ZIPKIN": "off",
            "EVENTFLOW_SOURCES": sources,
            "EVENTFLOW_POLL_SECONDS": "0.5",
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        self._roles = ["--roles", roles] if roles else []
        self._token = ""
        self.command: Command | None = None

    def start(self, *, ready: str = r"Ctrl-C stops it") -> "Eventflow":
        self.command = Command([sys.executable, "manage.py", "up", "--no-link", *self._roles], self.env)
        self.command.wait_for(ready)
        return self

    def kill(self) -> None:
        """kill -9, then wait until it is gone."""
        assert self.command is not None
        self.command.end(signal.SIGKILL)

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        assert self.command is not None
        return self.command.end(signal.SIGINT)

    def __enter__(self) -> "Eventflow":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.command:
            if error is not None:
                print(self.command.said[-6000:])
            self.command.end(signal.SIGTERM if error is None else signal.SIGKILL)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another management command on the same folder and settings."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def token(self) -> str:
        """An operator's bearer token, made once."""
        if not self._token:
            done = self.manage("token", "create", "test", "--role", "operator")
            assert done.returncode == 0, done.stderr
            self._token = done.stdout.strip()
        return self._token

    def api(self, path: str, body: object = None, *, timeout: float = 20) -> Any:
        """GET, or POST with a body; the answer's document. Raises urllib's errors."""
        request = urllib.request.Request(
            f"http://{self.http}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token()}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def find(self, path: str) -> Any:
        """As `api`, or None for 404."""
        try:
            return self.api(path)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise
            return None
