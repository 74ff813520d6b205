"""Records for which times a source was out of sight, so that rules for blind sources can be tried on them.

A spell is touched while somebody looks at it: when this worker stands still, what was meanwhile is not known.
"""

from datetime import datetime, timedelta

from django.db.models import F

from eventflow.domain.observations import SourceStatus
from eventflow.store.models import BlindSpell, Source

IN_SIGHT = frozenset({"ok", "paused"})
"""Paused by a person is no blindness."""
GAP = timedelta(seconds=180)
"""Untouched for longer than this a spell is over, how nobody knows."""
TOUCH = timedelta(seconds=30)


def note(status: SourceStatus, before: str | None) -> None:
    """Take in what a collector says of its source; `before`: its state until now."""
    if status.state in IN_SIGHT:
        if before is not None and before not in IN_SIGHT:
            BlindSpell.objects.filter(source=status.source, ended_at=None).update(ended_at=status.at)
        return
    spell = BlindSpell.objects.filter(source=status.source, ended_at=None).order_by("-began_at").first()
    if spell is None or before is None or before in IN_SIGHT or status.at - spell.seen_at > GAP:
        values = {"system": status.system, "message": status.message, "seen_at": status.at}
        BlindSpell.objects.get_or_create(source=status.source, began_at=status.at, defaults=values)
    elif status.message and spell.message != status.message:
        spell.message = status.message
        spell.save(update_fields=["message"])


def touch(now: datetime) -> None:
    """Whoever is blind still is; asked again and again while rules are held against what is. 1 query."""
    blind = Source.objects.exclude(state__in=IN_SIGHT).values("name")
    young = BlindSpell.objects.filter(ended_at=None, seen_at__gte=now - GAP, seen_at__lt=now - TOUCH)
    young.filter(source__in=blind).update(seen_at=now)


def end(name: str) -> None:
    """Nobody looks at this source any more."""
    BlindSpell.objects.filter(source=name, ended_at=None).update(ended_at=F("seen_at"))


def prune(now: datetime, keep_days: float) -> None:
    """Drop spells that ended long ago, and such as nobody saw end."""
    BlindSpell.objects.filter(seen_at__lt=now - timedelta(days=keep_days)).delete()
