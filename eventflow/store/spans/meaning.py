"""What spans of one shape mean: each shape is judged once by the domain, on its first span, and kept as numbers.

`Meanings` turns a portion's shapes into arrays: which side of which edge, how failed, how counted, where its ids are.
A shape whose spans can't be summed one by one (`whole`) says so; their traces are judged whole.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xxhash import xxh3_64_intdigest

from eventflow.domain.columns import Format
from eventflow.domain.edge import EdgeKey
from eventflow.domain.failure import put_back
from eventflow.domain.hop import HopEvidence, Side, evidence
from eventflow.domain.observations import Operation, Span
from eventflow.store.spans import arrays, libraries
from eventflow.store.spans.columns import Ints, Portion
from eventflow.store.spans.edges import edge_key, messages_of
from eventflow.store.spans.text import own_key

NOTHING, PUBLISH, CONSUME = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Meaning:
    """One shape.

    key_name, message_name  which identity attribute gives the flow's key and the message's id; -1 for none
    linked_message          links may carry message ids
    first_attempt           its wait in the broker counts
    library                 what `store.spans.libraries` counts of it, None for a span without messaging
    """

    side: int
    edge: EdgeKey | None
    failed: bool
    whole: bool
    messages: int
    first_attempt: bool
    key_name: int
    message_name: int
    library: tuple[tuple[str, str, str], tuple[int, ...]] | None
    group: tuple[tuple[str, str, str], str] | None
    like: int
    """A hash of all that the judgement of a flow sees of such a span, but for its times, ids and place in the flow."""


class Meanings:
    """Shapes met so far and what they mean, as rows of numbers. One per process; a shape's number never changes."""

    def __init__(self, form: Format) -> None:
        self._form = form
        self._numbers: dict[int, int] = {}
        self.known: list[Meaning] = []
        self.edges: list[EdgeKey] = []
        self._edge_numbers: dict[EdgeKey, int] = {}
        self._rows = np.zeros((0, 9), np.int64)
        self._lock = threading.Lock()

    def of(self, portion: Portion) -> Ints:
        """The number of every row's shape."""
        with self._lock:
            return self._of(portion)

    def _of(self, portion: Portion) -> Ints:
        first, inverse = arrays.distinct(portion.shapes)
        numbers = np.empty(len(first), np.int64)
        for at, (shape, row) in enumerate(zip(portion.shapes[first].tolist(), first.tolist(), strict=True)):
            number = self._numbers.get(shape)
            if number is None:
                number = self._learn(shape, portion, row)
            numbers[at] = number
        return numbers[inverse]

    def table(self) -> Ints:
        """A row per number: side, edge or -1, failed, whole, messages, first attempt, key name, message name, like."""
        if len(self._rows) < len(self.known):
            added = [
                (
                    one.side,
                    -1 if one.edge is None else self._edge_numbers[one.edge],
                    one.failed,
                    one.whole,
                    one.messages,
                    one.first_attempt,
                    one.key_name,
                    one.message_name,
                    one.like,
                )
                for one in self.known[len(self._rows) :]
            ]
            self._rows = np.concatenate((self._rows, np.array(added, np.int64)))
        return self._rows

    def positions(self, names: Sequence[str]) -> list[int]:
        """Where these names of identity attributes stand, as far as they were met."""
        return [at for at, name in enumerate(self._form.names) if name in names]

    def edge_number(self, key: EdgeKey) -> int:
        """The number of an edge."""
        number = self._edge_numbers.setdefault(key, len(self.edges))
        if number == len(self.edges):
            self.edges.append(key)
        return number

    def _learn(self, shape: int, portion: Portion, row: int) -> int:
        request = int(portion.request[row])
        (span,) = self._form.read(portion.bodies[request], portion.columns[request], [int(portion.index[row])])
        meaning = meaning_of(span, self._form.names)
        if meaning.edge is not None:
            self.edge_number(meaning.edge)
        self._numbers[shape] = len(self.known)
        self.known.append(meaning)
        return len(self.known) - 1


def meaning_of(span: Span, names: Sequence[str]) -> Meaning:
    """What a span's shape means."""
    proof = evidence(span)
    positions = {name: position for position, name in enumerate(names)}
    messaging = span.messaging
    key_rule = span.correlation_rule
    if span.correlation_id is None and messaging is not None:
        key_rule = messaging.rules.get("correlation_id")
    message_rule = messaging.rules.get("message_id") if messaging is not None and messaging.message_id else None
    known = (not own_key(span) or key_rule in positions) and (message_rule is None or message_rule in positions)
    side = {Side.PUBLISH: PUBLISH, Side.CONSUME: CONSUME}.get(proof.side, NOTHING) if proof else NOTHING
    return Meaning(
        side=side,
        edge=edge_key(proof) if proof and side else None,
        failed=bool(proof and proof.failed),
        whole=not known or bool(proof and _judged_whole(proof)),
        messages=messages_of(proof) if proof else 0,
        first_attempt=bool(proof and (proof.attempt or 1) == 1),
        key_name=positions.get(key_rule or "", -1) if own_key(span) else -1,
        message_name=positions.get(message_rule or "", -1),
        library=libraries.of(span),
        group=(
            ((proof.system or "", proof.destination or "", proof.group), span.service)
            if proof and proof.side is Side.CONSUME and proof.group
            else None
        ),
        like=_like(span, proof),
    )


def _like(span: Span, proof: HopEvidence | None) -> int:
    seen: tuple[object, ...] = (span.service, span.kind, span.status, bool(own_key(span)), bool(span.links))
    if span.messaging is not None:
        seen += (span.name, span.messaging.batch_size, put_back(span))
    if proof is not None:
        seen += (proof.side, proof.operation, proof.system, proof.destination, proof.group, proof.event_type)
        seen += (proof.attempt, proof.outcome, proof.failed, proof.failure is not None, len(proof.message_ids))
    return xxh3_64_intdigest(repr(seen).encode("utf-8", "replace")) >> 1


def _judged_whole(proof: HopEvidence) -> bool:
    """True where other spans of the trace decide what this one counts for."""
    span = proof.span
    if proof.side is Side.SETTLE or proof.operation in (Operation.CREATE, Operation.RECEIVE):
        return True
    if proof.side is Side.PUBLISH:
        return bool(span.links) or not proof.destination or not proof.system
    batch = span.messaging.batch_size if span.messaging else None
    return not proof.destination or not proof.system or (not span.links and (batch or 1) > 1)
