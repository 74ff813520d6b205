"""The short form of the memory benchmark: what a collector remembers does not grow with every look."""

import pytest

from benchmarks.collect_memory import measure
from tests.collectors.scenarios import EVERY_BROKER
from tests.required import missing


@pytest.mark.parametrize("broker", EVERY_BROKER)
def test_looking_again_and_again_costs_no_memory(broker: str) -> None:
    figures = measure(100, [broker])
    if not figures:
        missing(broker, "its server could not be started")
    assert all(figure.ok for figure in figures), figures
