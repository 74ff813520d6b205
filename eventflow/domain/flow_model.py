"""The values a flow consists of: publications, their deliveries, the attempts of each, dead letters and replays.

Frozen and complete: a page or an API answer is made of a `Flow` without asking anything else. Times are nanoseconds
since the epoch; None means "not known". `flow.assemble` builds them; nothing here computes more than a sum.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from eventflow.domain.failure import Failure
from eventflow.domain.flow_summary import FlowStatus, ServiceMark
from eventflow.domain.hop import Context
from eventflow.domain.observations import Span


class JoinedBy(StrEnum):
    """What joined a delivery to its publication. All but the last are exact."""

    LINK = "span link"
    PARENT = "remote parent"
    MESSAGE_ID = "message id"
    POSITION = "broker position"
    GUESSED = "correlation id and order"
    NOTHING = "publisher not seen"


class DeliveryStatus(StrEnum):
    """Where one consumer group stands with one message."""

    OK = "ok"
    RETRYING = "retrying"
    FAILED = "failed"
    DEAD_LETTERED = "dead-lettered"
    REPLAYING = "replaying"
    RECOVERED = "recovered"


class LetterStatus(StrEnum):
    """What became of a dead letter."""

    OPEN = "open"
    REPLAYING = "replaying"
    REPLAYED = "replayed"
    RESOLVED = "resolved"
    ARCHIVED = "archived"


class ReplayState(StrEnum):
    """What is known of one replayed message."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    CONSUMED = "consumed"
    CONFIRMED = "confirmed"
    FAILED_AGAIN = "failed_again"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FlowLetter:
    """A dead letter as a flow sees it. `trace_id`, `span_id` are its own traceparent, often a rewritten one."""

    id: str
    location: str
    group: str | None = None
    destination: str | None = None
    message_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    failed_at: datetime | None = None
    error_type: str | None = None
    error_message: str | None = None
    stack: str | None = None
    attempts: int | None = None
    status: LetterStatus = LetterStatus.OPEN
    correlation_id: str | None = None
    correlation_rule: str | None = None
    service: str | None = None
    system: str | None = None
    event_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    payload: bytes | None = None
    payload_note: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class FlowReplay:
    """One message sent once more. `trace_id`, `span_id` are the send context that Eventflow put into its headers."""

    id: str
    letter_id: str | None
    state: ReplayState
    trace_id: str | None = None
    span_id: str | None = None
    at: datetime | None = None
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a consumer over one message."""

    span_id: str
    trace_id: str
    started_ns: int
    ended_ns: int
    failed: bool
    error: Failure | None
    number: int
    outcome: str | None = None
    spans: tuple[Context, ...] = ()


@dataclass(frozen=True, slots=True)
class DeadLettering:
    """A delivery given up on: the publish to the dead-letter destination, the letter itself, or both.

    certain  False when only the destination's name says that it takes dead letters
    """

    destination: str
    at_ns: int | None
    letter: FlowLetter | None = None
    publication: "Publication | None" = None
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message given to one consumer group, over all its attempts.

    waited_from_ns  when the wait in the broker began; None if the publisher was not seen
    wait_ns         never negative; `skew_ns` says by how much the clocks contradict each other
    backoffs        (start, end) between attempts
    caused          what this consumer published while it worked on the message
    """

    service: str
    group: str
    system: str | None
    destination: str | None
    status: DeliveryStatus
    joined_by: JoinedBy
    attempts: tuple[Attempt, ...]
    waited_from_ns: int | None = None
    wait_ns: int | None = None
    skew_ns: int = 0
    backoffs: tuple[tuple[int, int], ...] = ()
    caused: tuple["Publication", ...] = ()
    dead_lettering: DeadLettering | None = None
    replays: tuple["Publication", ...] = ()
    group_inferred: bool = False

    @property
    def started_ns(self) -> int:
        return self.attempts[0].started_ns

    @property
    def ended_ns(self) -> int:
        return max(attempt.ended_ns for attempt in self.attempts)

    @property
    def failed(self) -> bool:
        """True while nobody has made it good: failed, being tried again, or lying as a dead letter."""
        return self.status not in (DeliveryStatus.OK, DeliveryStatus.RECOVERED)

    @property
    def error(self) -> Failure | None:
        """The last attempt's error that is known."""
        return next((attempt.error for attempt in reversed(self.attempts) if attempt.error), None)


@dataclass(frozen=True, slots=True)
class Publication:
    """One message published, and everyone who got it.

    service   None when the publisher was not seen (no instrumentation, or its spans are not here)
    awaiting  groups known to read this destination that have not consumed it yet
    replay    set when Eventflow itself sent this message once more
    guessed   the delivery above it was found by service, correlation id and order only
    """

    service: str | None
    system: str | None
    destination: str | None
    event_type: str | None
    message_id: str | None
    at_ns: int
    started_ns: int
    ended_ns: int
    contexts: tuple[Context, ...]
    spans: tuple[Context, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    awaiting: tuple[str, ...] = ()
    waiting: bool = False
    failed: bool = False
    failure: Failure | None = None
    replay: FlowReplay | None = None
    guessed: bool = False

    @property
    def span_id(self) -> str | None:
        return self.spans[0].span_id if self.spans else None


@dataclass(frozen=True, slots=True)
class KeyOrigin:
    """Where a flow's key stands. `direct` spans hold it, `inherited` ones belong by trace, link or letter."""

    rule: str
    direct: int
    inherited: int
    guess: bool = False
    """True when it was only found on a batch's span, where the last message's id wins."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Everything that carries one correlation id (or one trace, where there is none)."""

    key: str
    kind: str
    status: FlowStatus
    status_place: str | None
    started_ns: int
    ended_ns: int
    roots: tuple[Publication, ...]
    trace_ids: tuple[str, ...]
    services: tuple[ServiceMark, ...]
    key_origin: KeyOrigin | None
    spans: Mapping[Context, Span] = field(default_factory=dict)
    other_spans: tuple[Context, ...] = ()
    """Spans that are no evidence for a hop: requests, queries, the application's own work, plumbing."""
    unplaced_letters: tuple[FlowLetter, ...] = ()
    """Letters of this flow that no delivery seen here explains."""
    letters: tuple[FlowLetter, ...] = ()
    replays: tuple[FlowReplay, ...] = ()

    def publications(self) -> Iterator[Publication]:
        """Every publication, parents before children; dead-letter publishes and replays included."""
        pending = list(reversed(self.roots))
        while pending:
            publication = pending.pop()
            yield publication
            below: list[Publication] = []
            for delivery in publication.deliveries:
                below.extend(children_of(delivery))
            pending.extend(reversed(below))

    def deliveries(self) -> Iterator[Delivery]:
        """Every delivery, in the order of `publications`."""
        for publication in self.publications():
            yield from publication.deliveries

    def duration_ns(self, now_ns: int) -> int:
        """How long it took, or takes: an unfinished flow goes on until now."""
        open_ended = self.status in (FlowStatus.WAITING, FlowStatus.RUNNING)
        return max(0, (max(now_ns, self.ended_ns) if open_ended else self.ended_ns) - self.started_ns)


def children_of(delivery: Delivery) -> tuple[Publication, ...]:
    """What hangs below a delivery: what it published, its dead-letter publish, its replays."""
    dead = delivery.dead_lettering.publication if delivery.dead_lettering else None
    return (*delivery.caused, *((dead,) if dead else ()), *delivery.replays)
