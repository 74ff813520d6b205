"""Records what instrumented libraries really send: `python -m tests.domain.recorded.record [LIBRARY …]`.

Real brokers, and real libraries in an environment of their own, made once in the cache folder. The spans go into files
of OTLP/JSON beside this one; which hops they are stands in `expected.json`, judged by people: look at what changes.
"""

import base64
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import orjson
from confluent_kafka.admin import AdminClient, NewTopic
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.receive import as_json
from tests.redis_rabbitmq import RabbitMqServer, RedisServer
from tests.services import KafkaServer

HERE = Path(__file__).resolve().parent
SENDERS = HERE / "senders.py"
BROKERS = {
    "kafka-python": "kafka",
    "confluent-kafka": "kafka",
    "aiokafka": "kafka",
    "aiokafka-batch": "kafka",
    "pika": "rabbitmq",
    "pika-exchange": "rabbitmq",
    "aio-pika": "rabbitmq",
    "aio-pika-exchange": "rabbitmq",
    "celery": "redis",
}
WAYS = {"aiokafka-batch", "pika-exchange", "aio-pika-exchange"}
"""Another way to use a library that is there already."""
PACKAGES = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-common",
    *(f"opentelemetry-instrumentation-{name}" for name in BROKERS if name not in WAYS),
    *(name for name in BROKERS if name not in WAYS),
    "redis",
)


def environment() -> Path:
    """The interpreter that has the libraries."""
    cache = Path(os.environ.get("EVENTFLOW_SERVICES_CACHE", Path.home() / ".cache/eventflow")) / "recorded-libraries"
    python = cache / "bin/python"
    if not python.exists():
        venv.create(cache, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def record(python: Path, library: str, folder: Path) -> None:
    """Run shop and till on a broker of their own and keep their spans."""
    kind = BROKERS[library]
    server: KafkaServer | RabbitMqServer | RedisServer
    if kind == "kafka":
        server = KafkaServer(folder)
        address = server.address
    elif kind == "rabbitmq":
        server = RabbitMqServer(folder)
        address = server.amqp()
    else:
        server = RedisServer(folder)
        address = f"redis://127.0.0.1:{server.port}/0"
    server.start()
    try:
        if kind == "kafka":
            admin = AdminClient({"bootstrap.servers": address})
            admin.create_topics([NewTopic("orders", 1)])["orders"].result(30)
        bodies = []
        for role in ("shop", "till"):
            done = subprocess.run(
                [python, SENDERS, library, role, address], capture_output=True, text=True, check=False, timeout=120
            )
            if done.returncode:
                sys.exit(f"{library} {role}: {done.stderr[-3000:]}")
            bodies.append(base64.b64decode(done.stdout.splitlines()[-1]))
    finally:
        server.kill()
    both = ExportTraceServiceRequest.FromString(b"".join(bodies))
    document = orjson.loads(as_json(both.SerializeToString()))
    (HERE / f"{library}.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def main(names: list[str]) -> None:
    python = environment()
    for library in names or BROKERS:
        with tempfile.TemporaryDirectory(prefix="eventflow-record-") as folder:
            record(python, library, Path(folder))
        print(library, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
