"""Fixtures for everybody: real servers. Each test gets its own, so that no test sees another one's streams."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import required
from tests.services import RABBITMQ, NatsServer, RabbitMqServer, RedisServer


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
def rabbitmq_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMqServer]:
    """One RabbitMQ for the whole run, because it takes long to start; each test has a vhost of its own."""
    if not RABBITMQ.exists():
        required.missing("rabbitmq", "the package rabbitmq-server is not installed")
    server = RabbitMqServer(tmp_path_factory.mktemp("rabbitmq"))
    yield server.start()
    server.kill()
