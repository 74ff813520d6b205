"""A real Apache Kafka (KRaft, one node) from Maven Central's jars: fetched once into a cache, configured, started.

Promises that nothing is kept outside the folder it is given and the cache (EVENTFLOW_SERVICES_CACHE, else
~/.cache/eventflow), and that what is missing is said in one sentence with what to install.
"""

import base64
import os
import shutil
import subprocess
import tempfile
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

VERSION = "4.3.1"
POM = Path(__file__).with_name("pom.xml")
FETCH_SECONDS = 600
HEAP = "512m"

TOOL_GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
TOOL_SHARE_GROUPS = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
TOOL_CONFIGS = "kafka.admin.ConfigCommand"


class MissingError(Exception):
    """Why there is no Kafka here, in one sentence that says what to install."""


def cache() -> Path:
    """Where servers that were fetched are kept between runs."""
    return Path(os.environ.get("EVENTFLOW_SERVICES_CACHE") or Path.home() / ".cache" / "eventflow")


def jars() -> Path:
    """The folder with Kafka's jars; fetched by Maven the first time. Raises MissingError."""
    if shutil.which("java") is None:
        raise MissingError("Kafka needs Java 17 or later, which is not installed (Debian: default-jre-headless).")
    folder = cache() / f"kafka-{VERSION}-{zlib.crc32(POM.read_bytes()):08x}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingError("Kafka's jars are fetched by Maven, which is not installed (Debian: maven).")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as part:
        command = [maven, "-q", "-B", "-f", str(POM), f"-Dkafka.version={VERSION}", "dependency:copy-dependencies"]
        try:
            done = subprocess.run(
                [*command, f"-DoutputDirectory={part}/lib", "-DincludeScope=runtime"],
                capture_output=True, text=True, timeout=FETCH_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise MissingError("Maven could not fetch Kafka's jars in ten minutes; is Maven Central there?") from None
        if done.returncode:
            why = (done.stdout + done.stderr).strip().splitlines() or ["no reason given"]
            raise MissingError(f"Maven could not fetch Kafka's jars: {why[0][:300]}")
        if not folder.is_dir():  # another process may have been quicker
            Path(part, "lib").rename(folder)
    return folder


def java(main: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
    """The command of one of Kafka's programs."""
    return ["java", *options, "-cp", f"{jars()}/*", main, *arguments]


def properties(folder: Path, port: int, controller: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """One node that is broker and controller, on loopback. `extra` wins."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "log.dirs": str(folder / "data"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        "num.network.threads": "2",
        "num.io.threads": "4",
        **(extra or {}),
    }


def new_identity() -> str:
    """A cluster id. Kafka's tool takes a leading dash for an option, so there is none."""
    return "E" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def prepare(
    folder: Path, settings: Mapping[str, str], scram: Sequence[str] = (), heap: str = HEAP, cluster: str = ""
) -> list[str]:
    """Write the configuration and format the log folder; the command that then starts the server.

    `scram`: users as `SCRAM-SHA-256=[name=…,password=…]`. `cluster`: the id of the several nodes it is one of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "server.properties"
    config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    if not (folder / "data" / "meta.properties").exists():
        users = [word for user in scram for word in ("--add-scram", user)]
        alone = [] if cluster else ["--standalone"]
        command = ["format", *alone, "-t", cluster or new_identity(), "-c", str(config), *users]
        done = subprocess.run(
            java("kafka.tools.StorageTool", *command, options=["-XX:TieredStopAtLevel=1"]),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise MissingError(f"Kafka could not format its folder: {done.stdout[-500:]}{done.stderr[-500:]}")
    options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return java("kafka.Kafka", str(config), options=[*options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"])
