"""The shop's six faults in the browser, on a real Kafka."""

import pytest

from tests.journeys.on_a_broker import FaultsOnABroker

pytestmark = [pytest.mark.journey, pytest.mark.kafka]


class TestFaultsOnKafka(FaultsOnABroker):
    name = "kafka"
    waits_for_the_stop = True
