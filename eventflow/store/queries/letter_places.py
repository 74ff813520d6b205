"""Reads where dead letters should arrive and stay, with what limits each place. One query, or two where limits are."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Min, Q

from eventflow.domain.letter_place import LetterPlace
from eventflow.store.models import DeadLetter, Destination

GONE = timedelta(hours=1)


def places(now: datetime) -> list[LetterPlace]:
    """Dead-letter destinations that keep not everything, and whatever can't get its dead letters anywhere."""
    limited = Q(kept_seconds__isnull=False) | Q(kept_messages__isnull=False)
    rows = Destination.objects.filter(~Q(letters_lost="") | limited, seen_at__gte=now - GONE)
    return among(rows.order_by("source", "name"))


def among(rows: Iterable[Destination]) -> list[LetterPlace]:
    """The same out of these rows.

    Whose letters we have, those count that nobody has dealt with; else what the broker tells, else since when it is
    not empty.
    """
    found = [row for row in rows if row.letters_lost or _limited(row)]
    letters = _letters({row.name for row in found if _limited(row)})
    return [_place(row, letters) for row in found]


def _limited(row: Destination) -> bool:
    return bool(row.dead_letters_of) and bool(row.kept_seconds or row.kept_messages)


def _letters(names: set[str]) -> dict[tuple[str, str], datetime | None]:
    """Places whose letters we have: since when the oldest open one lies there; None where none is open."""
    if not names:
        return {}
    waiting = Min("failed_at", filter=Q(status__in=("open", "replaying")))
    rows = DeadLetter.objects.filter(location__in=names).order_by().values_list("source", "location")
    return {(source, location): oldest for source, location, oldest in rows.annotate(oldest=waiting)}


def _place(row: Destination, letters: dict[tuple[str, str], datetime | None]) -> LetterPlace:
    known = (row.source, row.name) in letters
    oldest = letters[row.source, row.name] if known else row.oldest_at or row.filled_at
    handled = known and oldest is None
    return LetterPlace(
        row.source,
        row.system,
        row.name,
        tuple(row.dead_letters_of),
        row.letters_lost,
        0 if handled else row.messages,
        row.kept_seconds,
        row.kept_messages,
        oldest,
    )


def troubled(now: datetime) -> list[tuple[LetterPlace, str]]:
    """Those with trouble, and what it is in words."""
    found = ((place, place.trouble(now)) for place in places(now))
    return [(place, why) for place, why in found if why]
