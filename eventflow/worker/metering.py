"""Keeps collectors within their budget: after a look that cost too much, its `emit` waits; that is all they notice.

Waiting on `emit` is the contract's back-pressure, so no collector needs to know that there is a budget.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from collectors.base import Emit
from eventflow.domain.observations import Observation, SourceStatus
from eventflow.domain.source_budget import Budget, pause_after, remark


def metered(emit: Emit, budget: Budget, interval: float, sleep: Callable[[float], Awaitable[None]]) -> Emit:
    """The same `emit`, slower after costly looks, which say so in their status."""

    async def measured(batch: Sequence[Observation]) -> None:
        pause, told = 0.0, list(batch)
        for index, item in enumerate(told):
            if isinstance(item, SourceStatus) and item.state == "ok":
                pause = pause_after(item, budget, interval)
                if pause:
                    said = remark(item, budget, interval, pause)
                    told[index] = replace(item, pause_seconds=pause, message=f"{item.message} {said}".strip())
        await emit(told)
        if pause:
            await sleep(pause)

    return measured
