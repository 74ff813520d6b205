"""JetStream's answers → observations. Pure: no I/O, no clock; what can't be read becomes None, never an exception."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eventflow.domain.observations import GroupMembers, LagSample

SYSTEM = "nats"
NOT_TOLD = "JetStream does not tell who reads, nor how many share a queue group: spans do."
ACKNOWLEDGES = {"explicit": "each message", "all": "all up to a message", "none": "nothing: delivered is done"}


@dataclass(frozen=True, slots=True)
class Message:
    """One stored message. Header values that are no UTF-8 stand as base64 with a `base64:` prefix."""

    stream: str
    subject: str
    seq: int
    stored_at: datetime | None
    headers: tuple[tuple[str, str], ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Advisory:
    """The broker says that a consumer gave a message up; it lies in the stream at `seq`."""

    stream: str
    seq: int
    consumer: str
    deliveries: int | None
    terminated: bool
    reason: str | None
    at: datetime | None


def integer(value: object) -> int | None:
    """A whole number, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def moment(value: object) -> datetime | None:
    """An RFC 3339 instant; None for Go's zero time and for what is none."""
    if not isinstance(value, str) or value.startswith("0001-"):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else None


def subject_matches(pattern: str, subject: str) -> bool:
    """Whether a NATS pattern (`*` one token, `>` the rest) takes this subject."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(given) > index
        if index >= len(given) or part not in {"*", given[index]}:
            return False
    return len(wanted) == len(given)


def has_wildcard(subject: str) -> bool:
    """Whether a subject is a pattern."""
    return any(token in {"*", ">"} for token in subject.split("."))


def headers(raw: bytes) -> tuple[tuple[str, str], ...]:
    """A NATS header block in order, repeated names kept."""
    pairs = []
    for line in raw.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon and name.strip():
            pairs.append((name.strip().decode("utf-8", "replace"), _text(value.strip())))
    return tuple(pairs)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()


def _unbase64(value: object) -> bytes:
    try:
        return base64.b64decode(value) if isinstance(value, str) else b""
    except ValueError:
        return b""


def stored_message(stream: str, found: Mapping[str, Any]) -> Message | None:
    """The answer of STREAM.MSG.GET."""
    seq = integer(found.get("seq"))
    if seq is None:
        return None
    return Message(
        stream,
        str(found.get("subject", "")),
        seq,
        moment(found.get("time")),
        headers(_unbase64(found.get("hdrs"))),
        _unbase64(found.get("data")),
    )


def direct_message(stream: str, found: Mapping[str, str], data: bytes) -> Message | None:
    """The answer of DIRECT.GET: the message itself, its place told in extra headers."""
    if not found.get("Nats-Sequence", "").isdigit():
        return None
    own = {"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"}
    return Message(
        stream,
        found.get("Nats-Subject", ""),
        int(found["Nats-Sequence"]),
        moment(found.get("Nats-Time-Stamp")),
        tuple((name, value) for name, value in found.items() if name not in own),
        data,
    )


def advisory(data: bytes) -> Advisory | None:
    """A MAX_DELIVERIES or MSG_TERMINATED advisory; None for anything else."""
    try:
        found = json.loads(data)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    kind, seq = str(found.get("type", "")), integer(found.get("stream_seq"))
    stream, consumer = found.get("stream"), found.get("consumer")
    known = kind.startswith("io.nats.jetstream.advisory.") and kind.rpartition(".")[2] in {"max_deliver", "terminated"}
    if not known or seq is None or not isinstance(stream, str) or not isinstance(consumer, str):
        return None
    reason = found.get("reason")
    return Advisory(
        stream,
        seq,
        consumer,
        integer(found.get("deliveries")),
        kind.endswith("terminated"),
        reason if isinstance(reason, str) and reason else None,
        moment(found.get("timestamp")),
    )


def filters(consumer: Mapping[str, Any]) -> tuple[str, ...]:
    """A consumer's filter subjects; empty when it reads the whole stream."""
    config = consumer.get("config") or {}
    many = config.get("filter_subjects") or []
    one = config.get("filter_subject")
    return tuple(str(subject) for subject in many) or ((str(one),) if one else ())


def durable(consumer: Mapping[str, Any]) -> bool:
    """Whether a consumer outlives its connection: ephemeral and ordered ones come and go and have no lag to watch."""
    return bool((consumer.get("config") or {}).get("durable_name"))


def shown_destination(stream: str, stream_subjects: Sequence[str], consumer_filters: Sequence[str]) -> str:
    """What a consumer reads, as pages name it: its one subject or pattern, else the stream."""
    read = consumer_filters or stream_subjects
    return read[0] if len(read) == 1 and read[0] != ">" else stream


def published_total(state: Mapping[str, Any], counts: Mapping[str, int] | None, read: Sequence[str]) -> int | None:
    """How many messages were ever published on the subjects `read`, where the stream's state proves it; else None."""
    last = integer(state.get("last_seq")) or 0
    if not read or tuple(read) == (">",):
        return last
    if counts is None or (integer(state.get("first_seq")) or 0) > 1 or state.get("num_deleted"):
        return None
    return sum(count for subject, count in counts.items() if any(subject_matches(p, subject) for p in read))


def waiting_position(consumer: Mapping[str, Any], given_up: frozenset[int] | set[int] = frozenset()) -> int | None:
    """The sequence from which to look for the oldest message that is not done; None when there is none.

    Ready messages lie after the last delivered one. In-flight ones lie after the ack floor, but that floor stays at a
    given-up message until an acknowledgement empties the consumer: those known to be given up are stepped over.
    """
    config = consumer.get("config") or {}
    if config.get("deliver_policy") == "last_per_subject":
        return None
    delivered = integer((consumer.get("delivered") or {}).get("stream_seq")) or 0
    if consumer.get("num_pending"):
        return delivered + 1
    if not consumer.get("num_ack_pending"):
        return None
    seq = (integer((consumer.get("ack_floor") or {}).get("stream_seq")) or 0) + 1
    while seq in given_up:
        seq += 1
    return seq if seq <= delivered else None


def readers(source: str, lag: LagSample, consumer: Mapping[str, Any]) -> GroupMembers:
    """What JetStream tells of a consumer's readers: how they get messages and whether somebody is there, never who."""
    config = consumer.get("config") or {}
    told: dict[str, object] = {}
    if to := config.get("deliver_subject"):
        told["pushed to"], told["queue group"] = to, config.get("deliver_group")
        told["somebody subscribed"] = "yes" if consumer.get("push_bound") else "no"
    else:
        told["pulls waiting"] = integer(consumer.get("num_waiting"))
        told["most pulls waiting"] = config.get("max_waiting")
    told["acknowledges"] = ACKNOWLEDGES.get(str(config.get("ack_policy")))
    told["most unacknowledged"] = config.get("max_ack_pending")
    told["most deliveries"] = config.get("max_deliver") if (integer(config.get("max_deliver")) or 0) > 0 else None
    told["leader"] = (consumer.get("cluster") or {}).get("leader")
    words = tuple((name, str(value)[:200]) for name, value in told.items() if value not in (None, ""))
    return GroupMembers(source, SYSTEM, lag.group, lag.at, None, lag.destination, words, NOT_TOLD)


def lag(
    source: str,
    stream: Mapping[str, Any],
    consumer: Mapping[str, Any],
    *,
    at: datetime,
    oldest_at: datetime | None,
    counts: Mapping[str, int] | None = None,
) -> LagSample:
    """One durable consumer's lag.

    Never last_seq − delivered.stream_seq: with a filter that counts other subjects' messages too.
    """
    config = stream.get("config") or {}
    name, subjects = str(config.get("name", "")), [str(s) for s in config.get("subjects") or []]
    read = filters(consumer)
    ready, in_flight = integer(consumer.get("num_pending")), integer(consumer.get("num_ack_pending"))
    delivered = integer((consumer.get("delivered") or {}).get("consumer_seq"))
    return LagSample(
        source=source,
        system=SYSTEM,
        destination=shown_destination(name, subjects, read),
        group=str((consumer.get("config") or {}).get("durable_name") or consumer.get("name", "")),
        at=at,
        ready=ready,
        in_flight=in_flight,
        redelivered=integer(consumer.get("num_redelivered")),
        unknown_reason=None if ready is not None else "the server did not tell num_pending",
        oldest_at=oldest_at,
        published_total=published_total(stream.get("state") or {}, counts, read),
        delivered_total=delivered,
        settled_total=None if delivered is None or in_flight is None else max(0, delivered - in_flight),
        paused=bool(consumer.get("paused")),
        container=name,
        subscriptions=read or tuple(subjects),
        # A work queue drops what is done, so that all it keeps waits: no sign that something will be lost.
        lost=None if str(config.get("retention", "limits")) == "limits" else 0,
    )
