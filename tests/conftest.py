"""Fixtures for everybody: real servers. Each test gets its own, so that no test sees another one's streams.

Kafka and RabbitMQ take seconds to start, so there is one of each for the whole run: tests name topics and groups of
their own, and get a vhost of their own.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from demo import kafka
from tests import required
from tests.redis_rabbitmq import RABBITMQ, RabbitMqServer, RedisServer
from tests.services import KafkaServer, NatsServer, SqsServer


@pytest.fixture
def nats_process(tmp_path: Path) -> Iterator[Callable[..., NatsServer]]:
    """Starts NATS servers with a configuration of the test's own; stops them all afterwards."""
    started: list[NatsServer] = []

    def start(extra: str = "", *, jetstream: bool = True) -> NatsServer:
        server = NatsServer(tmp_path / f"nats-{len(started)}", extra, jetstream=jetstream)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def nats_server(nats_process: Callable[..., NatsServer]) -> str:
    """The URL of a fresh NATS server with JetStream."""
    return nats_process().url


def start_kafka(server: KafkaServer) -> KafkaServer:
    """Started, or the test skips (or fails, where CI promised Kafka)."""
    try:
        return server.start()
    except kafka.MissingError as error:
        required.missing("kafka", str(error))


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A real Kafka, the same for all tests (the one on port EVENTFLOW_TEST_KAFKA, if set).

    Name topics and groups uniquely: `tests.collectors.kafka.shop.unique`.
    """
    running = os.environ.get("EVENTFLOW_TEST_KAFKA", "")
    server = KafkaServer(tmp_path_factory.mktemp("kafka"), port=int(running) if running else None)
    yield server if running else start_kafka(server)
    server.kill()


@pytest.fixture
def kafka_process(tmp_path: Path) -> Iterator[Callable[..., KafkaServer]]:
    """Starts Kafka servers of the test's own, to kill or to configure; stops them all afterwards."""
    started: list[KafkaServer] = []

    def start(settings: Mapping[str, str] | None = None, *, scram: Sequence[str] = ()) -> KafkaServer:
        server = KafkaServer(tmp_path / f"kafka-{len(started)}", settings or {}, scram=scram)
        started.append(server)
        return start_kafka(server)

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def redis_process(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts Redis servers with options of the test's own; stops them all afterwards."""
    if shutil.which("redis-server") is None:
        required.missing("redis", "redis-server is not installed")
    started: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        server = RedisServer(tmp_path / f"redis-{len(started)}", *options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def redis_server(redis_process: Callable[..., RedisServer]) -> RedisServer:
    """A fresh Redis server."""
    return redis_process()


@pytest.fixture(scope="session")
def sqs_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqsServer]:
    """One server that speaks SQS for the whole run."""
    pytest.importorskip("moto.server")
    server = SqsServer(tmp_path_factory.mktemp("sqs"))
    yield server.start()
    server.kill()


@pytest.fixture
def sqs_server(sqs_process: SqsServer) -> SqsServer:
    """A server that speaks SQS and holds nothing."""
    sqs_process.forget()
    return sqs_process


@pytest.fixture(scope="session")
def rabbitmq_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMqServer]:
    """One RabbitMQ for the whole run, because it takes long to start; each test has a vhost of its own."""
    if not RABBITMQ.exists():
        required.missing("rabbitmq", "the package rabbitmq-server is not installed")
    server = RabbitMqServer(tmp_path_factory.mktemp("rabbitmq"))
    yield server.start()
    server.kill()
