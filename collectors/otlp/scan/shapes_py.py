"""The shapes of many spans: one of each kind is judged, attribute by attribute, and speaks for all that are alike."""

from dataclasses import dataclass

import numpy as np

from collectors.otlp.scan.alike_py import FACTORS, Flags, alike, kinds, likely
from collectors.otlp.scan.attributes_py import Attributes
from collectors.otlp.scan.classes_py import Numbers
from collectors.otlp.scan.names import Names
from collectors.otlp.scan.seen_py import MOST_SEEN, Key, Seen, judged
from collectors.otlp.scan.table_py import U64, Array, Ints, Octets, UnusualError


@dataclass(frozen=True, slots=True)
class Sent:
    """All attributes of some spans, span by span: whose each is, where it begins and ends."""

    octets: Octets
    span: Ints
    begin: Ints
    to: Ints

    def of(self, span: int) -> list[bytes]:
        """A span's, as they were sent."""
        mine = slice(*self.span.searchsorted((span, span + 1)).tolist())
        places = zip(self.begin[mine].tolist(), self.to[mine].tolist(), strict=True)
        return [self.octets.body[begin:to] for begin, to in places]


@dataclass(frozen=True, slots=True)
class Told:
    """What spans' shapes depend on, but for names: a row of attributes' classes a span, flags, the scope's number."""

    classes: Ints
    flags: Ints
    tokens: U64

    def kinds(self) -> tuple[Ints, Ints]:
        """The spans that stand for their kind, and for every span the number of its kind there."""
        factors = FACTORS[: self.classes.shape[1]]
        hashes = (self.classes.view(np.uint64) * factors).sum(axis=1)
        hashes += self.flags.view(np.uint64) * FACTORS[-1] + self.tokens * FACTORS[-2]
        like = likely(hashes ^ hashes >> np.uint64(32))
        if any((column != column[like]).any() for column in (self.classes, self.flags, self.tokens)):
            raise UnusualError  # two hashes met: less than once in an age
        return kinds(like)


class Shapes:
    """What shapes spans have. Keeps what was judged."""

    def __init__(self, names: Names, attributes: Attributes, seen: dict[Key, Seen]) -> None:
        self.names = names
        self.attributes = attributes
        self.seen = seen

    def of(self, told: Told, sent: Sent, name_at: Ints, numbers: Numbers) -> tuple[Array, Flags]:
        """The shapes of spans, and whether they are odd; `name_at`: where the fields with their names are."""
        stands, kind = told.kinds()
        found = self._judged(told, sent, stands, numbers)
        shapes = np.array([one.shape for one in found], np.int64)[kind]
        named = np.flatnonzero(np.array([one.named for one in found], bool)[kind])
        if len(named):
            shapes[named] = _with_names(sent.octets, shapes[named], kind[named], name_at[named])
        return shapes, np.array([one.odd for one in found], bool)[kind]

    def _judged(self, told: Told, sent: Sent, stands: Ints, numbers: Numbers) -> list[Seen]:
        """What is to be known of these spans."""
        rows, width = told.classes[stands].tobytes(), 8 * told.classes.shape[1]
        scopes = zip(stands.tolist(), told.tokens[stands].tolist(), told.flags[stands].tolist(), strict=True)
        found = []
        for number, (span, token, flags) in enumerate(scopes):
            # Zeros at the end stand for fields that this span has not, but another of the same request.
            row = token, flags, rows[number * width : (number + 1) * width].rstrip(b"\0")
            seen = numbers.seen.get(row)
            if seen is None:
                seen = judged((token, flags, *self.attributes.told(sent.of(span))), self.seen)
                if len(numbers.seen) >= MOST_SEEN:
                    numbers.seen.clear()
                numbers.seen[row] = seen
            found.append(seen)
        return found


def _with_names(octets: Octets, shapes: Ints, kind: Ints, name_at: Ints) -> Ints:
    """Shapes of which the name is part."""
    begin = octets.begins(name_at)
    size = np.where(name_at > 0, octets.sized(name_at + 1), 0)
    _, name = alike(octets, begin, size)
    # To multiply by an odd number is to spread: no two become one.
    both = (kind * len(name) + name).view(np.uint64) * FACTORS[0]
    stands, number = kinds(likely(both))
    places = zip(shapes[stands].tolist(), begin[stands].tolist(), size[stands].tolist(), strict=True)
    made = [hash((shape, octets.body[at : at + length].decode())) for shape, at, length in places]
    return np.array(made, np.int64)[number]
