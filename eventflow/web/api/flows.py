"""Flows over the API: the list with its filters, and one flow with everything that happened to its messages."""

from typing import Any

from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Field, Query, Router, Schema

from eventflow.domain.flow_model import Delivery, Flow, Publication
from eventflow.domain.flow_query import FlowQuery
from eventflow.domain.flow_summary import FlowStatus, FlowSummary
from eventflow.store.queries import flow_search
from eventflow.store.queries import flows as queries
from eventflow.web.api.instants import from_ns
from eventflow.web.api.problems import Problem
from eventflow.web.flow_list import MOST_ATTRIBUTES

router = Router(tags=["flows"])


class Service(Schema):
    """A service's part: `state` is ok, failed, recovered or waiting."""

    name: str
    state: str


class FlowRow(Schema):
    """A flow as a row. `kind` is correlation, or trace where no span holds a correlation id."""

    key: str
    kind: str
    status: FlowStatus
    place: str | None
    started_at: str
    ended_at: str
    duration_seconds: float
    services: list[Service]
    destinations: list[str]
    event_types: list[str]
    events: int
    deliveries: int
    failed: int
    spans: int
    traces: int
    letters: int


class FlowPage(Schema):
    """`looked_at` is how many flows were looked at to fill this page; pass `next_cursor` as `cursor` to go on.

    places  how many stored chunks may hold the wanted attributes; `places_looked_at` of them were looked at, the newest
    first_ids  not 0 when the id given may mean more flows than these
    """

    items: list[FlowRow]
    next_cursor: str | None
    looked_at: int
    places: int
    places_looked_at: int
    first_ids: int


class FlowFilters(Schema):
    """All given filters must hold. `plumbing`: also traces without any message and without a correlation id.

    attribute  ``name=value`` of a span attribute that EVENTFLOW_SEARCH_KEYS names; may be given several times
    """

    correlation_id: str = ""
    plumbing: bool = False
    service: str = ""
    destination: str = ""
    event_type: str = ""
    status: list[FlowStatus] = Field(default_factory=list)
    since_ns: int | None = None
    until_ns: int | None = None
    min_duration_seconds: float | None = Field(None, ge=0, le=1e9)
    max_duration_seconds: float | None = Field(None, ge=0, le=1e9)
    attribute: list[str] = Field(default_factory=list)
    limit: int = Field(50, ge=1, le=500)
    cursor: str = ""


def row(summary: FlowSummary, now_ns: int) -> dict[str, Any]:
    """A summary with instants as text and durations in seconds."""
    return {
        "key": summary.key,
        "kind": summary.kind,
        "status": summary.status,
        "place": summary.place,
        "started_at": from_ns(summary.started_ns),
        "ended_at": from_ns(summary.ended_ns),
        "duration_seconds": summary.duration_ns(now_ns) / 1e9,
        "services": [{"name": mark.name, "state": mark.state} for mark in summary.services],
        "destinations": list(summary.destinations),
        "event_types": list(summary.event_types),
        "events": summary.events,
        "deliveries": summary.deliveries,
        "failed": summary.failed,
        "spans": summary.spans,
        "traces": summary.traces,
        "letters": summary.letters,
    }


def delivery(value: Delivery) -> dict[str, Any]:
    """One delivery with its attempts and what its consumer published."""
    lettering = value.dead_lettering
    return {
        "service": value.service,
        "consumer_group": value.group,
        "status": value.status,
        "joined_by": value.joined_by,
        "wait_seconds": None if value.wait_ns is None else value.wait_ns / 1e9,
        "attempts": [
            {
                "number": attempt.number,
                "trace_id": attempt.trace_id,
                "span_id": attempt.span_id,
                "started_at": from_ns(attempt.started_ns),
                "ended_at": from_ns(attempt.ended_ns),
                "failed": attempt.failed,
                "error_type": attempt.error.type if attempt.error else None,
                "error_message": attempt.error.message if attempt.error else None,
            }
            for attempt in value.attempts
        ],
        "dead_letter": lettering
        and {"location": lettering.destination, "id": lettering.letter and lettering.letter.id},
        "replays": [publication(one) for one in value.replays],
        "caused": [publication(one) for one in value.caused],
    }


def publication(value: Publication) -> dict[str, Any]:
    """One message published and everybody who got it."""
    return {
        "service": value.service,
        "system": value.system,
        "destination": value.destination,
        "event_type": value.event_type,
        "message_id": value.message_id,
        "at": from_ns(value.at_ns),
        "waiting": value.waiting,
        "awaiting": list(value.awaiting),
        "replay": value.replay and {"id": value.replay.id, "state": value.replay.state},
        "deliveries": [delivery(one) for one in value.deliveries],
    }


def document(flow: Flow, now_ns: int) -> dict[str, Any]:
    """A flow, whole."""
    origin = flow.key_origin
    return {
        "key": flow.key,
        "kind": flow.kind,
        "status": flow.status,
        "place": flow.status_place,
        "started_at": from_ns(flow.started_ns),
        "ended_at": from_ns(flow.ended_ns),
        "duration_seconds": flow.duration_ns(now_ns) / 1e9,
        "traces": list(flow.trace_ids),
        "services": [{"name": mark.name, "state": mark.state} for mark in flow.services],
        "key_origin": origin and {"rule": origin.rule, "direct": origin.direct, "inherited": origin.inherited},
        "messages": [publication(root) for root in flow.roots],
        "dead_letters": [letter.id for letter in flow.letters],
    }


class FlowDocument(Schema):
    """A flow, whole: `messages` is the tree of publications, their deliveries, and what those caused."""

    key: str
    kind: str
    status: FlowStatus
    place: str | None
    started_at: str
    ended_at: str
    duration_seconds: float
    traces: list[str]
    services: list[Service]
    key_origin: dict[str, Any] | None
    messages: list[dict[str, Any]]
    dead_letters: list[str]


@router.get("/flows", response=FlowPage, summary="Flows, newest first")
def list_flows(request: HttpRequest, filters: Query[FlowFilters]) -> dict[str, Any]:
    now = timezone.now()
    wanted = FlowQuery(
        text=filters.correlation_id,
        plumbing=filters.plumbing,
        service=filters.service or None,
        destination=filters.destination or None,
        event_type=filters.event_type or None,
        statuses=tuple(filters.status),
        since_ns=filters.since_ns,
        until_ns=filters.until_ns,
        min_duration_ns=_nanoseconds(filters.min_duration_seconds),
        max_duration_ns=_nanoseconds(filters.max_duration_seconds),
        attributes=_attributes(filters.attribute),
    )
    try:
        page = flow_search.page(wanted, filters.cursor or None, filters.limit, now)
    except ValueError as error:
        raise Problem(400, "This cursor was not given by this list; start without one.") from error
    now_ns = int(now.timestamp() * 1e9)
    return {
        "items": [row(summary, now_ns) for summary in page.rows],
        "next_cursor": page.next_cursor,
        "looked_at": page.looked_at,
        "places": page.places[1],
        "places_looked_at": page.places[0],
        "first_ids": page.first_ids,
    }


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1e9)


def _attributes(given: list[str]) -> tuple[tuple[str, str], ...]:
    searched = flow_search.searched()
    found = []
    for one in given[:MOST_ATTRIBUTES]:
        name, equals, value = one.partition("=")
        if not equals or not value:
            raise Problem(400, "An attribute is given as name=value.")
        if name not in searched:
            raise Problem(400, "Flows are not found by this attribute; EVENTFLOW_SEARCH_KEYS names those they are.")
        found.append((name, value))
    return tuple(found)


@router.get("/flows/{path:key}", response=FlowDocument, summary="One flow by correlation, trace or message id")
def one_flow(request: HttpRequest, key: str) -> dict[str, Any]:
    now = timezone.now()
    flow = queries.flow(key, now)
    if flow is None:
        raise Http404
    return document(flow, int(now.timestamp() * 1e9))
