"""Reads the edges of the topology for any window, out of the rollups only: the number of spans never matters.

Windows are half open, [start, end). A window's ends are widened to the slots that are kept for that time: ten seconds
while young, minutes and then hours later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from eventflow.domain.edge import EdgeKey, EdgePoint, EdgeStats


@dataclass(frozen=True, slots=True)
class TotalPoint:
    """The whole system in one step of time: messages published, deliveries, and deliveries that failed."""

    at: datetime
    published: int
    consumed: int
    errors: int


def edges(start: datetime, end: datetime) -> list[EdgeStats]:
    """Every edge with traffic in the window, in the order of their keys."""
    raise NotImplementedError


def edge_series(start: datetime, end: datetime, step_seconds: int) -> Mapping[EdgeKey, list[EdgePoint]]:
    """Counts per step for every edge with traffic in the window; a step without traffic is a point with zero."""
    raise NotImplementedError


def totals(start: datetime, end: datetime, step_seconds: int) -> list[TotalPoint]:
    """Published, consumed and failed per step, every step of the window once."""
    raise NotImplementedError
