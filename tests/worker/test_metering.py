"""The budget: what a costly look leads to."""

from collections.abc import Sequence
from typing import Any

import pytest

from eventflow.domain.observations import Observation, SourceStatus
from eventflow.domain.source_budget import LONGEST_PAUSE, Budget, pause_after
from eventflow.worker.metering import metered
from tests import factories as make

BUDGET = Budget(calls=100, received_bytes=1_000_000, busy=0.5)


def look(**given: Any) -> SourceStatus:
    values = {"calls": 10, "received_bytes": 1000, "cycle_seconds": 0.1}
    return SourceStatus("shop", "nats", "ok", make.NOW, **{**values, **given})


@pytest.mark.parametrize(
    ("given", "pause"),
    [
        ({}, 0.0),
        ({"calls": 200}, 0.0),
        ({"calls": 1000}, 9.9),
        ({"received_bytes": 5_000_000}, 4.9),
        ({"cycle_seconds": 4.0}, 4.0),
        ({"calls": 10_000_000}, LONGEST_PAUSE - 0.1),
        ({"calls": 10_000_000, "cycle_seconds": 0.0}, 0.0),
    ],
)
def test_a_look_is_followed_by_the_pause_that_its_cost_needs(given: dict[str, Any], pause: float) -> None:
    assert pause_after(look(**given), BUDGET, 2.0) == pytest.approx(pause)


async def test_a_source_over_its_budget_is_slowed_down_and_says_why() -> None:
    events: list[object] = []

    async def emit(batch: Sequence[Observation]) -> None:
        events.append(batch)

    async def sleep(seconds: float) -> None:
        events.append(round(seconds, 1))

    slow = metered(emit, BUDGET, 2.0, sleep)
    await slow([look()])
    await slow([make.lag_sample()])
    await slow([look(calls=1204, message="All is well.")])
    (first,), (_,), (status,), pause = events
    assert (first, pause) == (look(), 11.9)
    assert status.pause_seconds == pytest.approx(11.94)
    assert status.message == (
        "All is well. Over its budget: a look costs 1,204 calls, so it is made every 12 s instead of every 2.0 s."
    )


async def test_a_blind_source_is_not_made_to_wait_longer() -> None:
    async def emit(batch: Sequence[Observation]) -> None:
        assert batch == [status]

    async def sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    status = SourceStatus("shop", "nats", "blind", make.NOW, calls=9999, cycle_seconds=1.0)
    await metered(emit, BUDGET, 2.0, sleep)([status])
