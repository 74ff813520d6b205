"""Spans of several requests as one request, grouped by resource and scope; their bytes are copied, never read. Pure."""

from array import array
from collections.abc import Sequence

from collectors.otlp.scan.fields_py import begun, message
from eventflow.domain.columns import Body, SpanColumns


def gather(bodies: Sequence[Body], columns: Sequence[SpanColumns], requests: bytes, spans: bytes) -> bytes:
    """See `eventflow.domain.columns.Format.gather`."""
    wanted = array("I", requests)
    places = {
        request: (
            bodies[request],
            array("I", columns[request].offsets),
            array("I", columns[request].lengths),
            array("I", columns[request].scopes),
            dict[int, list[Body]](),
        )
        for request in {*wanted}
    }
    groups: dict[bytes, dict[bytes, list[Body]]] = {}
    for request, span in zip(wanted, array("I", spans), strict=True):
        body, offsets, lengths, scopes, group_of = places[request]
        scope = scopes[span]
        group = group_of.get(scope)
        if group is None:
            place = columns[request].scope_ranges[scope]
            by_scope = groups.setdefault(_head(body, place[:2], place[4:6]), {})
            group = group_of[scope] = by_scope.setdefault(_head(body, place[2:4], place[6:]), [])
        at, size = offsets[span], lengths[span]
        begin = at - (2 if size < 128 else 3 if size < 16384 else 4)
        if size < 2097152 and body[begin] == 0x12:  # with tag and length as they stand there
            group.append(body[begin : at + size])
        else:
            group.append(message(0x12, body[at : at + size]))
    whole: list[Body] = []
    for resource, by_scope in groups.items():
        inside: list[Body] = [resource]
        for head, parts in by_scope.items():
            inside += (begun(0x12, len(head) + sum(map(len, parts))), head, *parts)
        whole += (begun(0x0A, sum(map(len, inside))), *inside)
    return b"".join(whole)


def _head(body: Body, place: tuple[int, ...], url: tuple[int, ...]) -> bytes:
    """What a group of spans begins with: its resource or scope, and the URL of its schema where it has one."""
    begin = message(0x0A, body[place[0] : sum(place)])
    return begin + message(0x1A, body[url[0] : sum(url)]) if url[1] else begin
