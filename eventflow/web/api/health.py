"""Whether Eventflow itself is well: open to load balancers, so it tells nothing about the observed system."""

from datetime import datetime

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Router, Schema

from eventflow.store import spans
from eventflow.web.api.problems import document

router = Router(tags=["health"])


class Health(Schema):
    """`status` is ok while the database answers; `inbox` is how many received requests wait to be read."""

    status: str
    at: datetime
    inbox: int


@router.get("/health", response=Health, auth=None, summary="Whether Eventflow is well")
def health(request: HttpRequest) -> Health | HttpResponse:
    try:
        waiting = spans.inbox_depth()
    except DatabaseError:
        return document(503, "The database does not answer.")
    return Health(status="ok", at=timezone.now(), inbox=waiting)
