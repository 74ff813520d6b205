"""Freezes drafts into publications and deliveries: attempts, waits, backoffs and each delivery's status.

Bottom-up and without recursion, so that a saga of thousands of steps is no deeper than one of two.
"""

import re
from collections.abc import Collection, Mapping
from itertools import pairwise

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow_joins import DeliveryDraft, Joins, PublicationDraft
from eventflow.domain.flow_model import (
    Attempt,
    DeadLettering,
    Delivery,
    DeliveryStatus,
    LetterStatus,
    Publication,
    ReplayState,
)
from eventflow.domain.hop import HopEvidence

RETRY_PATIENCE_NS = 15_000_000_000
"""A failed attempt this young may still be tried again; an older one without a letter counts as failed."""

_RETRY_DESTINATION = re.compile(r"[-.](?:retry)(?:-\d+)?$")
_BY_OWN_DELIVERY = {
    DeliveryStatus.OK: DeliveryStatus.RECOVERED,
    DeliveryStatus.RECOVERED: DeliveryStatus.RECOVERED,
    DeliveryStatus.RETRYING: DeliveryStatus.REPLAYING,
    DeliveryStatus.REPLAYING: DeliveryStatus.REPLAYING,
}
_BY_LEDGER = {
    ReplayState.QUEUED: DeliveryStatus.REPLAYING,
    ReplayState.SENDING: DeliveryStatus.REPLAYING,
    ReplayState.SENT: DeliveryStatus.REPLAYING,
    ReplayState.CONSUMED: DeliveryStatus.REPLAYING,
    ReplayState.CONFIRMED: DeliveryStatus.RECOVERED,
    ReplayState.FAILED_AGAIN: DeliveryStatus.DEAD_LETTERED,
}
_BY_LETTER = {
    LetterStatus.REPLAYED: DeliveryStatus.RECOVERED,
    LetterStatus.RESOLVED: DeliveryStatus.RECOVERED,
    LetterStatus.REPLAYING: DeliveryStatus.REPLAYING,
}


class Builder:
    """Builds one flow's tree at one moment (`now_ns`)."""

    def __init__(self, joins: Joins, now_ns: int, consumers: Mapping[str, Collection[str]] | None) -> None:
        self._joins = joins
        self._now_ns = now_ns
        self._consumers = consumers
        self._built: dict[int, Publication] = {}

    def roots(self) -> tuple[Publication, ...]:
        roots = [p for p in self._joins.publications if p.parent is None]
        pending, top_down = list(roots), []
        while pending:
            draft = pending.pop()
            top_down.append(draft)
            pending.extend(child for delivery in draft.deliveries for child in delivery.children)
        for draft in reversed(top_down):
            self._built[id(draft)] = self._publication(draft)
        return self._all(roots)

    def _all(self, drafts: list[PublicationDraft]) -> tuple[Publication, ...]:
        return tuple(self._built[id(draft)] for draft in sorted(drafts, key=lambda d: d.order))

    def _publication(self, draft: PublicationDraft) -> Publication:
        proof = draft.proof
        early = any(d.proofs[0].span.start_ns < draft.ended_ns for d in draft.deliveries)
        at_ns = draft.started_ns if early else draft.ended_ns
        deliveries = tuple(
            self._delivery(d, at_ns if proof or draft.replay else None)
            for d in sorted(draft.deliveries, key=lambda d: d.order)
        )
        failed = bool(proof and proof.failed)
        awaiting = self._awaiting(draft)
        expected = proof is not None and not failed and not draft.replay and not _is_dead(draft)
        return Publication(
            service=draft.service,
            system=draft.system,
            destination=draft.destination,
            event_type=proof.event_type if proof else None,
            message_id=proof.message_ids[0] if proof and proof.message_ids else None,
            at_ns=at_ns,
            started_ns=draft.started_ns,
            ended_ns=draft.ended_ns,
            contexts=draft.contexts,
            spans=proof.spans if proof else (),
            deliveries=deliveries,
            awaiting=awaiting if expected else (),
            waiting=expected and (bool(awaiting) if self._consumers is not None else not deliveries),
            failed=failed,
            failure=proof.failure if proof else None,
            replay=draft.replay,
            guessed=draft.guessed,
        )

    def _awaiting(self, draft: PublicationDraft) -> tuple[str, ...]:
        groups = (self._consumers or {}).get(draft.destination or "", ())
        reached = {name for d in draft.deliveries for name in (d.group, d.service)}
        return tuple(sorted(set(groups) - reached))

    def _delivery(self, draft: DeliveryDraft, published_ns: int | None) -> Delivery:
        proofs = draft.proofs
        attempts = tuple(_attempt(proof, number) for number, proof in enumerate(proofs, 1))
        start = proofs[0].span.start_ns
        dead = self._dead_lettering(draft)
        replays = self._all(draft.replays)
        caused = self._all(draft.caused)
        return Delivery(
            service=draft.service,
            group=draft.group,
            system=proofs[0].system,
            destination=draft.destination or draft.publication.destination,
            status=self._status(draft, attempts, dead, replays, caused),
            joined_by=draft.joined_by,
            attempts=attempts,
            waited_from_ns=published_ns,
            wait_ns=None if published_ns is None else max(0, start - published_ns),
            skew_ns=0 if published_ns is None else max(0, published_ns - start),
            backoffs=tuple(
                (before.ended_ns, after.started_ns)
                for before, after in pairwise(attempts)
                if after.started_ns > before.ended_ns
            ),
            caused=caused,
            dead_lettering=dead,
            replays=replays,
            group_inferred=proofs[0].rules.get("group", "").startswith("service.name"),
        )

    def _dead_lettering(self, draft: DeliveryDraft) -> DeadLettering | None:
        letter = draft.letter
        publication = self._built[id(draft.dead)] if draft.dead else None
        if publication is not None:
            destination = publication.destination or ""
            return DeadLettering(destination, publication.at_ns, letter, publication, certain=letter is not None)
        if letter is None:
            return None
        at_ns = nanoseconds(letter.failed_at) if letter.failed_at else None
        return DeadLettering(letter.location, at_ns, letter)

    def _status(
        self,
        draft: DeliveryDraft,
        attempts: tuple[Attempt, ...],
        dead: DeadLettering | None,
        replays: tuple[Publication, ...],
        caused: tuple[Publication, ...],
    ) -> DeliveryStatus:
        if dead is not None:
            return _after_replays(draft, dead, replays)
        if not attempts[-1].failed:
            return DeliveryStatus.OK
        for publication in reversed(caused):
            if publication.destination and _RETRY_DESTINATION.search(publication.destination):
                again = [d for d in publication.deliveries if d.service == draft.service]
                return again[-1].status if again else DeliveryStatus.RETRYING
        young = self._now_ns - attempts[-1].ended_ns < RETRY_PATIENCE_NS
        return DeliveryStatus.RETRYING if young else DeliveryStatus.FAILED


def _after_replays(draft: DeliveryDraft, dead: DeadLettering, replays: tuple[Publication, ...]) -> DeliveryStatus:
    """The newest replay decides: its own delivery where it is seen, else what the ledger says."""
    for replay in reversed(replays):
        own = [d for d in replay.deliveries if d.group == draft.group or d.service == draft.service]
        if own:
            return _BY_OWN_DELIVERY.get(own[-1].status, DeliveryStatus.DEAD_LETTERED)
        if replay.replay is not None and replay.replay.state in _BY_LEDGER:
            return _BY_LEDGER[replay.replay.state]
    if dead.letter is None or replays:
        return DeliveryStatus.DEAD_LETTERED
    return _BY_LETTER.get(dead.letter.status, DeliveryStatus.DEAD_LETTERED)


def _is_dead(draft: PublicationDraft) -> bool:
    return draft.parent is not None and draft.parent.dead is draft


def _attempt(proof: HopEvidence, number: int) -> Attempt:
    span = proof.span
    return Attempt(
        span_id=span.span_id,
        trace_id=span.trace_id,
        started_ns=span.start_ns,
        ended_ns=max(span.start_ns, span.end_ns),
        failed=proof.failed,
        error=proof.failure,
        number=proof.attempt or number,
        outcome=proof.outcome,
        spans=proof.spans,
    )
