"""Incidents over the API: what fires now, what was."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Field, Query, Router, Schema

from eventflow.store.queries import alerts as queries
from eventflow.web.api.problems import Problem

router = Router(tags=["alerts"])


class Alert(Schema):
    """An incident: `state` is pending, firing, recovering or resolved.

    `follows_from`: the id of the stop in its chain that holds it back; nobody is told of it while that lasts.
    """

    id: int = Field(alias="pk")
    rule: str
    kind: str
    subject: str
    title: str
    detail: str
    severity: str
    state: str
    pending_since: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    value: float | None
    peak: float | None
    unit: str
    acknowledged_by: str
    silenced_until: datetime | None
    follows_from: int | None


class AlertPage(Schema):
    items: list[Alert]
    next_cursor: str | None


class AlertFilters(Schema):
    """`state` empty means every state."""

    state: str = Field("", pattern="^(|pending|firing|recovering|resolved)$")
    limit: int = Field(100, ge=1, le=500)
    cursor: str = ""


@router.get("/alerts", response=AlertPage, summary="Incidents, newest first")
def list_alerts(request: HttpRequest, filters: Query[AlertFilters]) -> dict[str, Any]:
    if filters.cursor and not filters.cursor.isdigit():
        raise Problem(400, "This cursor was not given by this list; start without one.")
    before = int(filters.cursor) if filters.cursor else None
    found = queries.incidents(timezone.now(), filters.state, filters.limit + 1, before)
    items = found[: filters.limit]
    return {"items": items, "next_cursor": str(items[-1].pk) if len(found) > filters.limit else None}
