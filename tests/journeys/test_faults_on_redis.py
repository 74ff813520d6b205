"""The shop's six faults in the browser, on real Redis Streams."""

import pytest

from tests.journeys.on_a_broker import FaultsOnABroker

pytestmark = [pytest.mark.journey, pytest.mark.redis]


class TestFaultsOnRedis(FaultsOnABroker):
    name = "redis"
