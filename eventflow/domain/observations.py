"""The frozen values that describe the outside world: what collectors emit and everything else is built from.

Instants are timezone-aware UTC datetimes (`…_at`), except inside spans, where they are integer nanoseconds since
the epoch (`…_ns`) as OpenTelemetry has them. `None` means "not known", never "zero" and never "none there".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from eventflow.domain.columns import SpanColumns

AttributeValue: TypeAlias = "str | bool | int | float | bytes | list[AttributeValue] | dict[str, AttributeValue] | None"
Attributes: TypeAlias = Mapping[str, AttributeValue]


class SpanKind(StrEnum):
    """OpenTelemetry's span kinds."""

    UNSPECIFIED = "unspecified"
    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class SpanStatus(StrEnum):
    """OpenTelemetry's span status codes."""

    UNSET = "unset"
    OK = "ok"
    ERROR = "error"


class Operation(StrEnum):
    """`messaging.operation.type` of the current conventions (1.44)."""

    CREATE = "create"
    SEND = "send"
    RECEIVE = "receive"
    PROCESS = "process"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class SpanLink:
    """A link to another span; per-message attributes of a batch stand here."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened during a span, such as an `exception`."""

    name: str
    at_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Messaging:
    """A span's messaging attributes in the current conventions' terms, whatever dialect they arrived in.

    `rules` tells for each field what gave it, e.g. ``{"group": "messaging.kafka.consumer.group"}``.
    """

    system: str | None = None
    operation: Operation | None = None
    operation_name: str | None = None
    destination: str | None = None
    partition: str | None = None
    group: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    event_type: str | None = None
    key: str | None = None
    offset: str | None = None
    body_size: int | None = None
    batch_size: int | None = None
    attempt: int | None = None
    client_id: str | None = None
    outcome: str | None = None
    """How a settle ended: ``ack``, ``nack``, ``reject``, ``dead_letter``, …"""
    rules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """One span, whole. Ids are lower-case hex (32 and 16 digits)."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    service: str
    status: SpanStatus = SpanStatus.UNSET
    status_message: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    resource: Attributes = field(default_factory=dict)
    scope: str = ""
    scope_version: str = ""
    messaging: Messaging | None = None
    correlation_id: str | None = None
    """The flow's id as the configured correlation keys found it on this span; None if the span holds none."""
    correlation_rule: str | None = None
    """The attribute that gave `correlation_id`."""


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """The spans of one export request. `body` is the request as OTLP protobuf, uncompressed: what a store keeps.

    packed   (``gzip`` or ``zstd``, the body as it was sent) where the sender had packed it: a store may keep that
    columns  the body scanned, by the format that the store reads with; None: the store scans it itself
    spans    all of them whole, where the sender of the batch had them anyway; else empty
    """

    body: bytes
    received_at: datetime
    spans: tuple[Span, ...] = ()
    columns: "SpanColumns | None" = None
    packed: tuple[str, bytes] | None = None


class LagSample(NamedTuple):
    """How far one consumer group is behind on one destination (and partition), as the broker tells it.

    A tuple, because ten thousand of them are made every few seconds: a frozen dataclass takes twice the time.

    ready        messages waiting for a first delivery, None if unknown (then `unknown_reason` says why)
    in_flight    delivered, not acknowledged
    oldest_at    when the oldest waiting message was published; None if nothing waits or it is unknown
    method       how it was measured: ``broker-exact``, ``broker-approximate``, ``probe-exact``, ``interpolated``,
                 ``little``, ``spans``, ``reported`` (metrics that somebody else measured and sent us)
    error_seconds  how wrong `oldest_at` may be
    published_total, delivered_total, settled_total  monotonic counters to take rates from (per group's filter if known)
    """

    source: str
    system: str
    destination: str
    group: str
    at: datetime
    ready: int | None
    partition: str | None = None
    in_flight: int | None = None
    redelivered: int | None = None
    unknown_reason: str | None = None
    oldest_at: datetime | None = None
    method: str = "broker-exact"
    error_seconds: float | None = None
    published_total: int | None = None
    delivered_total: int | None = None
    settled_total: int | None = None
    members: int | None = None
    paused: bool = False
    container: str | None = None
    """What holds the destination, e.g. the JetStream stream of a subject."""
    subscriptions: tuple[str, ...] = ()
    """Every destination this group is configured to read (filter subjects); `destination` is the one shown."""
    retained: int | None = None
    """How many messages a log still keeps here, where it is known to have dropped older ones; else None."""
    lost: int | None = None
    """How many were dropped before this group got them, as far as its position tells."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A consumer of a group, as far as the broker tells.

    partitions  (destination, partition) that it reads alone now
    in_flight   delivered to it, not acknowledged
    active_at   when the broker last heard of it; `got_at` when it last got or settled a message
    told        what else the broker tells of it, in words: (name, value)
    """

    id: str
    client: str = ""
    host: str = ""
    partitions: tuple[tuple[str, str], ...] = ()
    in_flight: int | None = None
    active_at: datetime | None = None
    got_at: datetime | None = None
    told: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """Who is in a consumer group, and who reads what there, as the broker tells it.

    members      None: not told; then `note` says why
    destination  the only one that this is about; None: all that the group reads
    told         what the broker tells of the group's readers together, in words: (name, value)
    """

    source: str
    system: str
    group: str
    at: datetime
    members: tuple[GroupMember, ...] | None
    destination: str | None = None
    told: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class DestinationSample:
    """A topic, queue, stream or subject, as the broker tells it."""

    source: str
    system: str
    destination: str
    kind: str
    """``topic``, ``queue``, ``stream`` or ``subject``."""
    at: datetime
    messages: int | None = None
    size_bytes: int | None = None
    published_total: int | None = None
    partitions: int | None = None
    container: str | None = None
    dead_letters_of: tuple[str, ...] = ()
    """Not empty: this is a dead-letter destination, for these destinations or groups."""
    dead_letter_certainty: str | None = None
    """``configured``, ``header-proved``, ``span-proved`` or ``by-name``."""
    letters_lost: str | None = None
    """Why dead letters can't get from here to their place, or, at a dead-letter destination, can't arrive or stay."""
    kept_seconds: float | None = None
    """At a dead-letter destination: how long the broker keeps a message at most; None: for ever, or not known."""
    kept_messages: int | None = None
    """At a dead-letter destination: how many messages the broker keeps at most."""
    oldest_at: datetime | None = None
    """At a dead-letter destination: since when its oldest message is there."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message given up on. Its identity is (source, location, position); offering it twice is harmless.

    location, position  where the letter lies now: dead-letter destination and sequence (or partition:offset, or id)
    destination, group  where it failed
    headers             in order, repeated names kept; values as text (no UTF-8: base64 after ``base64:``)
    payload             the body, or None when it is gone or may not be read (`payload_note` says why)
    evidence            field → what gave it, e.g. ``{"error_type": "header X-Error-Type"}``
    """

    source: str
    system: str
    location: str
    position: str
    captured_at: datetime
    destination: str | None = None
    group: str | None = None
    service: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    event_type: str | None = None
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    payload: bytes | None = None
    payload_size: int | None = None
    payload_note: str | None = None
    content_type: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    stack: str | None = None
    attempts: int | None = None
    published_at: datetime | None = None
    failed_at: datetime | None = None
    convention: str | None = None
    replay_token: str | None = None
    """The `Eventflow-Replay` header, when this letter is a replayed one that failed again."""
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a collector fares: ``connecting``, ``ok``, ``blind`` (will try again) or ``stopped`` (will not)."""

    source: str
    system: str
    state: str
    at: datetime
    message: str = ""
    address: str = ""
    """Host and port without credentials."""
    rights: Mapping[str, str] = field(default_factory=dict)
    """What each right unlocks: ``allowed``, ``denied`` or ``unknown``."""
    calls: int = 0
    received_bytes: int = 0
    cycle_seconds: float = 0.0
    pause_seconds: float = 0.0
    """How much longer than usual the next look is put off, because this one went over its budget."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """What a receiver took, refused, left out or found odd since its start: words → how often."""
    cursors: Mapping[str, int] = field(default_factory=dict)
    """How far what lies at the source was read *and stored*: given back as `resume` after a restart."""


Observation: TypeAlias = SpanBatch | LagSample | GroupMembers | DestinationSample | DeadLetter | SourceStatus
