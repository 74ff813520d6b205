"""Tells the span engine that flows changed by something other than spans: a letter arrived, a replay went on."""

from collections.abc import Iterable
from datetime import datetime

from eventflow.store import spans


def refresh(keys: Iterable[str], now: datetime) -> None:
    """Have the lines of these flows made anew."""
    spans.refresh_flows({key for key in keys if key}, now)
