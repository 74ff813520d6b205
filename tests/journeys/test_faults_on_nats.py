"""The shop's six faults in the browser, on a real NATS."""

import pytest

from tests.journeys.on_a_broker import FaultsOnABroker

pytestmark = [pytest.mark.journey, pytest.mark.nats]


class TestFaultsOnNATS(FaultsOnABroker):
    name = "nats"
