"""Reads who feeds whom, for alerts that follow from one another: spans and broker joined, without any numbers."""

from datetime import datetime, timedelta

from eventflow.domain.alert_chain import Chains
from eventflow.domain.topology import build
from eventflow.store.queries import broker
from eventflow.store.queries import topology as rollups

REMEMBERED = timedelta(days=1)
"""A chain that stands still for hours is a chain still."""


def chains(now: datetime) -> Chains:
    """Of now; what was seen within a day and what brokers are configured with."""
    joined = build(
        (),
        broker.groups(now),
        broker.destinations(now),
        (),
        window_seconds=60.0,
        now=now,
        known=rollups.known(now - REMEMBERED),
    )
    return Chains(joined)
