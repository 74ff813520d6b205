"""Writes the replay ledger. Every change of an item goes through the domain's `next_state` and a filtered UPDATE.

A claim is committed before anything is sent, so that a crash can hide a send's outcome but never cause a second send.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from eventflow.domain import replay as ledger
from eventflow.store.models import DeadLetter, Replay, ReplayItem
from eventflow.store.models.replay import OUTSTANDING
from eventflow.store.record import flow_refresh

AT_ONCE = 100
"""Of a large replay only so many flows are redone and named in the news at once; each is again when it is sent."""
FIELDS = ("state", "claimed_at", "sent_at", "consumed_at", "finished_at", "position", "note")
LETTER_STATUS = {
    ledger.ItemState.QUEUED: "replaying",
    ledger.ItemState.SENDING: "replaying",
    ledger.ItemState.SENT: "replaying",
    ledger.ItemState.CONSUMED: "replaying",
    ledger.ItemState.CONFIRMED: "resolved",
    ledger.ItemState.FAILED_AGAIN: "replayed",
    ledger.ItemState.UNKNOWN: "open",
    ledger.ItemState.REFUSED: "open",
    ledger.ItemState.CANCELLED: "open",
}


def candidates(pks: Sequence[int], *, lock: bool = False) -> list[ledger.Candidate]:
    """The letters as the plan wants them, in the order they failed. One query."""
    letters = DeadLetter.objects.select_for_update() if lock else DeadLetter.objects.all()
    rows = (
        letters.filter(pk__in=pks)
        .order_by("failed_at", "pk")
        .values(
            "pk",
            "source",
            "system",
            "status",
            "destination",
            "consumer_group",
            "payload_size",
            "payload_note",
            "replay_count",
        )
    )
    held = set(DeadLetter.objects.filter(pk__in=pks, payload__isnull=False).values_list("pk", flat=True))
    busy = set(ReplayItem.objects.filter(letter__in=pks, state__in=OUTSTANDING).values_list("letter_id", flat=True))
    return [
        ledger.Candidate(
            pk=row["pk"],
            source=row["source"],
            system=row["system"],
            status=row["status"],
            destination=row["destination"],
            group=row["consumer_group"],
            payload_size=row["payload_size"],
            has_payload=row["pk"] in held,
            payload_note=row["payload_note"],
            outstanding=row["pk"] in busy,
            replay_count=row["replay_count"],
        )
        for row in rows
    ]


def create(
    pks: Sequence[int], *, user: Any, name: str, reason: str, rate_per_second: float, now: datetime
) -> tuple[Replay | None, ledger.Plan]:
    """Freeze the plan and queue its letters, in one transaction; None when nothing may be replayed. Sends nothing."""
    with transaction.atomic():
        plan = ledger.plan(candidates(pks, lock=True))
        if not plan.accepted:
            return None, plan
        made = Replay.objects.create(
            created_at=now,
            created_by=user if getattr(user, "pk", None) else None,
            created_by_name=name,
            reason=reason[:500],
            rate_per_second=max(1.0, min(1000.0, rate_per_second)),
        )
        where = {
            pk: (destination, group)
            for pk, destination, group in DeadLetter.objects.filter(pk__in=plan.accepted).values_list(
                "pk", "destination", "consumer_group"
            )
        }
        ReplayItem.objects.bulk_create(
            ReplayItem(
                replay=made,
                letter_id=pk,
                token=secrets.token_hex(16),
                destination=where[pk][0],
                consumer_group=where[pk][1],
                queued_at=now,
            )
            for pk in plan.accepted
        )
        DeadLetter.objects.filter(pk__in=plan.accepted).update(status="replaying", status_reason="")
    flow_refresh.refresh(flow_keys(plan.accepted[:AT_ONCE]), now)
    return made, plan


def topics_of(item: ReplayItem) -> set[str]:
    """What is news when this item changes."""
    letter = item.letter
    key = letter.correlation_id or letter.trace_id
    found = {"replays", f"replay:{item.replay_id}", "dead-letters", f"dead-letter:{letter.pk}"}
    return found | ({f"flow:{key}"} if key else set())


def claim(pk: int, *, trace_id: str, span_id: str, now: datetime) -> bool:
    """Take one queued item for sending; False when somebody else did, or the replay does not run any more."""
    waiting = ReplayItem.objects.filter(pk=pk, state="queued", replay__state="running")
    return waiting.update(state="sending", claimed_at=now, trace_id=trace_id, span_id=span_id, note="") == 1


def observe(pk: int, evidence: ledger.Evidence, now: datetime) -> set[str]:
    """Let an item go where the evidence leads; returns the news, empty when it stays as it is."""
    with transaction.atomic():
        item = ReplayItem.objects.select_for_update(of=("self",)).select_related("letter").get(pk=pk)
        old = ledger.Item(**{**{name: getattr(item, name) for name in FIELDS}, "state": ledger.ItemState(item.state)})
        new = ledger.next_state(old, evidence, now)
        if new == old:
            return set()
        changed = {name: getattr(new, name) for name in FIELDS}
        if not ReplayItem.objects.filter(pk=pk, state=item.state).update(**changed):
            return set()
        if new.state is not old.state:
            _move_letter(item, new, now)
            _finish(item.replay_id, now)
        topics = topics_of(item)
    flow_refresh.refresh([item.letter.correlation_id or item.letter.trace_id], now)
    return topics


def _move_letter(item: ReplayItem, new: ledger.Item, now: datetime) -> None:
    """The letter's status follows the newest of its items; an archived letter stays archived."""
    newest = ReplayItem.objects.filter(letter=item.letter).order_by("-pk").values_list("pk", flat=True).first()
    if newest == item.pk:
        letter = DeadLetter.objects.filter(pk=item.letter_id).exclude(status="archived")
        letter.update(status=LETTER_STATUS[new.state], status_reason=new.note[:300])


def _finish(replay: UUID, now: datetime) -> None:
    """A replay whose every item came to an end is finished; one that was called off keeps that word."""
    if not ReplayItem.objects.filter(replay=replay, state__in=OUTSTANDING).exists():
        Replay.objects.filter(pk=replay, state__in=("running", "paused")).update(state="finished")
        Replay.objects.filter(pk=replay, finished_at__isnull=True).update(finished_at=now)


def call_off(replay: UUID, *, state: str, note: str, now: datetime) -> tuple[int, set[str]]:
    """Cancel what is still queued: `cancelled` by a person or `stopped` by itself. What is on its way goes on."""
    topics = {"replays", f"replay:{replay}"}
    with transaction.atomic():
        if not Replay.objects.filter(pk=replay, state__in=("running", "paused")).update(state=state, note=note[:500]):
            return 0, set()
        queued = ReplayItem.objects.filter(replay=replay, state="queued")
        pairs = list(queued.select_for_update().order_by("pk").values_list("pk", "letter_id"))
        letters = [letter for _, letter in pairs]
        # What `next_state` says of a queued item that is called off, for all of them at once.
        end = ledger.next_state(ledger.Item(ledger.ItemState.QUEUED), ledger.Cancelled(note), now)
        queued.update(state=end.state, finished_at=end.finished_at, note=end.note)
        moved = DeadLetter.objects.filter(pk__in=letters, status="replaying")
        moved.update(status=LETTER_STATUS[end.state], status_reason=note[:300])
        _finish(replay, now)
    first = letters[:AT_ONCE]
    keys = flow_keys(first)
    flow_refresh.refresh(keys, now)
    topics |= {"dead-letters", *(f"dead-letter:{pk}" for pk in first), *(f"flow:{key}" for key in keys)}
    return len(pairs), topics


def pause(replay: UUID, *, paused: bool) -> set[str]:
    """Hold or let go what is still queued."""
    old, new = ("running", "paused") if paused else ("paused", "running")
    changed = Replay.objects.filter(pk=replay, state=old).update(state=new)
    return {"replays", f"replay:{replay}"} if changed else set()


def orphans(now: datetime, lease_seconds: float) -> list[int]:
    """Items whose sender has not reported within its lease."""
    limit = now - timedelta(seconds=lease_seconds)
    return list(ReplayItem.objects.filter(state="sending", claimed_at__lte=limit).values_list("pk", flat=True))


def flow_keys(pks: Sequence[int]) -> set[str]:
    """The flows that these letters belong to. One query."""
    rows = DeadLetter.objects.filter(pk__in=pks).values_list("correlation_id", "trace_id")
    return {correlation or trace for correlation, trace in rows} - {""}
