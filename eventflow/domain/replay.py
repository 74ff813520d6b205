"""Replays: what may be sent again and where (the plan), and what one message went through (the ledger's states).

queued → sending → sent → consumed → confirmed | failed_again. A message leaves `queued` for the broker at most once:
`sending` never goes back there unless the broker was surely not reached; what a crash hid becomes `unknown` and stays
with a person. Pure; `now` is given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

MAX_LINEAGE = 5
"""A message that came back this often goes round in a loop: a person has to change something first."""
TYPE_THE_NUMBER_OVER = 100


class ItemState(StrEnum):
    """Where one message's replay stands."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    CONSUMED = "consumed"
    CONFIRMED = "confirmed"
    FAILED_AGAIN = "failed_again"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    CANCELLED = "cancelled"


OUTSTANDING = frozenset({ItemState.QUEUED, ItemState.SENDING, ItemState.SENT, ItemState.CONSUMED})
OBSERVED = frozenset({ItemState.SENDING, ItemState.SENT, ItemState.CONSUMED, ItemState.UNKNOWN})
"""States in which evidence from outside still says something new."""


@dataclass(frozen=True, slots=True)
class Item:
    """One message's replay."""

    state: ItemState
    claimed_at: datetime | None = None
    sent_at: datetime | None = None
    consumed_at: datetime | None = None
    finished_at: datetime | None = None
    position: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A sender took it, in its own transaction, before it touches the broker."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The broker took the message and said where."""

    position: str


@dataclass(frozen=True, slots=True)
class Declined:
    """Sending failed. `reached` tells whether the broker may hold the message all the same."""

    message: str
    permanent: bool
    reached: bool


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The sender that claimed it is gone and left no word."""


@dataclass(frozen=True, slots=True)
class Consumed:
    """A span of the target group's consumer that continues or links to the replay's own span."""

    at: datetime
    ok: bool
    service: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """A dead letter with this replay's token."""

    at: datetime
    where: str


@dataclass(frozen=True, slots=True)
class Drained:
    """The broker says the group has settled everything since, and no letter came back."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Unseen:
    """Nothing at all was seen of it for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person, or the automatic stop, called the rest off."""

    reason: str


Evidence: TypeAlias = "Claimed | Accepted | Declined | Interrupted | Consumed | Returned | Drained | Unseen | Cancelled"

INTERRUPTED_NOTE = "Eventflow stopped while sending; check the flow, then replay again"


def next_state(item: Item, evidence: Evidence, now: datetime) -> Item:
    """`item` after `evidence`; the same item where it says nothing new."""
    state = item.state
    match evidence:
        case Claimed() if state is ItemState.QUEUED:
            return replace(item, state=ItemState.SENDING, claimed_at=now, note="")
        case Cancelled(reason) if state is ItemState.QUEUED:
            return replace(item, state=ItemState.CANCELLED, finished_at=now, note=reason)
        case Accepted(position) if state is ItemState.SENDING:
            return replace(item, state=ItemState.SENT, sent_at=now, position=position)
        case Accepted(position) if state in OBSERVED and not item.position:
            return replace(item, sent_at=item.sent_at or now, position=position)
        case Declined() if state is ItemState.SENDING:
            return _declined(item, evidence, now)
        case Interrupted() if state is ItemState.SENDING:
            return replace(item, state=ItemState.UNKNOWN, finished_at=now, note=INTERRUPTED_NOTE)
        case Consumed() if state in OBSERVED:
            return _consumed(item, evidence, now)
        case Returned(at, where) if state in OBSERVED or state is ItemState.CONFIRMED:
            note = f"Came back to {where}"
            return replace(item, state=ItemState.FAILED_AGAIN, sent_at=item.sent_at or at, finished_at=now, note=note)
        case Drained(seconds) if state is ItemState.SENT:
            note = f"The group has settled everything since and no letter came back in {seconds:.0f} s"
            return replace(item, state=ItemState.CONFIRMED, finished_at=now, note=note)
        case Unseen(seconds) if state in (ItemState.SENT, ItemState.CONSUMED):
            seen = "No consumer was seen" if state is ItemState.SENT else "It was tried, its end was not seen"
            return replace(item, state=ItemState.UNKNOWN, finished_at=now, note=f"{seen} within {seconds / 60:.0f} min")
    return item


def _declined(item: Item, declined: Declined, now: datetime) -> Item:
    if declined.permanent:
        return replace(item, state=ItemState.REFUSED, finished_at=now, note=declined.message)
    if not declined.reached:
        return replace(item, state=ItemState.QUEUED, claimed_at=None, note=declined.message)
    note = f"{declined.message}. The broker may have taken it; check the flow, then replay again"
    return replace(item, state=ItemState.UNKNOWN, finished_at=now, note=note)


def _consumed(item: Item, seen: Consumed, now: datetime) -> Item:
    sent_at, consumed_at = item.sent_at or seen.at, item.consumed_at or seen.at
    if seen.ok:
        note = f"Processed by {seen.service}" if seen.service else "Processed by its consumer"
        return replace(
            item, state=ItemState.CONFIRMED, sent_at=sent_at, consumed_at=consumed_at, finished_at=now, note=note
        )
    note = f"An attempt at {seen.service or 'the consumer'} failed; more may follow"
    if (
        item.state is ItemState.UNKNOWN
    ):  # what came to an end is never outstanding again: its letter may be on a new way
        return (
            replace(item, sent_at=sent_at, consumed_at=consumed_at, note=f"{note}. {item.note}")
            if not item.consumed_at
            else item
        )
    return replace(item, state=ItemState.CONSUMED, sent_at=sent_at, consumed_at=consumed_at, note=note)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dead letter that somebody wants replayed."""

    pk: int
    source: str
    system: str
    status: str
    destination: str
    group: str
    payload_size: int | None
    has_payload: bool
    payload_note: str = ""
    outstanding: bool = False
    replay_count: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a letter is left out."""

    pk: int
    reason: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where a part of the replay goes."""

    source: str
    system: str
    destination: str
    group: str
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The frozen set: exactly these letters, these targets; what is refused and why."""

    accepted: tuple[int, ...]
    refusals: tuple[Refusal, ...]
    targets: tuple[Target, ...]
    replayed_before: int
    size_bytes: int


def refusal(letter: Candidate) -> str | None:
    """Why this letter may not be replayed now, or None."""
    if letter.outstanding:
        return "is being replayed already"
    if letter.status == "archived":
        return "is archived; restore it first"
    if letter.status == "resolved":
        return "was replayed and recovered"
    if letter.status == "replayed":
        return "was replayed and failed again; replay the letter it came back as"
    if not letter.destination:
        return "does not tell where it came from"
    if not sendable(letter.system, letter.destination):
        return "names a place where no message may be sent"
    if not letter.has_payload:
        return letter.payload_note or "has no payload any more"
    if "truncated" in letter.payload_note.lower():
        return "has only a part of its payload"
    if letter.replay_count >= MAX_LINEAGE:
        return f"came back {letter.replay_count} times; it would go round in a loop"
    return None


def sendable(system: str, destination: str) -> bool:
    """Whether a name out of a header, which anybody may have written, can be a destination of messages at all."""
    if any(char.isspace() or not char.isprintable() for char in destination):
        return False
    if system != "nats":
        return True
    # The server's own subjects, replies, wildcards and empty tokens.
    parts = destination.split(".")
    return not destination.startswith(("$", "_INBOX")) and all(part and part not in ("*", ">") for part in parts)


def plan(letters: Sequence[Candidate]) -> Plan:
    """What a replay of `letters` would do. Costs nothing and sends nothing."""
    accepted: list[Candidate] = []
    refusals: list[Refusal] = []
    for letter in letters:
        if reason := refusal(letter):
            refusals.append(Refusal(letter.pk, reason))
        else:
            accepted.append(letter)
    counts: dict[tuple[str, str, str, str], int] = {}
    for letter in accepted:
        key = (letter.source, letter.system, letter.destination, letter.group)
        counts[key] = counts.get(key, 0) + 1
    return Plan(
        accepted=tuple(letter.pk for letter in accepted),
        refusals=tuple(refusals),
        targets=tuple(Target(*key, count) for key, count in sorted(counts.items())),
        replayed_before=sum(1 for letter in accepted if letter.replay_count),
        size_bytes=sum(letter.payload_size or 0 for letter in accepted),
    )


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A consumer group and every destination (or pattern) that it reads."""

    group: str
    subscriptions: tuple[str, ...]


def receivers(system: str, destination: str, subscribers: Iterable[Subscriber]) -> tuple[str, ...]:
    """Which groups get a message that is sent to `destination`."""
    same = nats_match if system == "nats" else str.__eq__
    found = {sub.group for sub in subscribers if any(same(pattern, destination) for pattern in sub.subscriptions)}
    return tuple(sorted(found))


def nats_match(pattern: str, subject: str) -> bool:
    """NATS subjects: `*` is one token, `>` is the rest, at least one token."""
    wanted, given = pattern.split("."), subject.split(".")
    for place, part in enumerate(wanted):
        if part == ">":
            return len(given) > place
        if place >= len(given) or part not in ("*", given[place]):
            return False
    return len(wanted) == len(given)
