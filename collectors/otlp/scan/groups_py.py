"""Where a request's resources, scopes and spans lie, in plain Python. For requests that are known to be sound."""

from dataclasses import dataclass, field

from collectors.otlp.scan.fields_py import fields, varint
from collectors.otlp.scan.names import Names, UnscannableError

Place = tuple[int, int]


@dataclass(slots=True)
class Groups:
    """Where spans lie (offset and length), and their scopes: numbers of `ranges` and of `tokens`.

    ranges  as `SpanColumns.scope_ranges`
    tokens  the same for scopes whose spans are judged alike
    sizes   how many spans each scope has, those without spans too
    """

    places: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    scopes: list[int] = field(default_factory=list)
    ranges: list[tuple[int, ...]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def groups(body: bytes, names: Names) -> Groups:
    """The groups of a request. Raises UnscannableError for a resource or a scope in several parts."""
    found = Groups()
    for tag, start, end in fields(body, 0, len(body)):
        if tag == 0x0A:
            resource, url, begins, lengths = _parts(body, start, end)
            service = names.service(body[resource[0] : sum(resource)])
            for at, length in zip(begins, lengths, strict=True):
                scope, scope_url, places, sizes = _parts(body, at, at + length)
                found.sizes.append(len(places))
                if places:
                    found.scopes += [len(found.ranges)] * len(places)
                    found.tokens.append(names.scope(service, body[scope[0] : sum(scope)]))
                    found.ranges.append((*resource, *scope, *url, *scope_url))
                    found.places += places
                    found.lengths += sizes
    return found


def _parts(s: bytes, i: int, end: int) -> tuple[Place, Place, list[int], list[int]]:
    """Offset and length of a resource's or scope's description, which may be there once, and of its schema URL; then
    where all begins that is grouped under it, and the lengths."""
    first = url = (0, 0)
    begins: list[int] = []
    lengths: list[int] = []
    while i < end:
        if s[i] == 0x12:
            size = s[i + 1]
            i += 2
            if size > 127:
                if s[i] < 128:
                    size += (s[i] - 1) << 7
                    i += 1
                else:
                    size, i = varint(s, i - 1)
            begins.append(i)
            lengths.append(size)
            i += size
            continue
        tag, at, i = next(fields(s, i, end))
        if tag == 0x12:  # written with more bytes than it needs
            begins.append(at)
            lengths.append(i - at)
        elif tag == 0x0A:
            if first[0]:
                raise UnscannableError("a resource or scope in several parts")
            first = at, i - at
        elif tag == 0x1A:
            url = at, i - at
    return first, url, begins, lengths
