"""Records what a broker tells of its destinations: one row each, in two queries however many there are."""

from collections.abc import Sequence
from datetime import datetime

from eventflow.domain.observations import DestinationSample
from eventflow.store.models import Destination

KEY = ("source", "name")
VALUES = (
    "system",
    "kind",
    "container",
    "messages",
    "size_bytes",
    "published_total",
    "partitions",
    "dead_letters_of",
    "dead_letter_certainty",
    "letters_lost",
    "kept_seconds",
    "kept_messages",
    "oldest_at",
    "filled_at",
    "seen_at",
)


def record(samples: Sequence[DestinationSample], now: datetime) -> set[str]:
    """Newest wins. News only when a destination is new or changed its kind or its part as a dead-letter place."""
    newest: dict[tuple[str, str], DestinationSample] = {}
    for sample in sorted(samples, key=lambda sample: sample.at):
        newest[sample.source, sample.destination] = sample
    known = {(row.source, row.name): row for row in Destination.objects.filter(source__in={key[0] for key in newest})}
    rows, news = [], set()
    for key, sample in newest.items():
        before = known.get(key)
        if before and before.seen_at > sample.at:
            continue
        row = _row(sample)
        row.filled_at = _filled(before, sample)
        if before is None or _shape(before) != _shape(row):
            news.add("topology")
        if (before.letters_lost if before else "") != row.letters_lost:
            news |= {"topology", "dead-letters"}
        rows.append(row)
    if rows:
        Destination.objects.bulk_create(rows, update_conflicts=True, unique_fields=KEY, update_fields=VALUES)
    return news


def _row(sample: DestinationSample) -> Destination:
    return Destination(
        source=sample.source,
        name=sample.destination,
        system=sample.system,
        kind=sample.kind,
        container=sample.container or "",
        messages=sample.messages,
        size_bytes=sample.size_bytes,
        published_total=sample.published_total,
        partitions=sample.partitions,
        dead_letters_of=list(sample.dead_letters_of),
        dead_letter_certainty=sample.dead_letter_certainty or "",
        letters_lost=(sample.letters_lost or "")[:300],
        kept_seconds=sample.kept_seconds,
        kept_messages=sample.kept_messages,
        oldest_at=sample.oldest_at,
        seen_at=sample.at,
    )


def _filled(before: Destination | None, sample: DestinationSample) -> datetime | None:
    """Since when something lies there; what is not known changes nothing."""
    known = before.filled_at if before else None
    if sample.messages is None:
        return known
    return (known or sample.at) if sample.messages else None


def _shape(row: Destination) -> tuple[str, str, list[str]]:
    return row.kind, row.container, list(row.dead_letters_of)
