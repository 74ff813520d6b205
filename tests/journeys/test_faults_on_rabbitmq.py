"""The shop's six faults in the browser, on a real RabbitMQ."""

import pytest

from tests.journeys.on_a_broker import FaultsOnABroker

pytestmark = [pytest.mark.journey, pytest.mark.rabbitmq]


class TestFaultsOnRabbitMQ(FaultsOnABroker):
    name = "rabbitmq"
