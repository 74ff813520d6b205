"""A vhost for each test on the run's one RabbitMQ."""

from collections.abc import Iterator

import pytest

from tests.collectors.rabbitmq.shop import Vhost
from tests.redis_rabbitmq import RabbitMqServer


@pytest.fixture
def vhost(rabbitmq_process: RabbitMqServer) -> Iterator[Vhost]:
    with Vhost.fresh(rabbitmq_process) as made:
        yield made
