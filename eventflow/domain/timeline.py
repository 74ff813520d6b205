"""A flow as rows of a timeline: the causal tree, top down, each row with its bars on one time axis.

Waiting, working and backing off are different bars (design reference §6). Pure; the page turns times into places.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow_model import DeadLettering, Delivery, Flow, FlowLetter, Publication
from eventflow.domain.hop import Context
from eventflow.domain.timeline_folds import fold_repeats
from eventflow.domain.timeline_rows import Bar, BarKind, PathSum, Row, RowKind, mark_critical_path

__all__ = ["Bar", "BarKind", "PathSum", "Row", "RowKind", "Timeline", "timeline"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows with the ends of their axis."""

    rows: tuple[Row, ...]
    start_ns: int
    end_ns: int
    path: PathSum = field(default_factory=PathSum)

    def find(self, row_id: str) -> Row | None:
        """The row of a permanent link: a row's id, or the id of any span a row shows."""
        for row in self.rows:
            if row.id == row_id:
                return row
        return next((row for row in self.rows if row.context and row.context.span_id == row_id), None)


def timeline(flow: Flow, now_ns: int) -> Timeline:
    """The rows of `flow`. What is still awaited lasts until now."""
    rows = list(_numbered(_rows(flow, now_ns)))
    rows, path = mark_critical_path(rows)
    rows = fold_repeats(rows)
    starts = [flow.started_ns, *(row.start_ns for row in rows)]
    ends = [flow.ended_ns, *(row.end_ns for row in rows)]
    return Timeline(tuple(rows), min(starts), max(ends), path)


@dataclass(slots=True)
class _Place:
    """Where a publication's rows go."""

    publication: Publication
    depth: int
    parent: Row | None
    kind: RowKind = RowKind.PUBLISH
    delivery: Delivery | None = None


def _rows(flow: Flow, now_ns: int) -> Iterator[Row]:
    pending: list[_Place | Row] = [_Place(root, 0, None) for root in reversed(flow.roots)]
    while pending:
        place = pending.pop()
        if isinstance(place, Row):
            yield place
            if place.kind is RowKind.DELIVERY and place.delivery is not None:
                pending.extend(reversed(list(_below(place, place.delivery))))
            continue
        row = _dead(place) if place.kind is RowKind.DEAD else _published(place)
        yield row
        under = [_delivered(row, delivery, place.depth + 1) for delivery in place.publication.deliveries]
        under.extend(_awaited(row, place.publication, place.depth + 1, now_ns))
        pending.extend(reversed(under))
    for letter in flow.unplaced_letters:
        yield _lone_letter(flow, letter)


def _published(place: _Place) -> Row:
    publication = place.publication
    replayed = publication.replay is not None
    bars = [Bar(BarKind.PUBLISHED, publication.at_ns, publication.at_ns)]
    if publication.spans and not replayed:
        kind = BarKind.FAILED if publication.failed else BarKind.WORK
        bars.insert(0, Bar(kind, publication.started_ns, publication.ended_ns))
    name = publication.span_id or f"p{publication.contexts[0].span_id if publication.contexts else publication.at_ns}"
    return Row(
        id=f"replay-{publication.replay.id}" if publication.replay else name,
        kind=RowKind.REPLAY if replayed else RowKind.PUBLISH,
        depth=place.depth,
        at_ns=publication.at_ns,
        bars=tuple(bars),
        parent=place.parent.id if place.parent else None,
        service=publication.service,
        destination=publication.destination,
        system=publication.system,
        publication=publication,
        delivery=place.delivery,
        context=publication.spans[0] if publication.spans else None,
    )


def _delivered(above: Row, delivery: Delivery, depth: int) -> Row:
    first = delivery.attempts[0]
    bars: list[Bar] = []
    if delivery.waited_from_ns is not None and delivery.wait_ns:
        bars.append(Bar(BarKind.WAIT, delivery.waited_from_ns, delivery.waited_from_ns + delivery.wait_ns))
    bars.extend(Bar(BarKind.BACKOFF, start, end) for start, end in delivery.backoffs)
    bars.extend(
        Bar(BarKind.FAILED if attempt.failed else BarKind.WORK, attempt.started_ns, attempt.ended_ns)
        for attempt in delivery.attempts
    )
    several = len(delivery.attempts) > 1
    return Row(
        id=f"{first.span_id}-all" if several else first.span_id,
        kind=RowKind.DELIVERY,
        depth=depth,
        at_ns=first.started_ns,
        bars=tuple(bars),
        parent=above.id,
        service=delivery.service,
        destination=delivery.destination,
        system=delivery.system,
        publication=above.publication,
        delivery=delivery,
        context=Context(delivery.attempts[-1].trace_id, delivery.attempts[-1].span_id),
    )


def _below(above: Row, delivery: Delivery) -> Iterator[_Place | Row]:
    if len(delivery.attempts) > 1:
        backoff_until = {end: start for start, end in delivery.backoffs}
        for number, attempt in enumerate(delivery.attempts, 1):
            bars = [
                Bar(BarKind.FAILED if attempt.failed else BarKind.WORK, attempt.started_ns, attempt.ended_ns),
            ]
            if attempt.started_ns in backoff_until:
                bars.insert(0, Bar(BarKind.BACKOFF, backoff_until[attempt.started_ns], attempt.started_ns))
            yield Row(
                id=attempt.span_id,
                kind=RowKind.ATTEMPT,
                depth=above.depth + 1,
                at_ns=attempt.started_ns,
                bars=tuple(bars),
                parent=above.id,
                service=delivery.service,
                destination=delivery.destination,
                system=delivery.system,
                number=number,
                delivery=delivery,
                publication=above.publication,
                context=Context(attempt.trace_id, attempt.span_id),
            )
    yield from (_Place(publication, above.depth + 1, above) for publication in delivery.caused)
    dead = delivery.dead_lettering
    if dead is not None and dead.publication is not None:
        yield _Place(dead.publication, above.depth + 1, above, RowKind.DEAD, delivery)
    elif dead is not None:
        yield _dead_row(above.depth + 1, above, delivery, dead)
    yield from (_Place(again, above.depth + 1, above, delivery=delivery) for again in delivery.replays)


def _dead(place: _Place) -> Row:
    delivery = place.delivery
    assert delivery is not None and delivery.dead_lettering is not None  # noqa: S101  # _below gives both
    return _dead_row(place.depth, place.parent, delivery, delivery.dead_lettering)


def _dead_row(depth: int, above: Row | None, delivery: Delivery, dead: DeadLettering) -> Row:
    at_ns = dead.at_ns if dead.at_ns is not None else delivery.ended_ns
    publication = dead.publication
    return Row(
        id=(publication.span_id if publication else None) or f"letter-{dead.letter.id if dead.letter else at_ns}",
        kind=RowKind.DEAD,
        depth=depth,
        at_ns=at_ns,
        bars=(Bar(BarKind.DEAD, at_ns, at_ns),),
        parent=above.id if above else None,
        service=delivery.service,
        destination=dead.destination,
        system=delivery.system,
        publication=publication,
        delivery=delivery,
        dead=dead,
        letter=dead.letter,
        context=publication.spans[0] if publication and publication.spans else None,
    )


def _awaited(above: Row, publication: Publication, depth: int, now_ns: int) -> Iterator[Row]:
    names: tuple[str | None, ...] = publication.awaiting or ((None,) if publication.waiting else ())
    for number, name in enumerate(names):
        yield Row(
            id=f"awaited-{above.id}-{number}",
            kind=RowKind.AWAITED,
            depth=depth,
            at_ns=publication.at_ns,
            bars=(Bar(BarKind.WAIT, publication.at_ns, max(now_ns, publication.at_ns)),),
            parent=above.id,
            service=name,
            destination=publication.destination,
            system=publication.system,
            publication=publication,
        )


def _lone_letter(flow: Flow, letter: FlowLetter) -> Row:
    at = letter.failed_at
    at_ns = nanoseconds(at) if at else flow.ended_ns
    return Row(
        id=f"letter-{letter.id}",
        kind=RowKind.LETTER,
        depth=0,
        at_ns=at_ns,
        bars=(Bar(BarKind.DEAD, at_ns, at_ns),),
        service=letter.service or letter.group,
        destination=letter.location,
        system=letter.system,
        letter=letter,
    )


def _numbered(rows: Iterator[Row]) -> Iterator[Row]:
    """Unique ids: a batch's span delivers many messages and so makes many rows. Parents come before children."""
    used: dict[str, int] = {}
    last: dict[str, str] = {}
    for row in rows:
        count = used.get(row.id, 0)
        used[row.id] = count + 1
        name = row.id if count == 0 else f"{row.id}~{count + 1}"
        parent = last.get(row.parent, row.parent) if row.parent else None
        last[row.id] = name
        yield replace(row, id=name, parent=parent)
