"""The demo's own broker server, one class per broker: its command, and its URL once it answers.

Promises a free loopback port unless EVENTFLOW_DEMO_<BROKER> (host:port or a port) says another, files in the given
folder only, and a DemoError that says what to install where the server is missing.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from demo import kafka, rabbitmq

NATS_SECONDS = 15.0
KAFKA_SECONDS = 120.0
REDIS_SECONDS = 15.0
RABBITMQ_SECONDS = 90.0


class DemoError(Exception):
    """Why the demo cannot run, in one sentence that says what to do."""


class Server(Protocol):
    """One broker's server as the demo runs it."""

    name: str

    def command(self, folder: Path) -> list[str]:
        """How to start it; `folder` is its own and empty. Raises DemoError."""
        ...

    def url(self, folder: Path, process: "subprocess.Popen[bytes]") -> str | None:
        """Where it answers, as soon as it does; None when it has ended or takes too long."""
        ...


class Nats:
    """A NATS server with JetStream, from the wheel or from PATH."""

    name = "NATS"

    def command(self, folder: Path) -> list[str]:
        beside = Path(sys.executable).parent / "nats-server"
        found = str(beside) if beside.exists() else shutil.which("nats-server")
        if found is None:
            raise DemoError("The demo needs the NATS server, which is not installed: run pip install '.[demo]'")
        self._host, port = _address("EVENTFLOW_DEMO_NATS", "-1")
        here = str(folder.resolve())
        options = ["--addr", self._host, "--port", port, "--jetstream", "--store_dir", here, "--ports_file_dir", here]
        return [found, *options]

    def url(self, folder: Path, process: "subprocess.Popen[bytes]") -> str | None:
        """The server chose a free port itself and wrote it down."""
        deadline = time.monotonic() + NATS_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            for ports in folder.glob("*.ports"):
                with contextlib.suppress(ValueError, KeyError, IndexError):
                    port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])
                    return f"nats://{self._host}:{port}"
            time.sleep(0.02)
        return None


class Kafka:
    """One node of Apache Kafka, from Maven Central's jars: needs Java, and Maven the first time."""

    name = "Kafka"

    def command(self, folder: Path) -> list[str]:
        if importlib.util.find_spec("aiokafka") is None or importlib.util.find_spec("confluent_kafka") is None:
            raise DemoError("The demo on Kafka needs its client libraries: run pip install '.[demo,kafka]'")
        host, port = _address("EVENTFLOW_DEMO_KAFKA", str(_free_port()))
        self._where = (host, int(port))
        try:
            return kafka.prepare(folder.resolve(), kafka.properties(folder.resolve(), int(port), _free_port()))
        except kafka.MissingError as error:
            raise DemoError(str(error)) from error

    def url(self, folder: Path, process: "subprocess.Popen[bytes]") -> str | None:
        deadline = time.monotonic() + KAFKA_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self._where, 1):
                return f"kafka://{self._where[0]}:{self._where[1]}"
            time.sleep(0.05)
        return None


class Redis:
    """A redis-server from PATH that keeps everything in memory."""

    name = "Redis"

    def command(self, folder: Path) -> list[str]:
        found = shutil.which("redis-server")
        if found is None:
            raise DemoError(
                "The demo on Redis Streams needs redis-server, which is not installed: "
                "install the package redis-server (Debian, Ubuntu) or redis (Homebrew, Fedora)"
            )
        host, port = _address("EVENTFLOW_DEMO_REDIS", str(_free_port()))
        self._where = (host, int(port))
        return [
            found,
            "--bind",
            host,
            "--port",
            port,
            "--dir",
            str(folder.resolve()),
            "--save",
            "",
            "--appendonly",
            "no",
        ]

    def url(self, folder: Path, process: "subprocess.Popen[bytes]") -> str | None:
        deadline = time.monotonic() + REDIS_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(self._where, 1):
                return f"redis-streams://{self._where[0]}:{self._where[1]}"
            time.sleep(0.02)
        return None


class RabbitMq:
    """A RabbitMQ node from the distribution's package, never as a service. Eventflow may take letters out of it."""

    name = "RabbitMQ"

    def command(self, folder: Path) -> list[str]:
        if not rabbitmq.SERVER.exists():
            raise DemoError("The demo on RabbitMQ needs its server: install the package rabbitmq-server")
        if importlib.util.find_spec("aio_pika") is None or importlib.util.find_spec("httpx") is None:
            raise DemoError("The demo on RabbitMQ needs its client libraries: run pip install '.[demo,rabbitmq]'")
        self._ports = [_free_port() for _ in range(3)]
        return [sys.executable, "-m", "demo.rabbitmq", str(folder.resolve()), *map(str, self._ports)]

    def url(self, folder: Path, process: "subprocess.Popen[bytes]") -> str | None:
        amqp, management, metrics = self._ports
        deadline = time.monotonic() + RABBITMQ_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", management), 1),
                socket.create_connection(("127.0.0.1", metrics), 1),
                socket.create_connection(("127.0.0.1", amqp), 1),
            ):
                return f"rabbitmq://guest:guest@127.0.0.1:{management}/?amqp={amqp}&prometheus={metrics}&take=*"
            time.sleep(0.1)
        return None


SERVERS: dict[str, type[Server]] = {"nats": Nats, "kafka": Kafka, "redis": Redis, "rabbitmq": RabbitMq}


def _address(setting: str, default: str) -> tuple[str, str]:
    """`setting` is host:port or a port; without it the default."""
    host, _, port = os.environ.get(setting, default).rpartition(":")
    return host or "127.0.0.1", port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
