"""Places dead letters, dead-letter publishes and replays at the deliveries they belong to.

A dead-letter publish is a publish like any other; only a letter that lies there, or its destination's name, tells. A
letter that nothing explains is handed back, never dropped.
"""

import re
from collections.abc import Sequence

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow_joins import DeliveryDraft, Joins, PublicationDraft
from eventflow.domain.flow_model import FlowLetter
from eventflow.domain.hop import Context

_DEAD_NAME = re.compile(
    r"^(?:dlq|dlt|dead[._-]?letters?)[.:_-]"
    r"|[.:_-](?:dlq|dlt|dlx|dead[._-]?letters?|errors?|skipped|poison)(?:-\d+)?$",
    re.IGNORECASE,
)


def named_for_dead_letters(destination: str | None) -> bool:
    """Whether the name alone says that dead letters go there."""
    return bool(destination and _DEAD_NAME.search(destination))


def place_letters(joins: Joins, letters: Sequence[FlowLetter]) -> tuple[FlowLetter, ...]:
    """Give each delivery its dead-letter publish and its letter; the letters left over are returned."""
    locations = {letter.location for letter in letters}
    for delivery in sorted(joins.deliveries(), key=lambda d: d.order):
        dead = [p for p in delivery.caused if p.destination in locations or named_for_dead_letters(p.destination)]
        if dead:
            _mark_dead(delivery, max(dead, key=lambda p: p.order))
    left = []
    for letter in sorted(letters, key=lambda x: (nanoseconds(x.failed_at) if x.failed_at else 0, x.id)):
        found = _explains(joins, letter)
        if found is None:
            left.append(letter)
            continue
        found.letter = letter
        sent = _sent_as(joins, letter)
        if sent is not None and sent.parent is None and found.dead is None and _hangable(sent, found):
            sent.parent = found
            found.dead = sent
    return tuple(sorted(left, key=lambda x: x.id))


def place_replays(joins: Joins) -> None:
    """Hang each replay below the delivery whose letter it sent again."""
    by_letter = {d.letter.id: d for d in joins.deliveries() if d.letter}
    for publication in sorted(joins.publications, key=lambda p: p.order):
        if publication.replay is None:
            continue
        delivery = by_letter.get(publication.replay.letter_id or "")
        if delivery is None or not _hangable(publication, delivery):
            continue
        if publication.parent is not None:
            publication.parent.caused.remove(publication)
        publication.parent = delivery
        publication.destination = publication.destination or delivery.destination
        delivery.replays.append(publication)


def _mark_dead(delivery: DeliveryDraft, publication: PublicationDraft) -> None:
    delivery.caused.remove(publication)
    delivery.dead = publication


def _hangable(publication: PublicationDraft, delivery: DeliveryDraft) -> bool:
    at: DeliveryDraft | None = delivery
    while at is not None:
        if at.publication is publication:
            return False
        at = at.publication.parent
    return True


def _context(letter: FlowLetter) -> Context | None:
    return Context(letter.trace_id, letter.span_id) if letter.trace_id and letter.span_id else None


def _sent_as(joins: Joins, letter: FlowLetter) -> PublicationDraft | None:
    context = _context(letter)
    sent = joins.published_under(context) if context else None
    return sent if sent is not None and sent.destination == letter.location else None


def _explains(joins: Joins, letter: FlowLetter) -> DeliveryDraft | None:
    """The delivery a letter came from: by its traceparent, else message id and group, else destination and group."""
    sent = _sent_as(joins, letter)
    if sent is not None and sent.parent is not None and sent.parent.dead is sent:
        return sent.parent
    context = _context(letter)
    if context and sent is None:
        origin = joins.published_under(context)
        if origin is not None:
            found = _best(origin.deliveries, letter)
            if found is not None:
                return found
        around = joins.delivery_around(context)
        if around is not None and _fits(around, letter):
            return around
    deliveries = list(joins.deliveries())
    if letter.message_id:
        same = [d for d in deliveries if letter.message_id in _message_ids(d)]
        if same:
            return _best(same, letter)
    if letter.group is None and letter.service is None:
        return None
    here = [d for d in deliveries if d.destination == letter.destination and (d.dead or d.proofs[-1].failed)]
    return _best(here, letter)


def _message_ids(delivery: DeliveryDraft) -> set[str]:
    published = delivery.publication.proof.message_ids if delivery.publication.proof else ()
    return {*published, *(message_id for proof in delivery.proofs for message_id in proof.message_ids)}


def _fits(delivery: DeliveryDraft, letter: FlowLetter) -> bool:
    if letter.group is not None and delivery.group != delivery.service:
        return delivery.group == letter.group
    return letter.service in (None, delivery.service) or letter.group == delivery.group


def _best(deliveries: list[DeliveryDraft], letter: FlowLetter) -> DeliveryDraft | None:
    """Of those that fit and have no letter yet, the one that failed nearest to the letter's time."""
    fitting = [d for d in deliveries if _fits(d, letter) and d.letter is None]
    failed_ns = nanoseconds(letter.failed_at) if letter.failed_at else None

    def distance(delivery: DeliveryDraft) -> tuple[bool, int, tuple[int, Context]]:
        last = delivery.proofs[-1]
        apart = abs(last.span.end_ns - failed_ns) if failed_ns is not None else 0
        return (not (last.failed or delivery.dead), apart, delivery.order)

    return min(fitting, key=distance, default=None)
