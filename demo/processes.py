"""The shop as running processes: a NATS server of its own and one process per service, all ended together.

Promises a fresh start each time and that nothing survives `stop()`, Ctrl-C or kill -9 of the launcher. It restarts
nothing by itself.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from demo.shop import nats_broker
from demo.shop.broker import BrokerError
from demo.shop.contract import SERVICES

STOP_SECONDS = 8.0
NATS_SECONDS = 15.0
URL_FILE = "nats-url"


class DemoError(Exception):
    """Why the demo cannot run, in one sentence that says what to do."""


class Shop:
    """`start()` returns the NATS URL. The folder's `nats`, `logs` and `nats-url` are its own."""

    def __init__(self, folder: Path, otlp_http: str, rate: float = 4.0, *, story: bool = True) -> None:
        self.folder = folder
        self.otlp_http = otlp_http
        self.rate = rate
        self.story = story
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> str:
        url = self.start_broker()
        self.start_services()
        return url

    def start_broker(self) -> str:
        for old in ("nats", "logs"):
            shutil.rmtree(self.folder / old, ignore_errors=True)
            (self.folder / old).mkdir(parents=True)
        try:
            host, port = _nats_address()
            self._spawn(
                "nats", [sys.executable, "-m", "demo.leash", _nats_server(), *_nats_options(self.folder, host, port)]
            )
            self.url = f"nats://{host}:{self._nats_port()}"
            asyncio.run(_declare(self.url))
        except BaseException:
            self.stop()
            raise
        (self.folder / URL_FILE).write_text(self.url)
        return self.url

    def start_services(self) -> None:
        for name in (*SERVICES, *(["story"] if self.story else [])):
            command = [sys.executable, "-m", "demo.shop", name, "--nats", self.url, "--otlp", self.otlp_http, "--leash"]
            self._spawn(name, command)

    def ended(self) -> dict[str, int]:
        """The processes that are gone, with their exit codes; the story ends by itself, the others should not."""
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code for name, code in codes.items() if code is not None and (name, code) != ("story", 0)}

    def stop(self) -> None:
        """Services first, so that they can still acknowledge; then the broker."""
        (self.folder / URL_FILE).unlink(missing_ok=True)
        services = [process for name, process in self.processes.items() if name != "nats"]
        end(services)
        end([process for name, process in self.processes.items() if name == "nats"])
        self.processes.clear()

    def __enter__(self) -> "Shop":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self, name: str, command: list[str]) -> None:
        environment = {**os.environ, "SHOP_RATE": str(self.rate), "PYTHONUNBUFFERED": "1"}
        with (self.folder / "logs" / f"{name}.log").open("wb") as log:
            self.processes[name] = launch(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def _nats_port(self) -> int:
        """The server chose a free port itself and wrote it down."""
        deadline = time.monotonic() + NATS_SECONDS
        while time.monotonic() < deadline:
            for ports in (self.folder / "nats").glob("*.ports"):
                with contextlib.suppress(ValueError, KeyError, IndexError):
                    return int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])
            if self.processes["nats"].poll() is not None:
                break
            time.sleep(0.02)
        last = (self.folder / "logs" / "nats.log").read_text(errors="replace").strip().splitlines()[-1:] or ["no word"]
        raise DemoError(f"The NATS server did not start: {last[0]}")


def launch(command: list[str], **options: object) -> "subprocess.Popen[bytes]":
    """A child that ends with us (its stdin is the leash), and that a Ctrl-C in the terminal reaches through us only."""
    root = Path(__file__).resolve().parent.parent
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd=root, **options)  # type: ignore[call-overload, no-any-return]  # options are Popen's


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def running_url(folder: Path) -> str | None:
    """The NATS URL of the shop that runs in this folder, if one answers."""
    try:
        url = (folder / URL_FILE).read_text()
        asyncio.run(_knock(url))
    except (FileNotFoundError, BrokerError):
        return None
    return url


async def _knock(url: str) -> None:
    await (await nats_broker.connect(url, "knock", patient=False)).close()


async def _declare(url: str) -> None:
    broker = await nats_broker.connect(url, "setup", patient=False)
    try:
        await broker.declare()
    finally:
        await broker.close()


def _nats_server() -> str:
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        missing = "OpenTelemetry's SDK" if found else "the NATS server"
        raise DemoError(f"The demo needs {missing}, which is not installed: run pip install '.[demo]'")
    return found


def _nats_address() -> tuple[str, str]:
    """EVENTFLOW_DEMO_NATS is host:port or a port; without it the server takes a free one."""
    host, _, port = os.environ.get("EVENTFLOW_DEMO_NATS", "-1").rpartition(":")
    return host or "127.0.0.1", port


def _nats_options(folder: Path, host: str, port: str) -> list[str]:
    nats = str(folder.resolve() / "nats")
    return ["--addr", host, "--port", port, "--jetstream", "--store_dir", nats, "--ports_file_dir", nats]
