"""Consumer lag over the API: every group, and one group with its history. Messages and seconds, with their method."""

from datetime import datetime, timedelta
from typing import Any

from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Field, P, Query, QueryEx, Router, Schema

from eventflow.store.queries import lag as queries
from eventflow.web.api.paging import page

router = Router(tags=["lag"])
MOST_POINTS = 720
"""In a series; of more, the worst of each piece."""


class LagRow(Schema):
    """A consumer group on one destination. null is not known, which is not zero."""

    group: str
    source: str
    system: str
    destination: str
    service: str
    status: str
    reason: str
    ready: int | None
    in_flight: int | None
    age_seconds: float | None
    in_rate: float | None
    out_rate: float | None
    trend: int
    drain_seconds: float | None
    method: str
    error_seconds: float | None
    seen_at: datetime


class LagPage(Schema):
    items: list[LagRow]
    next_cursor: str | None


class LagPoint(Schema):
    at: datetime
    ready: int | None
    in_flight: int | None
    age_seconds: float | None
    in_rate: float | None
    out_rate: float | None


class LagGroup(Schema):
    """A group by name: one entry per destination (and source) that it reads."""

    group: str
    destinations: list[LagRow]
    series: dict[str, list[LagPoint]]
    """``source/destination`` → samples, oldest first."""


class LagFilters(Schema):
    status: str = ""
    source: str = ""
    limit: int = Field(200, ge=1, le=1000)
    cursor: str = ""


@router.get("/lag", response=LagPage, summary="Consumer groups and how far they are behind")
def list_lag(request: HttpRequest, filters: Query[LagFilters]) -> dict[str, Any]:
    rows = [
        row
        for row in queries.groups(timezone.now())
        if filters.status in ("", row.status) and filters.source in ("", row.source)
    ]
    items, cursor = page(rows, filters.cursor, filters.limit)
    return {"items": items, "next_cursor": cursor}


@router.get("/lag/{path:group}", response=LagGroup, summary="One consumer group with its history")
def one_group(request: HttpRequest, group: str, minutes: QueryEx[int, P(ge=1, le=40_320)] = 60) -> dict[str, Any]:
    now = timezone.now()
    rows = [row for row in queries.groups(now) if row.group == group]
    if not rows:
        raise Http404
    series = {}
    for row in rows:
        detail = queries.group(row.pk, now - timedelta(minutes=minutes), now, now)
        series[f"{row.source}/{row.destination}"] = detail.series.points(MOST_POINTS) if detail else []
    return {"group": group, "destinations": rows, "series": series}
