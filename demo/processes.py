"""The shop as running processes: a broker of its own and one process per service, all ended together.

Promises a fresh start each time and that nothing survives `stop()`, Ctrl-C or kill -9 of the launcher. It restarts
nothing by itself.
"""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from demo.servers import SERVERS, DemoError
from demo.shop import brokers
from demo.shop.broker import BrokerError
from demo.shop.contract import SERVICES

__all__ = ["DemoError", "Shop", "end", "launch", "running_url"]

STOP_SECONDS = 8.0
URL_FILE = "broker-url"


class Shop:
    """`start()` returns the broker's URL. The folder's `broker`, `logs` and `broker-url` are its own."""

    def __init__(
        self, folder: Path, otlp_http: str, rate: float = 4.0, *, story: bool = True, broker: str = "nats"
    ) -> None:
        self.server = SERVERS[broker]()
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
        for old in ("broker", "logs"):
            shutil.rmtree(self.folder / old, ignore_errors=True)
            (self.folder / old).mkdir(parents=True)
        if importlib.util.find_spec("opentelemetry.sdk") is None:
            raise DemoError("The demo needs OpenTelemetry's SDK, which is not installed: run pip install '.[demo]'")
        try:
            command = self.server.command(self.folder / "broker")
            self._spawn("broker", [sys.executable, "-m", "demo.leash", *command])
            url = self.server.url(self.folder / "broker", self.processes["broker"])
            if url is None:
                raise DemoError(f"The {self.server.name} server did not start: {self._last_word()}")
            self.url = url
            asyncio.run(_declare(self.url))
        except BaseException:
            self.stop()
            raise
        (self.folder / URL_FILE).write_text(self.url)
        return self.url

    def _last_word(self) -> str:
        said = (self.folder / "logs" / "broker.log").read_text(errors="replace").strip().splitlines()
        return said[-1] if said else "no word"

    def start_services(self) -> None:
        for name in (*SERVICES, *(["story"] if self.story else [])):
            command = [
                sys.executable,
                "-m",
                "demo.shop",
                name,
                "--broker",
                self.url,
                "--otlp",
                self.otlp_http,
                "--leash",
            ]
            self._spawn(name, command)

    def ended(self) -> dict[str, int]:
        """The processes that are gone, with their exit codes; the story ends by itself, the others should not."""
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code for name, code in codes.items() if code is not None and (name, code) != ("story", 0)}

    def stop(self) -> None:
        """Services first, so that they can still acknowledge; then the broker."""
        (self.folder / URL_FILE).unlink(missing_ok=True)
        services = [process for name, process in self.processes.items() if name != "broker"]
        end(services)
        end([process for name, process in self.processes.items() if name == "broker"])
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
    """The broker's URL of the shop that runs in this folder, if one answers."""
    try:
        url = (folder / URL_FILE).read_text()
        asyncio.run(_knock(url))
    except (FileNotFoundError, BrokerError):
        return None
    return url


async def _knock(url: str) -> None:
    await (await brokers.connect(url, "knock", patient=False)).close()


async def _declare(url: str) -> None:
    broker = await brokers.connect(url, "setup", patient=False)
    try:
        await broker.declare()
    finally:
        await broker.close()
