"""Tells the span engine that flows changed by something other than spans: a letter arrived, a replay went on."""

from collections.abc import Iterable
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec


def refresh(keys: Iterable[str], now: datetime) -> None:
    """Have the summaries of these flows made anew."""
    wanted = sorted({key for key in keys if key})
    if wanted and find_spec("eventflow.store.spans"):
        import_module("eventflow.store.spans").refresh_flows(wanted, now)
