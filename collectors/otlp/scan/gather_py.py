"""Spans of several requests as one request, grouped by resource and scope; their bytes are copied, never read. Pure."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from collectors.otlp.scan.fields_py import begun, message
from eventflow.domain.columns import SpanColumns

Ints = NDArray[np.int64]
TAG = 0x12
"""Of a span in its scope, and of a scope in its resource."""
LONGEST = 2**21
"""From so many bytes on, a length takes more than three."""


def gather(bodies: Sequence[bytes], columns: Sequence[SpanColumns], requests: bytes, spans: bytes) -> bytes:
    """See `eventflow.domain.columns.Format.gather`."""
    request, span = np.frombuffer(requests, "<u4").astype(np.int64), np.frombuffer(spans, "<u4")
    counts = np.array([one.count for one in columns], np.int64)
    if (span >= counts[request]).any():
        raise IndexError("these columns have fewer spans")
    row = (np.cumsum(counts) - counts)[request] + span
    at, size, scope = (
        np.frombuffer(b"".join([getattr(one, name) for one in columns]), "<u4")[row].astype(np.int64)
        for name in ("offsets", "lengths", "scopes")
    )
    groups, group = _groups(bodies, columns, request, scope)
    order = np.argsort(group, kind="stable")
    parts, sizes = _parts(bodies, request[order], at[order], size[order])
    cuts = np.searchsorted(group[order], np.arange(group.max(initial=-1) + 2))
    ends = np.concatenate(([0], np.cumsum(sizes)))[cuts]
    places = [*zip(pairwise(cuts.tolist()), np.diff(ends).tolist(), strict=True)]
    whole: list[bytes | memoryview] = []
    for resource, by_scope in groups.items():
        inside: list[bytes | memoryview] = [resource]
        for head, number in by_scope.items():
            (low, high), length = places[number]
            inside += (begun(TAG, len(head) + length), head, *parts[low:high])
        whole += (begun(0x0A, sum(map(len, inside))), *inside)
    return b"".join(whole)


def _groups(
    bodies: Sequence[bytes], columns: Sequence[SpanColumns], request: Ints, scope: Ints
) -> tuple[dict[bytes, dict[bytes, int]], Ints]:
    """How a resource begins → how a scope begins → the number of the group; and the group of every span."""
    counts = np.array([len(one.scope_ranges) for one in columns], np.int64)
    places = (np.cumsum(counts) - counts)[request] + scope
    found: dict[bytes, dict[bytes, int]] = {}
    numbers = np.zeros(int(counts.sum()), np.int64)
    firsts = np.sort(np.unique(places, return_index=True)[1])
    for known, (place, one, at) in enumerate(zip(*(x[firsts].tolist() for x in (places, request, scope)), strict=True)):
        body, (begin, size, scope_begin, scope_size, *urls) = bodies[one], columns[one].scope_ranges[at]
        by_scope = found.setdefault(_head(body, begin, size, *urls[:2]), {})
        numbers[place] = by_scope.setdefault(_head(body, scope_begin, scope_size, *urls[2:]), known)
    return found, numbers[places]


def _parts(bodies: Sequence[bytes], request: Ints, at: Ints, size: Ints) -> tuple[list[memoryview], Ints]:
    """Spans with tag and length, and how long they are with those."""
    begin = at - 2 - (size > 0x7F) - (size > 0x3FFF)
    views = [memoryview(body) for body in bodies]
    places = [*zip(request.tolist(), begin.tolist(), (at + size).tolist(), strict=True)]
    if all(bodies[one][low] == TAG for one, low, _ in places) and size.max(initial=0) < LONGEST:
        # As they stand there.
        return [views[one][low:high] for one, low, high in places], at + size - begin
    inside = zip(request.tolist(), at.tolist(), (at + size).tolist(), strict=True)
    written = [memoryview(message(TAG, bodies[one][low:high])) for one, low, high in inside]
    return written, np.array([*map(len, written)], np.int64)


def _head(body: bytes, at: int, size: int, url_at: int, url_size: int) -> bytes:
    """What a group of spans begins with: its resource or scope, and the URL of its schema where it has one."""
    begin = message(0x0A, body[at : at + size])
    return begin + message(0x1A, body[url_at : url_at + url_size]) if url_size else begin
