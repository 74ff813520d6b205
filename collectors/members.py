"""Who is in the groups, told when it is news: at once when members or what they read changed, else now and then.

How much somebody holds and when it was last heard of moves all the time: that alone is told each ten seconds.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeAlias

from eventflow.domain.observations import GroupMember, GroupMembers

AGAIN = timedelta(seconds=10)
SAME = timedelta(seconds=2)
"""Moments so near are one: they are counted back from ages."""
Key: TypeAlias = tuple[str, str | None]
"""A group and, where it is about one only, its destination."""


class MemberNews:
    """Remembers what was told of each group."""

    def __init__(self) -> None:
        self._told: dict[Key, GroupMembers] = {}

    def forget(self, keep: Collection[Key] = ()) -> None:
        """Tell all anew but these; groups that are gone are forgotten so."""
        self._told = {key: told for key, told in self._told.items() if key in keep}

    def is_news(self, found: GroupMembers) -> bool:
        """Whether to tell it; what is told is remembered."""
        before = self._told.get((found.group, found.destination))
        same = before is not None and _lasting(before) == _lasting(found)
        if same and before is not None and (found.at - before.at < AGAIN or not _moved(before, found)):
            return False
        self._told[found.group, found.destination] = found
        return True


def _lasting(found: GroupMembers) -> tuple[object, ...]:
    members = found.members and tuple(replace(m, in_flight=None, active_at=None, got_at=None) for m in found.members)
    return members, found.note, tuple(name for name, _ in found.told)


def _moved(before: GroupMembers, after: GroupMembers) -> bool:
    pairs: Iterable[tuple[GroupMember, GroupMember]] = zip(before.members or (), after.members or (), strict=True)
    return before.told != after.told or any(
        old.in_flight != new.in_flight or _apart(old.active_at, new.active_at) or _apart(old.got_at, new.got_at)
        for old, new in pairs
    )


def _apart(before: datetime | None, after: datetime | None) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) > SAME
