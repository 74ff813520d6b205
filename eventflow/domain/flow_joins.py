"""Joins consumptions to publications, and publications to the deliveries that caused them: first half of `assemble`.

Works on drafts that only `flow` sees. There is no pairing window: what finds no partner stays, as a publication without
deliveries or as a delivery whose publisher was not seen. Guesses are made last and marked.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from eventflow.domain.flow_model import FlowLetter, FlowReplay, JoinedBy
from eventflow.domain.hop import Context, HopEvidence, Side, parent_of
from eventflow.domain.observations import Span

GUESSES = 50
"""How many earlier deliveries are looked at to guess which of them an unlinked publication followed from."""


@dataclass(eq=False, slots=True)
class PublicationDraft:
    """A publication while its deliveries are being found. Without `proof` it was not seen, only concluded."""

    contexts: tuple[Context, ...]
    started_ns: int
    ended_ns: int
    service: str | None
    destination: str | None
    system: str | None
    proof: HopEvidence | None = None
    via: Context | None = None
    deliveries: list["DeliveryDraft"] = field(default_factory=list)
    parent: "DeliveryDraft | None" = None
    replay: FlowReplay | None = None
    guessed: bool = False

    @property
    def order(self) -> tuple[int, str, tuple[Context, ...]]:
        return (self.started_ns, self.replay.id if self.replay else "", self.contexts)


@dataclass(eq=False, slots=True)
class DeliveryDraft:
    """A delivery while its attempts are being found."""

    publication: PublicationDraft
    service: str
    group: str
    destination: str | None
    joined_by: JoinedBy
    proofs: list[HopEvidence] = field(default_factory=list)
    caused: list[PublicationDraft] = field(default_factory=list)
    dead: PublicationDraft | None = None
    letter: FlowLetter | None = None
    replays: list[PublicationDraft] = field(default_factory=list)

    @property
    def children(self) -> list[PublicationDraft]:
        return [*self.caused, *([self.dead] if self.dead else []), *self.replays]

    @property
    def order(self) -> tuple[int, Context]:
        return (self.proofs[0].span.start_ns, self.proofs[0].context)


class Joins:
    """The drafts of one flow. `publications` holds them all; those without `parent` are the roots."""

    def __init__(self, spans: Mapping[Context, Span], proofs: tuple[HopEvidence, ...]) -> None:
        self.spans = spans
        self.publications: list[PublicationDraft] = []
        self.consumers: dict[Context, list[DeliveryDraft]] = {}
        self._by_context: dict[Context, PublicationDraft] = {}
        self._by_position: dict[tuple[str, str, str], PublicationDraft] = {}
        self._by_message: dict[str, list[PublicationDraft]] = {}
        self._concluded: dict[tuple[tuple[Context, ...], str | None], PublicationDraft] = {}
        self._deliveries: dict[tuple[object, ...], DeliveryDraft] = {}
        self._of_proof: dict[Context, list[DeliveryDraft]] = {}
        self._ordered: dict[tuple[str | None, str], list[PublicationDraft]] | None = None
        self._read_up_to: dict[tuple[str | None, ...], int] = {}
        for proof in proofs:
            if proof.side is Side.PUBLISH:
                self._add_publish(proof)
        self._consumed = [proof for proof in proofs if proof.side is Side.CONSUME]

    def deliveries(self) -> Iterator[DeliveryDraft]:
        for publication in self.publications:
            yield from publication.deliveries

    def add_replay(self, replay: FlowReplay, letter: FlowLetter | None, at_ns: int) -> None:
        """Eventflow's own send. Its span may be here as well; usually only its context is, in the message's headers."""
        context = Context(replay.trace_id, replay.span_id) if replay.trace_id and replay.span_id else None
        if context in self._by_context:
            self._by_context[context].replay = replay
            return
        draft = PublicationDraft(
            contexts=(context,) if context else (),
            started_ns=at_ns,
            ended_ns=at_ns,
            service=None,
            destination=letter.destination if letter else None,
            system=letter.system if letter else None,
            replay=replay,
        )
        self.publications.append(draft)
        if context:
            self._by_context[context] = draft

    def join(self) -> None:
        """Find for every consumption what it consumed, then for every publication what it followed from."""
        unjoined = [proof for proof in self._consumed if not self._join_exactly(proof)]
        for proof in unjoined:
            self._join_by_order(proof)
        for proof in self._consumed:
            for context in proof.spans:
                self.consumers[context] = self._of_proof[proof.context]
        for publication in self.publications:
            start = publication.proof.context if publication.proof else publication.via
            if start is not None and not publication.replay:
                self._hang_below(publication, self.delivery_around(start, publication))
        self._guess_causes()

    def delivery_around(self, start: Context, publication: PublicationDraft | None = None) -> DeliveryDraft | None:
        """The delivery whose consumer's span holds the span at `start`, however deep."""
        at: Context | None = start
        seen: set[Context] = set()
        while at is not None and at not in seen:
            seen.add(at)
            if found := self.consumers.get(at):
                return _likeliest(found, publication)
            span = self.spans.get(at)
            at = parent_of(span) if span else None
        return None

    def published_under(self, context: Context) -> PublicationDraft | None:
        return self._by_context.get(context)

    def _add_publish(self, proof: HopEvidence) -> None:
        draft = PublicationDraft(
            contexts=proof.contexts,
            started_ns=proof.span.start_ns,
            ended_ns=max(proof.span.start_ns, proof.span.end_ns),
            service=proof.service,
            destination=proof.destination,
            system=proof.system,
            proof=proof,
        )
        self.publications.append(draft)
        for context in (*proof.contexts, *proof.spans):
            self._by_context.setdefault(context, draft)
        for message_id in proof.message_ids:
            self._by_message.setdefault(message_id, []).append(draft)
        if proof.destination and proof.offset is not None:
            self._by_position.setdefault((proof.destination, proof.partition or "", proof.offset), draft)

    def _join_exactly(self, proof: HopEvidence) -> bool:
        linked = {Context(link.trace_id, link.span_id) for link in proof.span.links}
        known = {id(d): (d, c) for c in reversed(proof.contexts) if (d := self._by_context.get(c))}
        for draft, context in known.values():
            self._deliver(draft, proof, JoinedBy.LINK if context in linked else JoinedBy.PARENT)
        if known:
            return True
        candidates = [
            draft
            for message_id in proof.message_ids
            for draft in self._by_message.get(message_id, [])
            if None in (draft.destination, proof.destination) or draft.destination == proof.destination
        ]
        if candidates:
            # Published twice under one id, the later of those already sent is the likelier.
            before = [draft for draft in candidates if draft.started_ns <= proof.span.start_ns] or candidates[:1]
            self._deliver(max(before, key=lambda draft: draft.order), proof, JoinedBy.MESSAGE_ID)
            return True
        if proof.destination and proof.offset is not None:
            draft_here = self._by_position.get((proof.destination, proof.partition or "", proof.offset))
            if draft_here is not None:
                self._deliver(draft_here, proof, JoinedBy.POSITION)
                return True
        if proof.contexts:
            # It came with a context that nobody here published under: another message, whose publisher is not seen.
            self._deliver(self._conclude(proof), proof, JoinedBy.NOTHING)
            return True
        return False

    def _join_by_order(self, proof: HopEvidence) -> None:
        """No context, no id, no position: the oldest publication of this destination the group has not had yet."""
        if proof.correlation_id is not None:
            candidates = self._in_order().get((proof.destination, proof.correlation_id), [])
            reader = (proof.destination, proof.correlation_id, proof.service, proof.group)
            place = self._read_up_to.get(reader, 0)
            while place < len(candidates) and _has_had(candidates[place], proof):
                place += 1
            self._read_up_to[reader] = place
            if place < len(candidates) and candidates[place].started_ns <= proof.span.start_ns:
                self._deliver(candidates[place], proof, JoinedBy.GUESSED)
                return
        self._deliver(self._conclude(proof), proof, JoinedBy.NOTHING)

    def _in_order(self) -> dict[tuple[str | None, str], list[PublicationDraft]]:
        """Publications by destination and correlation id, oldest first."""
        if self._ordered is None:
            self._ordered = {}
            for draft in sorted(self.publications, key=lambda d: d.order):
                if draft.proof is not None and draft.proof.correlation_id is not None:
                    key = (draft.destination, draft.proof.correlation_id)
                    self._ordered.setdefault(key, []).append(draft)
        return self._ordered

    def _conclude(self, proof: HopEvidence) -> PublicationDraft:
        contexts = tuple(sorted(proof.contexts)) or (proof.context,)
        key = (contexts, proof.destination if proof.contexts else None)
        draft = self._concluded.get(key)
        if draft is None:
            via = next((context for context in contexts if context in self.spans and proof.contexts), None)
            sender = self.spans[via] if via else None
            at = min(sender.start_ns, proof.span.start_ns) if sender else proof.span.start_ns
            draft = PublicationDraft(
                contexts=contexts if proof.contexts else (),
                started_ns=at,
                ended_ns=at,
                service=sender.service if sender else None,
                destination=proof.destination,
                system=proof.system,
                via=via,
            )
            self._concluded[key] = draft
            self.publications.append(draft)
        return draft

    def _deliver(self, draft: PublicationDraft, proof: HopEvidence, joined_by: JoinedBy) -> None:
        identity: object = None
        if proof.offset is not None:
            identity = (proof.partition, proof.offset)
        elif len(proof.message_ids) == 1:
            identity = proof.message_ids[0]
        group = proof.group or proof.service
        key = (id(draft), proof.service, group, proof.destination, identity)
        delivery = self._deliveries.get(key)
        if delivery is None:
            delivery = DeliveryDraft(draft, proof.service, group, proof.destination, joined_by)
            self._deliveries[key] = delivery
            draft.deliveries.append(delivery)
        delivery.proofs.append(proof)
        self._of_proof.setdefault(proof.context, []).append(delivery)

    def _hang_below(self, publication: PublicationDraft, delivery: DeliveryDraft | None) -> bool:
        """Refuses to close a circle, which only broken or hostile spans can ask for."""
        at = delivery
        while at is not None:
            if at.publication is publication:
                return False
            at = at.publication.parent
        if delivery is None:
            return False
        publication.parent = delivery
        delivery.caused.append(publication)
        return True

    def _guess_causes(self) -> None:
        """Iterators that end the span before the user's code runs leave what it publishes in a new trace, unlinked."""
        working: dict[tuple[str | None, str | None], list[DeliveryDraft]] = {}
        for delivery in sorted(self.deliveries(), key=lambda d: d.order):
            for correlation_id in {proof.correlation_id for proof in delivery.proofs}:
                working.setdefault((delivery.service, correlation_id), []).append(delivery)
        for publication in sorted(self.publications, key=lambda d: d.order):
            proof = publication.proof
            if proof is None or publication.parent or publication.replay or proof.correlation_id is None:
                continue
            if proof.span.parent_id is not None:
                continue
            found = working.get((publication.service, proof.correlation_id), [])
            begun = bisect_right(found, publication.started_ns, key=lambda d: d.proofs[0].span.start_ns)
            for delivery in reversed(found[max(0, begun - GUESSES) : begun]):
                if delivery.proofs[0].span.trace_id != proof.span.trace_id:
                    publication.guessed = self._hang_below(publication, delivery)
                    break


def _has_had(draft: PublicationDraft, proof: HopEvidence) -> bool:
    return any(d.group == proof.group and d.service == proof.service for d in draft.deliveries)


def _likeliest(found: list[DeliveryDraft], publication: PublicationDraft | None) -> DeliveryDraft:
    """Of a batch's deliveries the one with the publication's correlation id, else the first."""
    proof = publication.proof if publication else None
    if proof is not None and proof.correlation_id is not None and len(found) > 1:
        for delivery in found:
            origin = delivery.publication.proof
            if origin is not None and origin.correlation_id == proof.correlation_id:
                return delivery
    return found[0]
