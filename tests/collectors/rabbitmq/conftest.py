"""A vhost for each test on the run's one RabbitMQ."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.collectors.rabbitmq.shop import Vhost
from tests.redis_rabbitmq import RabbitMqServer


@pytest.fixture
def vhost(rabbitmq_process: RabbitMqServer) -> Iterator[Vhost]:
    with Vhost(rabbitmq_process, f"test-{uuid4().hex[:10]}") as made:
        yield made
