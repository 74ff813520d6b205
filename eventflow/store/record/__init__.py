"""Writes. Recording the same observation twice is harmless."""

from collections.abc import Sequence
from datetime import datetime

from eventflow.domain.observations import (
    DeadLetter,
    DestinationSample,
    GroupMembers,
    LagSample,
    Observation,
    SourceStatus,
)
from eventflow.store.record import dead_letter, destination, lag, members, source


def observations(batch: Sequence[Observation], now: datetime) -> set[str]:
    """Record a batch, each kind by its recorder; returns the news topics of what changed.

    Spans are not recorded here: the worker appends them to the span store.
    """
    news: set[str] = set()
    if samples := [item for item in batch if isinstance(item, LagSample)]:
        news |= lag.record(samples, now)
    if groups := [item for item in batch if isinstance(item, GroupMembers)]:
        news |= members.record(groups, now)
    if destinations := [item for item in batch if isinstance(item, DestinationSample)]:
        news |= destination.record(destinations, now)
    if statuses := [item for item in batch if isinstance(item, SourceStatus)]:
        news |= source.record(statuses, now)
    if letters := [item for item in batch if isinstance(item, DeadLetter)]:
        news |= dead_letter.record(letters, now)
    return news
