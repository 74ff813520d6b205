"""What spans with alike attributes have in common, judged once: their shape, and what their columns need.

Bounded, whatever hostile senders write.
"""

from typing import Any, NamedTuple

from collectors.conventions.roles import Role
from collectors.otlp.scan.attributes_py import Known
from collectors.otlp.scan.names import INDEX_SHIFT, ODD

OURS, IDENTITY, SEARCH = int(Role.OURS), int(Role.IDENTITY), int(Role.SEARCH)
MOST_SEEN = 8192
MOST_IN_SPAN = 64
LONGEST_SPAN = 2048
Key = tuple[Any, ...]
"""The number of the scope, the span's flags, and its attributes as `Attributes.told` tells them."""


class Seen(NamedTuple):
    """What spans with the same attributes, but for what no shape depends on, have in common."""

    shape: int
    named: bool
    """Whether the span's name is part of the shape."""
    odd: bool
    identities: tuple[tuple[int, int, int], ...]
    """Of each: its place among the attributes, the index of its name, and where its text begins."""
    searched: tuple[tuple[int, int], ...]
    """Of those that flows are found by: place and index of the name."""


def judged(key: Key, kept: dict[Key, Seen]) -> Seen:
    """What is to be known of spans like this one; kept for the next if it is not too much."""
    token, flags = key[:2]
    found = [*filter(None, key[2:])]
    codes = 0
    for one in found:
        codes |= one.code
    identities = [one for one in found if one.code & IDENTITY]
    odd = bool(codes & ODD) or len({one.key for one in found}) != len(found) or not all(one.at for one in identities)
    if codes & OURS:
        shape, named = hash((token, flags, *(one.part for one in found))), True
    else:
        # Its kind alone may make its name part of the shape.
        shape, named = hash((token, flags, 0, *(one.key for one in identities))), flags & 7 > 3
    places = [(index, one) for index, one in enumerate(key[2:]) if isinstance(one, Known)]
    rows = tuple((index, one.code >> INDEX_SHIFT, one.at) for index, one in places if one.code & IDENTITY and one.at)
    searched = tuple((index, one.code >> INDEX_SHIFT) for index, one in places if one.code & SEARCH)
    seen = Seen(shape, named, odd, rows, searched)
    if len(key) <= MOST_IN_SPAN and sum(len(one.part) for one in found) <= LONGEST_SPAN:
        if len(kept) >= MOST_SEEN:
            kept.clear()
        kept[key] = seen
    return seen
