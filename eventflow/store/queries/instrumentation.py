"""Reads of instrumentation health: the libraries that send messaging spans, and what the receivers noticed."""

from collections.abc import Mapping
from dataclasses import dataclass

from eventflow.domain.instrumentation import FIELDS, Library
from eventflow.store.models import LibraryCount, Source

MOST = 500
RECEIVERS = ("otlp", "zipkin")


@dataclass(frozen=True, slots=True)
class Libraries:
    """The rows that are shown, and how many there are."""

    rows: list[Library]
    total: int


def libraries() -> Libraries:
    """By service and library, at most MOST. Two queries."""
    rows = LibraryCount.objects.order_by("service", "scope", "dialect")[:MOST]
    found = [
        Library(
            service=row.service,
            scope=row.scope,
            dialect=row.dialect,
            spans=row.spans,
            consuming=row.consuming,
            missing={name: getattr(row, f"no_{name}") for name in FIELDS},
        )
        for row in rows
    ]
    return Libraries(found, LibraryCount.objects.count() if len(found) == MOST else len(found))


def receiver_counters() -> dict[str, Mapping[str, int]]:
    """Receiver → what it counted since its start: words → how often. One query."""
    return dict(
        Source.objects.filter(system__in=RECEIVERS, ok_at__isnull=False)
        .order_by("name")
        .values_list("name", "counters")
    )
