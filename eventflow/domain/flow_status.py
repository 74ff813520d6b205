"""What a flow's parts say together: its status and place, and each service's mark.

The worst part gives the status. A part made good (replayed, or retried with success) is not counted as bad any more.
"""

from collections.abc import Iterable, Iterator, Sequence

from eventflow.domain.flow_model import DeliveryStatus, FlowLetter, LetterStatus, Publication, children_of
from eventflow.domain.flow_summary import FlowStatus, ServiceMark
from eventflow.domain.observations import Span, SpanStatus

_BY_DELIVERY = {
    DeliveryStatus.DEAD_LETTERED: FlowStatus.DEAD_LETTERED,
    DeliveryStatus.FAILED: FlowStatus.FAILED,
    DeliveryStatus.RETRYING: FlowStatus.RUNNING,
    DeliveryStatus.REPLAYING: FlowStatus.RUNNING,
    DeliveryStatus.RECOVERED: FlowStatus.RECOVERED,
}
_RANK = list(FlowStatus)
_STILL_LYING = (LetterStatus.OPEN, LetterStatus.ARCHIVED)


def walk(roots: Sequence[Publication]) -> Iterator[tuple[Publication, bool]]:
    """Every publication with whether it lies below a delivery that was made good since."""
    pending = [(root, False) for root in reversed(roots)]
    while pending:
        publication, settled = pending.pop()
        yield publication, settled
        for delivery in publication.deliveries:
            good = settled or delivery.status in (DeliveryStatus.RECOVERED, DeliveryStatus.OK)
            again = {id(replay) for replay in delivery.replays}
            pending.extend((child, good and id(child) in again) for child in children_of(delivery))


def flow_status(
    roots: Sequence[Publication], unplaced: Sequence[FlowLetter], bare_spans: Iterable[Span]
) -> tuple[FlowStatus, str | None]:
    """The flow's status and where. `bare_spans` are the spans of a flow that has no hop at all."""
    found: list[tuple[FlowStatus, int, str | None]] = []
    awaited = {name for publication, _ in walk(roots) for name in publication.awaiting}
    for publication, settled in walk(roots):
        if publication.failed:
            found.append((FlowStatus.FAILED, publication.at_ns, publication.service))
        if publication.waiting:
            place = publication.awaiting[0] if publication.awaiting else publication.destination
            if len(awaited) > 1:
                place = f"{len(awaited)} groups"
            found.append((FlowStatus.WAITING, publication.at_ns, place))
        for delivery in publication.deliveries:
            status = _BY_DELIVERY.get(delivery.status)
            if status is not None and not (settled and delivery.failed):
                found.append((status, delivery.started_ns, delivery.service))
    found.extend(
        (FlowStatus.DEAD_LETTERED, 0, letter.service or letter.group or letter.location)
        for letter in unplaced
        if letter.status in _STILL_LYING
    )
    found.extend(
        (FlowStatus.FAILED, span.start_ns, span.service)
        for span in bare_spans
        if span.status is SpanStatus.ERROR and span.parent_id is None
    )
    if not found:
        return FlowStatus.COMPLETED, None
    status, _, place = min(found, key=lambda x: (_RANK.index(x[0]), x[1], x[2] or ""))
    return status, place


def service_marks(roots: Sequence[Publication], spans: Iterable[Span]) -> tuple[ServiceMark, ...]:
    """The services in order of appearance, then the groups that are awaited."""
    first: dict[str, int] = {}
    for span in spans:
        first[span.service] = min(first.get(span.service, span.start_ns), span.start_ns)
    states: dict[str, set[str]] = {}
    awaited: dict[str, None] = {}
    for publication, settled in walk(roots):
        awaited.update(dict.fromkeys(publication.awaiting))
        if publication.failed and publication.service:
            states.setdefault(publication.service, set()).add("failed")
        for delivery in publication.deliveries:
            if delivery.failed and not settled:
                states.setdefault(delivery.service, set()).add("failed")
            elif delivery.status is DeliveryStatus.RECOVERED:
                states.setdefault(delivery.service, set()).add("recovered")
    marks = [
        ServiceMark(name, next((s for s in ("failed", "recovered") if s in states.get(name, ())), "ok"))
        for name in sorted(first, key=lambda name: (first[name], name))
    ]
    return (*marks, *(ServiceMark(name, "waiting") for name in awaited if name not in first))
