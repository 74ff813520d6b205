"""Redis and RabbitMQ for tests: the distribution's servers on free loopback ports, each in a folder of its own.

What a test starts it stops; nothing is left behind. RabbitMQ never runs as a system service here.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

from tests.services import free_port


class RedisServer:
    """A private redis-server; `folder` keeps its data over restarts."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis-streams://127.0.0.1:{self.port}"

    def start(self) -> "RedisServer":
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("redis-server is missing: install the package redis-server")
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*command, "--appendonly", "yes", *self._options], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as ready:
                ready.sendall(b"PING\r\n")
                if ready.recv(7) in {b"+PONG\r\n", b"-NOAUTH"}:
                    return self
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"redis-server did not start:\n{(self.folder / 'redis.log').read_text()[-2000:]}")

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class RabbitMqServer:
    """A private RabbitMQ node with management and metrics. Statistics move each half second instead of each five."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.management, self.metrics, self._epmd_port, distribution = (free_port() for _ in range(5))
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"listeners.tcp.default = 127.0.0.1:{self.port}", "collect_statistics_interval = 500"]
        for plugin, port in (("management", self.management), ("prometheus", self.metrics)):
            lines += [f"{plugin}.tcp.ip = 127.0.0.1", f"{plugin}.tcp.port = {port}"]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (folder / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "HOME": str(folder),  # the cookie lies there
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"eventflow{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def url(self, vhost: str = "/", user: str = "guest", password: str = "") -> str:
        return f"rabbitmq://{user}:{password or user}@127.0.0.1:{self.management}/{quote(vhost, safe='')}"

    def amqp(self, vhost: str = "/") -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def start(self) -> "RabbitMqServer":
        # Its own epmd: the one that Erlang starts by itself would outlive the node.
        epmd = [shutil.which("epmd") or "epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        with (self.folder / "rabbitmq.log").open("ab") as log:
            for command in (epmd, [str(RABBITMQ)]):
                self._processes.append(
                    subprocess.Popen(
                        # On the leash: a test run that is killed leaves no node behind.
                        [sys.executable, "-m", "demo.leash", *command],
                        env=self._environment,
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        cwd=self.folder,
                    )
                )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self._processes[-1].poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.management), 1),
                socket.create_connection(("127.0.0.1", self.port), 1),
                socket.create_connection(("127.0.0.1", self.metrics), 1),
            ):
                return self
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"RabbitMQ did not start:\n{(self.folder / 'rabbitmq.log').read_text()[-2000:]}")

    def kill(self) -> None:
        """The node with its helpers, then epmd."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin:
                process.stdin.close()
        self._processes.clear()

    def control(self, *words: str) -> str:
        """What rabbitmqctl says."""
        command = [str(RABBITMQ.with_name("rabbitmqctl")), "--quiet", *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout
