"""The application that the tests of this folder watch."""

import pytest

from tests.collectors.kafka.shop import Shop
from tests.services import KafkaServer


@pytest.fixture
def shop(kafka_server: KafkaServer) -> Shop:
    return Shop(kafka_server)
