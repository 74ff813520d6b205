"""Spans of several requests as one request, grouped by resource and scope; their bytes are copied, never read. Pure."""

from array import array
from collections.abc import Iterable, Sequence

from collectors.otlp.scan.fields_py import encoded
from eventflow.domain.columns import SpanColumns

Part = bytes | memoryview


def gather(bodies: Sequence[bytes], columns: Sequence[SpanColumns], requests: bytes, spans: bytes) -> bytes:
    """See `eventflow.domain.columns.Format.gather`."""
    views = [memoryview(body) for body in bodies]
    places = [(array("I", c.offsets), array("I", c.lengths), array("I", c.scopes)) for c in columns]
    groups: dict[bytes, dict[bytes, list[Part]]] = {}
    group_of: dict[tuple[int, int], list[Part]] = {}
    for request, span in zip(array("I", requests), array("I", spans), strict=True):
        offsets, lengths, scopes = places[request]
        group = group_of.get((request, scopes[span]))
        if group is None:
            at, size, scope_at, scope_size = columns[request].scope_ranges[scopes[span]]
            body = bodies[request]
            by_scope = groups.setdefault(body[at : at + size], {})
            group = by_scope.setdefault(body[scope_at : scope_at + scope_size], [])
            group_of[request, scopes[span]] = group
        length = lengths[span]
        group.append(b"\x12" + encoded(length))
        group.append(views[request][offsets[span] : offsets[span] + length])
    return b"".join(
        _message(0x0A, [_message(0x0A, [resource]), *(_scope_spans(scope, parts) for scope, parts in by_scope.items())])
        for resource, by_scope in groups.items()
    )


def _scope_spans(scope: bytes, parts: Sequence[Part]) -> bytes:
    return _message(0x12, [_message(0x0A, [scope]), *parts])


def _message(tag: int, parts: Iterable[Part]) -> bytes:
    content = b"".join(parts)
    return b"".join((bytes((tag,)), encoded(len(content)), content))
