"""What is asked of the flows and what comes back: the words the store and the pages agree on.

Frozen values only. Nothing here reads a store; `next_cursor` is opaque to everyone but the store that gave it.
"""

from dataclasses import dataclass
from typing import TypeAlias

from eventflow.domain.flow_summary import FlowStatus, FlowSummary


@dataclass(frozen=True, slots=True)
class FlowQuery:
    """Which flows are wanted. All given fields must hold; an empty query means the newest flows.

    text           a correlation, trace or message id, exactly as it was sent
    statuses       any of these; empty means every status
    since, until   nanoseconds since the epoch; a flow counts when it *started* in [since, until)
    attributes     (name, value) of span attributes of configured keys, each on some span of the flow
    min, max_duration_ns  in [min, max), as `FlowSummary.duration_ns` tells it: an unfinished flow lasts until now
    plumbing       also flows without a messaging hop and without a correlation id (a broker client's own housekeeping)
    """

    text: str = ""
    service: str | None = None
    destination: str | None = None
    event_type: str | None = None
    statuses: tuple[FlowStatus, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    plumbing: bool = False
    min_duration_ns: int | None = None
    max_duration_ns: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FlowPage:
    """One page of flows, newest start first.

    looked_at  how many flows the store looked at to fill this page, so that "none found" can say where it looked
    places     of how many places that hold a wanted attribute how many were looked at; equal when it was all
    first_ids  how many flows the text was taken to mean, when it may mean more; 0 when these were all
    """

    rows: tuple[FlowSummary, ...]
    next_cursor: str | None = None
    looked_at: int = 0
    places: tuple[int, int] = (0, 0)
    first_ids: int = 0


FlowMark: TypeAlias = tuple[int, int, bool]
"""A flow as a dot in a picture of thousands: started_ns, duration_ns, and whether it failed or was dead-lettered."""


@dataclass(frozen=True, slots=True)
class FlowFacets:
    """Names a query may be narrowed by, each with the number of flows where it is known, most frequent first.

    lines      the flows that were counted: the newest, and all that match unless `complete` is False
    looked_at  how many flows were looked at to find them
    """

    services: tuple[tuple[str, int], ...] = ()
    destinations: tuple[tuple[str, int], ...] = ()
    event_types: tuple[tuple[str, int], ...] = ()
    statuses: tuple[tuple[FlowStatus, int], ...] = ()
    lines: tuple[FlowMark, ...] = ()
    looked_at: int = 0
    complete: bool = True
