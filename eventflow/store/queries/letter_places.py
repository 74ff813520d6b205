"""Reads where dead letters should arrive and stay, with what limits each place. One query, three where limits are."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Min, Q

from eventflow.domain.letter_place import LetterPlace
from eventflow.store.models import DeadLetter, DeadLetterGroup, Destination

GONE = timedelta(hours=1)


def places(now: datetime) -> list[LetterPlace]:
    """Dead-letter destinations that keep not everything, and whatever can't get its dead letters anywhere."""
    limited = Q(kept_seconds__isnull=False) | Q(kept_messages__isnull=False)
    rows = Destination.objects.filter(~Q(letters_lost="") | limited, seen_at__gte=now - GONE)
    return among(rows.order_by("source", "name"), now)


def among(rows: Iterable[Destination], now: datetime) -> list[LetterPlace]:
    """The same out of these rows.

    Whose letters we have, those count that nobody has dealt with; else what the broker tells, else since when it is
    not empty.
    """
    found = [row for row in rows if row.letters_lost or _limited(row)]
    timed = {row.name: row.kept_seconds for row in found if row.kept_seconds and _limited(row)}
    read = (
        set(DeadLetterGroup.objects.filter(location__in=timed).values_list("location", flat=True)) if timed else set()
    )
    letters = _letters(read, now - timedelta(seconds=min(timed.values()) / 2)) if read else {}
    return [_place(row, row.name in read, letters) for row in found]


def _limited(row: Destination) -> bool:
    return bool(row.dead_letters_of) and bool(row.kept_seconds or row.kept_messages)


def _letters(names: set[str], before: datetime) -> dict[tuple[str, str], datetime]:
    """Since when the oldest open letter lies there; only old ones are looked at: of young ones there may be many."""
    letters = DeadLetter.objects.filter(status__in=("open", "replaying"), failed_at__lt=before, location__in=names)
    rows = letters.order_by().values_list("source", "location").annotate(oldest=Min("failed_at"))
    return {(source, location): oldest for source, location, oldest in rows}


def _place(row: Destination, read: bool, letters: dict[tuple[str, str], datetime]) -> LetterPlace:
    return LetterPlace(
        row.source,
        row.system,
        row.name,
        tuple(row.dead_letters_of),
        row.letters_lost,
        row.messages,
        row.kept_seconds,
        row.kept_messages,
        letters.get((row.source, row.name)) if read else row.oldest_at or row.filled_at,
    )


def troubled(now: datetime) -> list[tuple[LetterPlace, str]]:
    """Those with trouble, and what it is in words."""
    found = ((place, place.trouble(now)) for place in places(now))
    return [(place, why) for place, why in found if why]
