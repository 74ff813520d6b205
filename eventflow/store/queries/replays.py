"""Reads the replay ledger: lists with their state bars, one replay with its items, what sender and observer need."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Max, Q

from eventflow.domain.replay_pace import Progress
from eventflow.store.models import ConsumerGroup, Replay, ReplayItem, Source
from eventflow.store.models.replay import OUTSTANDING

LEFT_QUEUE = ("sending", "sent", "consumed", "confirmed", "failed_again", "unknown", "refused")


@dataclass(frozen=True, slots=True)
class Summary:
    """A replay with its items counted by state, and what it was about."""

    replay: Replay
    counts: dict[str, int]
    titles: list[str] = field(default_factory=list)
    targets: list[tuple[str, str]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    systems: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def sent(self) -> int:
        return sum(self.counts.get(state, 0) for state in LEFT_QUEUE) - self.counts.get("sending", 0)

    @property
    def waiting(self) -> int:
        return sum(self.counts.get(state, 0) for state in ("sending", "sent", "consumed"))

    @property
    def confirmed(self) -> int:
        return self.counts.get("confirmed", 0)

    @property
    def failed_again(self) -> int:
        return self.counts.get("failed_again", 0)

    @property
    def queued(self) -> int:
        return self.counts.get("queued", 0)

    @property
    def others(self) -> int:
        """Ends that nobody wished for: unknown, refused, cancelled."""
        return sum(self.counts.get(state, 0) for state in ("unknown", "refused", "cancelled"))

    @property
    def is_live(self) -> bool:
        return self.queued + self.waiting > 0


def _summaries(replays: list[Replay]) -> list[Summary]:
    """Two queries for all of them together."""
    counts: dict[UUID, dict[str, int]] = {}
    about: dict[UUID, list[tuple[str, ...]]] = {}
    ids = [replay.pk for replay in replays]
    items = ReplayItem.objects.filter(replay__in=ids).order_by()
    for replay, state, number in items.values_list("replay_id", "state").annotate(Count("pk")):
        counts.setdefault(replay, {})[state] = number
    columns = (
        "replay_id",
        "letter__group__title",
        "destination",
        "consumer_group",
        "letter__location",
        "letter__system",
    )
    for replay, *what in items.values_list(*columns).distinct():
        about.setdefault(replay, []).append(tuple(what))
    return [
        Summary(
            replay,
            counts.get(replay.pk, {}),
            titles=sorted({row[0] for row in about.get(replay.pk, [])}),
            targets=sorted({(row[1], row[2]) for row in about.get(replay.pk, [])}),
            places=sorted({row[3] for row in about.get(replay.pk, [])}),
            systems=sorted({row[4] for row in about.get(replay.pk, [])}),
        )
        for replay in replays
    ]


def history(text: str = "", before: datetime | None = None, limit: int = 50) -> tuple[list[Summary], int]:
    """Newest first, with how many match. Four queries."""
    found = Replay.objects.all()
    for word in text.split()[:8]:
        found = found.filter(
            Q(reason__icontains=word)
            | Q(created_by_name__icontains=word)
            | Q(items__letter__group__title__icontains=word)
        )
    found = found.distinct()
    total = found.count()
    if before:
        found = found.filter(created_at__lt=before)
    return _summaries(list(found.order_by("-created_at")[:limit])), total


def summary(pk: UUID) -> Summary | None:
    """One replay. Three queries."""
    replay = Replay.objects.filter(pk=pk).first()
    return _summaries([replay])[0] if replay else None


def items(pk: UUID, after: int = 0, limit: int = 200, state: str = "") -> list[ReplayItem]:
    """Its messages in the order they go out. One query."""
    found = ReplayItem.objects.filter(replay=pk, pk__gt=after).select_related("letter").order_by("pk")
    if state:
        found = found.filter(state=state)
    return list(found.defer("letter__payload", "letter__headers", "letter__stack")[:limit])


def live_count() -> int:
    """For the rail's badge: replays with messages on their way. One query."""
    return ReplayItem.objects.filter(state__in=OUTSTANDING).values("replay").distinct().count()


def running() -> list[Replay]:
    """Replays that have something to send. One query."""
    return list(Replay.objects.filter(state="running", items__state="queued").distinct().order_by("created_at"))


def progress(pk: UUID, now: datetime) -> Progress:
    """How far a replay is. One query."""
    left = Q(state__in=LEFT_QUEUE)
    row = ReplayItem.objects.filter(replay=pk).aggregate(
        total=Count("pk"),
        claimed=Count("pk", filter=left),
        recent=Count("pk", filter=left & Q(claimed_at__gt=now - timedelta(seconds=1))),
        confirmed=Count("pk", filter=Q(state="confirmed")),
        failed_again=Count("pk", filter=Q(state="failed_again")),
        last_claimed_at=Max("claimed_at"),
    )
    return Progress(**row)


def queued(pk: UUID, limit: int) -> list[ReplayItem]:
    """The next messages to send, with all of their letters. One query."""
    found = ReplayItem.objects.filter(replay=pk, state="queued").select_related("letter").order_by("pk")
    return list(found[:limit])


def observable(now: datetime, after: int = 0, limit: int = 200) -> list[ReplayItem]:
    """Items that evidence may still say something of: on their way, or unknown for less than an hour. One query."""
    watched = Q(state__in=("sending", "sent", "consumed")) | Q(
        state="unknown", finished_at__gt=now - timedelta(hours=1)
    )
    found = (
        ReplayItem.objects.filter(watched, pk__gt=after).exclude(trace_id="").select_related("letter").order_by("pk")
    )
    return list(found.defer("letter__payload", "letter__headers", "letter__stack")[:limit])


def item(pk: int) -> ReplayItem | None:
    """One item with its letter and replay. One query."""
    return ReplayItem.objects.select_related("letter", "replay").filter(pk=pk).first()


def drained(source: str, destination: str, group: str, since: datetime) -> bool:
    """Whether the broker said after `since` that this group has nothing left. Two queries."""
    if not group or not Source.objects.filter(name=source, state="ok", seen_at__gt=since).exists():
        return False
    rows = ConsumerGroup.objects.filter(source=source, name=group, seen_at__gt=since)
    exact: Iterable[ConsumerGroup] = [row for row in rows if row.destination == destination] or list(rows)
    return bool(exact) and all(row.ready == 0 and row.in_flight == 0 for row in exact)
