"""Dead letters over the API. Secrets in headers and payloads are masked here as on the pages."""

import base64
from datetime import datetime
from typing import Any

import orjson
from django.http import Http404, HttpRequest
from ninja import Field, Query, Router, Schema

from eventflow.domain import redaction
from eventflow.store.queries import dead_letters as queries

router = Router(tags=["dead letters"])


class LetterRow(Schema):
    """A dead letter without its contents."""

    id: int = Field(alias="pk")
    source: str
    system: str
    location: str
    position: str
    status: str
    destination: str
    consumer_group: str
    service: str
    message_id: str
    correlation_id: str
    trace_id: str
    event_type: str
    error_type: str
    error_message: str
    attempts: int | None
    failed_at: datetime
    replay_count: int


class LetterPage(Schema):
    items: list[LetterRow]
    total: int
    next_cursor: str | None


class Letter(LetterRow):
    """A dead letter, whole.

    `payload` is text, or bytes where `payload_encoding` says base64; `evidence` tells what gave each field.
    """

    group: str
    headers: list[tuple[str, str]]
    payload: str | None
    payload_encoding: str
    payload_size: int | None
    payload_note: str
    stack: str
    evidence: dict[str, str]

    @staticmethod
    def resolve_group(letter: Any) -> str:
        return str(letter.group.title)

    @staticmethod
    def resolve_headers(letter: Any) -> list[tuple[str, str]]:
        return redaction.headers([(name, value) for name, value in letter.headers])

    @staticmethod
    def resolve_payload(letter: Any) -> str | None:
        return None if letter.payload is None else _payload(bytes(letter.payload))[0]

    @staticmethod
    def resolve_payload_encoding(letter: Any) -> str:
        return "" if letter.payload is None else _payload(bytes(letter.payload))[1]

    @staticmethod
    def resolve_error_message(letter: Any) -> str:
        return redaction.text(letter.error_message)


def _payload(payload: bytes) -> tuple[str, str]:
    """A payload as it may be shown, and how it is written."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return base64.b64encode(payload).decode(), "base64"
    try:
        return orjson.dumps(redaction.json_value(orjson.loads(payload))).decode(), "json"
    except orjson.JSONDecodeError:
        return redaction.text(text), "text"


class LetterFilters(Schema):
    """`status` is waiting, archived, recovered or all; `text` looks into ids, errors and headers."""

    status: str = Field("waiting", pattern="^(waiting|archived|recovered|all)$")
    text: str = ""
    destination: str = ""
    consumer_group: str = ""
    correlation_id: str = ""
    source: str = ""
    limit: int = Field(50, ge=1, le=500)
    cursor: str = ""


@router.get("/dead-letters", response=LetterPage, summary="Dead letters, in the order of failing")
def list_letters(request: HttpRequest, filters: Query[LetterFilters]) -> dict[str, Any]:
    wanted = queries.Filter(
        view=filters.status,
        text=filters.text,
        destination=filters.destination,
        consumer_group=filters.consumer_group,
        correlation_id=filters.correlation_id,
        source=filters.source,
    )
    found = queries.page(wanted, filters.cursor, filters.limit)
    return {"items": found.letters, "total": found.total, "next_cursor": found.next_cursor or None}


@router.get("/dead-letters/{int:pk}", response=Letter, summary="One dead letter with its contents")
def one_letter(request: HttpRequest, pk: int) -> Any:
    letter = queries.letter(pk)
    if letter is None:
        raise Http404
    return letter
