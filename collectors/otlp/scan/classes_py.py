"""What attributes of many spans are to a judgement, as numbers: those of one number are the same to it.

Numbers stay from request to request as long as they are few, so that what was judged once is found again. Takes only
what attributes usually are; raises UnusualError for all else.
"""

from dataclasses import dataclass, field
from itertools import count

import numpy as np

from collectors.conventions.roles import Role
from collectors.otlp.scan.alike_py import Flags, alike, with_nul
from collectors.otlp.scan.attributes_py import INTEGER, LONGEST_TEXT, LONGEST_VALUE, SEARCHED, STRING, plain_text, usual
from collectors.otlp.scan.names import INDEX_SHIFT, ODD, Names
from collectors.otlp.scan.seen_py import Seen
from collectors.otlp.scan.table_py import Ints, Octets, UnusualError

TEXT, NUMBER, VALUE, IDENTITY, SEARCH = (
    int(role) for role in (Role.TEXT, Role.NUMBER, Role.VALUE, Role.IDENTITY, Role.SEARCH)
)
LONGEST_KEPT = 160
MOST_VALUES = 16 * 1024
KEY_BITS, TEXT_BITS, KIND_BITS = 13, 9, 2
"""Of a class: lowest a key's number, then where an identity's text begins, one of those below, the value's number."""
SAME, IS_TEXT, IS_NUMBER, EXACT = range(4)
"""What of the value counts: nothing, that it is certainly text or a number above zero, every byte."""
UNUSUAL, FIRST_KEY = 1, 2
_HIGH = np.uint64(0x8080808080808080)
_KEPT = np.array([2 ** (8 * size) - 1 for size in range(9)], np.uint64)
_SEARCHED = np.zeros(256, bool)
_SEARCHED[[*SEARCHED]] = True


@dataclass(slots=True)
class Numbers:
    """The numbers of keys and values met so far, and what was judged of spans that have them."""

    keys: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """With the key's code."""
    values: dict[bytes, int] = field(default_factory=dict)
    seen: dict[tuple[int, int, bytes], Seen] = field(default_factory=dict)
    """By the number of a scope, flags, and the classes of attributes."""
    # Threads that scan at the same time never get one number twice.
    _next_key: "count[int]" = field(default_factory=lambda: count(FIRST_KEY))
    _next_value: "count[int]" = field(default_factory=lambda: count(1))

    def full(self) -> bool:
        """Whether it is time to begin anew."""
        return len(self.keys) >= 1 << (KEY_BITS - 1) or len(self.values) >= MOST_VALUES

    def key(self, key: bytes, names: Names) -> tuple[int, int]:
        """A key's number and code."""
        found = self.keys.get(key)
        if found is None:
            found = self.keys.setdefault(key, (next(self._next_key), names.code(key)))
        return found

    def value(self, value: bytes) -> int:
        """A value's number; that of a long one is not remembered."""
        found = self.values.get(value)
        if found is None:
            found = next(self._next_value)
            if len(value) <= LONGEST_KEPT:
                found = self.values.setdefault(value, found)
        return found


@dataclass(slots=True)
class Pairs:
    """Attributes: where each begins, where its value does, and where it ends, with the number and code of its key."""

    begin: Ints
    value: Ints
    to: Ints
    key: Ints
    code: Ints

    def of(self, chosen: "Ints | Flags") -> "Pairs":
        """Some of them."""
        columns = (self.begin, self.value, self.to, self.key, self.code)
        return Pairs(*(column[chosen] for column in columns))

    def name(self, chosen: Ints) -> Ints:
        """The indexes of the names of identities and searched keys."""
        return self.code[chosen] >> INDEX_SHIFT

    def has(self, role: int) -> Flags:
        """Which of them have this role."""
        found: Flags = (self.code & role) != 0
        return found


def pairs(octets: Octets, at: Ints, to: Ints, numbers: Numbers, names: Names) -> Pairs:
    """The attributes that lie at these places of a body."""
    begin = octets.begins(at)
    size = octets.one.take(begin + 1).astype(np.int64)
    after = begin + 2 + size
    value = after + 2
    keyed = (octets.one.take(begin) == 0x0A) & (size < 128) & (octets.one.take(after) == 0x12)
    # Most lengths have one byte.
    fits = keyed & (value + octets.one.take(after + 1) == to)
    others = np.flatnonzero(~fits)
    if len(others):
        value[others] = octets.begins(after[others])
        fits[others] = keyed[others] & (value[others] + octets.sized(after[others] + 1) == to[others])
        others = others[~fits[others]]
        places = zip(begin[others].tolist(), to[others].tolist(), strict=True)
        if any(usual(octets.body[low:high]) for low, high in places):
            raise UnusualError  # a length in more bytes than it needs
        size[others] = 0
    first, number = alike(octets, begin + 2, size)
    found = [
        numbers.key(octets.body[low : low + length], names)
        for low, length in zip((begin[first] + 2).tolist(), size[first].tolist(), strict=True)
    ]
    key, code = np.array(found, np.int64).reshape(-1, 2).T
    made = Pairs(begin, value, to, key[number], code[number])
    made.code[others] = ODD
    if len(others) or (code & ODD).any():
        unknown = made.has(ODD)
        made.code[unknown], made.key[unknown] = ODD, UNUSUAL
    if key.max(initial=0) >= 1 << KEY_BITS:
        raise UnusualError
    return made


def classes(octets: Octets, looked: Pairs, text: Ints, numbers: Numbers) -> Ints:
    """The class of each attribute that somebody looks at; `text`: where the text of an identity begins."""
    kind = np.where(looked.has(VALUE), EXACT, SAME)
    valued = np.flatnonzero(looked.has(TEXT | NUMBER) & ~looked.has(VALUE))
    if len(valued):
        kind[valued] = _value_kinds(octets, looked.of(valued))
    exact = np.flatnonzero(kind == EXACT)
    begin, to = looked.value[exact], looked.to[exact]
    first, number = alike(octets, begin, to - begin)
    places = zip(begin[first].tolist(), to[first].tolist(), strict=True)
    told = np.array([numbers.value(octets.body[low:high]) for low, high in places], np.int64)
    kind[exact] |= told[number] << KIND_BITS
    begins = np.where(text > 0, text - looked.begin, 0)
    found: Ints = (kind << TEXT_BITS | begins) << KEY_BITS | looked.key
    return found


def _value_kinds(octets: Octets, looked: Pairs) -> Ints:
    """What certainly is text where that counts, or a number above zero; every byte counts of all else."""
    one, value = octets.one, looked.value
    tag, size, letter = one.take(value), one.take(value + 1), one.take(value + 2)
    is_text = looked.has(TEXT) & (tag == STRING) & (size > 0) & (size < 128) & (value + 2 + size == looked.to)
    is_text &= (letter > 0x20) & (letter < 0x7F)
    last, more = one.take(looked.to - 1), looked.to - value - 2
    is_number = (value < looked.to) & (tag == INTEGER) & (more >= 0) & (more <= 8) & (last > 0) & (last < 128)
    high = _HIGH & _KEPT.take(np.clip(more, 0, 8))
    is_number &= octets.eight[value + 1] & high == high
    return np.where(is_text, IS_TEXT, np.where(is_number, IS_NUMBER, EXACT))


def texts(octets: Octets, looked: Pairs) -> Ints:
    """Where the texts of identities begin, 0 for other attributes and for what names nothing as it is."""
    found = np.zeros(len(looked.begin), np.int64)
    mine = np.flatnonzero(looked.has(IDENTITY))
    begin, value, to = looked.begin[mine], looked.value[mine], looked.to[mine]
    text, size = octets.begins(value), octets.sized(value + 1)
    first, last = octets.one.take(text), octets.one.take(to - 1)
    plain = (octets.one.take(value) == STRING) & (size > 0) & (size <= LONGEST_TEXT) & (text + size == to)
    plain &= (first > 0x20) & (first < 0x7F) & (last > 0x20) & (last < 0x7F)
    plain &= ~with_nul(octets, text, np.where(plain, size, 0))
    found[mine] = np.where(plain, text, 0)
    for place in np.flatnonzero(~plain).tolist():
        low, high = int(begin[place]), int(to[place])
        at = plain_text(octets.body[low:high], int(value[place]) - low)
        found[mine[place]] = low + at if at else 0
    return found


def searched(octets: Octets, looked: Pairs) -> Flags:
    """Which of them flows can be found by."""
    size = looked.to - looked.value
    found: Flags = looked.has(SEARCH) & (size > 0) & (size <= LONGEST_VALUE) & _SEARCHED[octets.one.take(looked.value)]
    return found
