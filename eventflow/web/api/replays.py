"""Replays over the API: ask for one, and follow what was observed of each of its messages. Needs the role operator."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import Http404, HttpRequest
from django.utils import timezone
from ninja import Field, Router, Schema

from eventflow.accounts import audit, roles
from eventflow.live import news
from eventflow.nudge import nudge
from eventflow.store.queries import replays as queries
from eventflow.store.record import replay as ledger
from eventflow.web.api.auth import need
from eventflow.web.api.problems import Problem

router = Router(tags=["replays"])
ITEMS = 1000


class Request(Schema):
    """Which dead letters to send once more, and why."""

    dead_letters: list[int] = Field(min_length=1, max_length=10_000)
    reason: str = Field("", max_length=500)
    rate_per_second: float = Field(10, gt=0, le=1000)


class Item(Schema):
    """One message.

    `state` goes queued, sending, sent, consumed, confirmed or failed_again; it may end unknown, refused or cancelled.
    """

    dead_letter: int = Field(alias="letter_id")
    state: str
    destination: str
    consumer_group: str
    sent_at: datetime | None
    consumed_at: datetime | None
    finished_at: datetime | None
    note: str


class Refusal(Schema):
    """A letter that is not replayed, and why."""

    dead_letter: int
    reason: str


class Document(Schema):
    """A replay with its messages."""

    id: UUID
    state: str
    created_at: datetime
    created_by: str
    reason: str
    counts: dict[str, int]
    items: list[Item]
    refused: list[Refusal] = Field(default_factory=list)


def document(pk: UUID) -> dict[str, Any]:
    """A replay as it stands. Raises Http404."""
    found = queries.summary(pk)
    if found is None:
        raise Http404
    return {
        "id": found.replay.pk,
        "state": found.replay.state,
        "created_at": found.replay.created_at,
        "created_by": found.replay.created_by_name,
        "reason": found.replay.reason,
        "counts": found.counts,
        "items": queries.items(pk, limit=ITEMS),
    }


@router.post("/replays", response={201: Document}, summary="Replay dead letters")
def create(request: HttpRequest, wanted: Request) -> tuple[int, dict[str, Any]]:
    who = need(request, roles.OPERATOR)
    now = timezone.now()
    name = who.get_username()
    with transaction.atomic():
        replay, plan = ledger.create(
            sorted(set(wanted.dead_letters)),
            user=who if hasattr(who, "pk") else None,
            name=name,
            reason=wanted.reason,
            rate_per_second=wanted.rate_per_second,
            now=now,
        )
        refused = [{"dead_letter": one.pk, "reason": one.reason} for one in plan.refusals]
        if replay is None:
            raise Problem(409, "None of these dead letters can be replayed; `refused` says why.", refused=refused)
        audit.record(
            name,
            "replay.create",
            target=str(replay.pk),
            reason=wanted.reason,
            details={"letters": len(plan.accepted)},
            now=now,
        )
    news.publish({"replays", "dead-letters"})
    nudge("eventflow.replay.send")
    return 201, document(replay.pk) | {"refused": refused}


@router.get("/replays/{uuid:pk}", response=Document, summary="One replay with its messages")
def one_replay(request: HttpRequest, pk: UUID) -> dict[str, Any]:
    return document(pk)
