"""Reads dead letters: groups by cause with their counts, lists by filter and cursor, one letter with its history.

Lists never load payloads, headers or stacks. There is no silent cap: counts cover everything that matches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from django.db.models import Count, Max, Min, Q, QuerySet

from eventflow.domain import replay as ledger
from eventflow.store.models import ConsumerGroup, DeadLetter, DeadLetterGroup, ReplayItem
from eventflow.store.queries.epoch import Epoch

WAITING = ("open", "replaying")
VIEWS = {"waiting": WAITING, "archived": ("archived",), "recovered": ("resolved",), "all": ()}
HEAVY = ("payload", "headers", "stack", "evidence")
PAGE = 50
ARRIVING_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is asked for. `view` is one of VIEWS; `text` looks into ids, errors and headers."""

    view: str = "waiting"
    text: str = ""
    group: int | None = None
    destination: str = ""
    consumer_group: str = ""
    correlation_id: str = ""
    source: str = ""
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """A group with what matches the filter in it."""

    group: DeadLetterGroup
    system: str
    count: int
    first_at: datetime
    last_at: datetime
    trend: tuple[int, ...] = ()
    is_new: bool = False
    arriving: bool = False
    """Its newest letter is at most ARRIVING_MINUTES old: worth a red mark; an old, quiet pile is not."""


@dataclass(frozen=True, slots=True)
class Page:
    """Letters of one list, and the cursor of the next page."""

    letters: list[DeadLetter]
    total: int
    next_cursor: str = ""
    open: int = 0
    """How many of `total` are open: what a replay of all would take."""


def _matching(wanted: Filter) -> QuerySet[DeadLetter]:
    letters = DeadLetter.objects.all()
    if statuses := VIEWS.get(wanted.view, WAITING):
        letters = letters.filter(status__in=statuses)
    for name in ("destination", "consumer_group", "correlation_id", "source"):
        if value := getattr(wanted, name):
            letters = letters.filter(**{name: value})
    if wanted.group:
        letters = letters.filter(group=wanted.group)
    for word in wanted.text.split()[:8]:
        letters = letters.filter(
            Q(correlation_id__icontains=word)
            | Q(message_id__icontains=word)
            | Q(error_type__icontains=word)
            | Q(error_message__icontains=word)
            | Q(group__title__icontains=word)
            | Q(service__icontains=word)
            | Q(consumer_group__icontains=word)
            | Q(destination__icontains=word)
            | Q(location__icontains=word)
            | Q(trace_id=word)
            | Q(headers__icontains=word)
        )
    return letters


def causes(wanted: Filter, now: datetime, *, trend_minutes: int = 60, slots: int = 20) -> list[Cause]:
    """Groups that hold something that matches, by destination and then by number. Three queries."""
    counted = {
        row["group"]: row
        for row in _matching(wanted)
        .order_by()
        .values("group")
        .annotate(number=Count("pk"), first=Min("failed_at"), last=Max("failed_at"), system=Max("system"))
    }
    since = now - timedelta(minutes=trend_minutes)
    slot = (Epoch("failed_at") - int(since.timestamp())) / ceil(trend_minutes * 60 / slots)
    trends = {pk: [0] * slots for pk in counted}
    recent = DeadLetter.objects.filter(group__in=counted, failed_at__gte=since, failed_at__lte=now).order_by()
    for group, at, number in recent.values_list("group_id", slot).annotate(Count("pk")):
        trends[group][min(slots - 1, at)] += number
    found = [
        Cause(
            group=group,
            system=counted[group.pk]["system"],
            count=counted[group.pk]["number"],
            first_at=counted[group.pk]["first"],
            last_at=counted[group.pk]["last"],
            trend=tuple(trends[group.pk]),
            is_new=group.first_at >= since,
            arriving=counted[group.pk]["last"] >= now - timedelta(minutes=ARRIVING_MINUTES),
        )
        for group in DeadLetterGroup.objects.filter(pk__in=counted)
    ]
    totals: dict[str, int] = {}
    for cause in found:
        totals[cause.group.location] = totals.get(cause.group.location, 0) + cause.count
    return sorted(found, key=lambda c: (-totals[c.group.location], c.group.location, -c.count, c.group.pk))


def page(wanted: Filter, cursor: str = "", limit: int = PAGE) -> Page:
    """One page in the order of failing. Three queries; the cursor holds through letters that come or go meanwhile."""
    letters = _matching(wanted)
    total, waiting = letters.count(), letters.filter(status="open").count()
    order = ("-failed_at", "-pk") if wanted.newest_first else ("failed_at", "pk")
    if place := _place(cursor):
        at, pk = place
        side = "lt" if wanted.newest_first else "gt"
        letters = letters.filter(Q(**{f"failed_at__{side}": at}) | Q(failed_at=at, **{f"pk__{side}": pk}))
    rows = list(letters.select_related("group").defer(*HEAVY).order_by(*order)[: limit + 1])
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, total, f"{rows[-1].failed_at.isoformat()}~{rows[-1].pk}" if more else "", waiting)


def _place(cursor: str) -> tuple[datetime, int] | None:
    at, _, pk = cursor.rpartition("~")
    try:
        return datetime.fromisoformat(at), int(pk)
    except ValueError:
        return None


def open_pks(wanted: Filter) -> list[int]:
    """Every letter that matches and may be replayed or archived, oldest first. One query."""
    found = _matching(wanted).filter(status="open").order_by("failed_at", "pk")
    return list(found.values_list("pk", flat=True))


def totals() -> dict[str, int]:
    """How many letters each view holds, and in how many destinations letters wait. Two queries."""
    by_status = dict(DeadLetter.objects.order_by().values_list("status").annotate(Count("pk")))
    found = {view: sum(by_status.get(status, 0) for status in statuses) for view, statuses in VIEWS.items()}
    found["all"] = sum(by_status.values())
    found["open"], found["replaying"] = by_status.get("open", 0), by_status.get("replaying", 0)
    found["places"] = DeadLetter.objects.filter(status__in=WAITING).values("location").distinct().count()
    return found


def waiting_count() -> int:
    """For the rail's badge. One query."""
    return DeadLetter.objects.filter(status__in=WAITING).count()


def letter(pk: int) -> DeadLetter | None:
    """One letter, whole. One query."""
    return DeadLetter.objects.select_related("group").filter(pk=pk).first()


def letters(wanted: Sequence[int]) -> list[DeadLetter]:
    """Letters by number, without what is heavy, in the order of failing. One query."""
    return list(
        DeadLetter.objects.filter(pk__in=wanted).select_related("group").defer(*HEAVY).order_by("failed_at", "pk")
    )


def with_holes(now: datetime, minutes: int = 2, limit: int = 200) -> list[DeadLetter]:
    """Letters of the last minutes that lack service, error or stack, whose spans may be here by now. One query."""
    lacking = Q(service="") | Q(error_type="") | Q(stack="")
    found = DeadLetter.objects.filter(lacking, captured_at__gt=now - timedelta(minutes=minutes))
    found = found.exclude(correlation_id="", trace_id="").defer("payload", "headers")
    return list(found.order_by("-captured_at")[:limit])


@dataclass(frozen=True, slots=True)
class Lineage:
    """What became of a message: the replays of this letter, the letter it was before, the one it came back as."""

    items: list[ReplayItem] = field(default_factory=list)
    before: DeadLetter | None = None
    after: DeadLetter | None = None


def lineage(of: DeadLetter) -> Lineage:
    """Three queries."""
    items = list(ReplayItem.objects.filter(letter=of).select_related("replay").order_by("pk"))
    before = None
    if of.replay_token:
        item = (
            ReplayItem.objects.filter(token=of.replay_token).select_related("letter").defer("letter__payload").first()
        )
        before = item.letter if item else None
    tokens = [item.token for item in items]
    after = DeadLetter.objects.filter(replay_token__in=tokens).defer(*HEAVY).order_by("-pk").first() if tokens else None
    return Lineage(items, before, after)


def subscribers(source: str) -> list[ledger.Subscriber]:
    """The consumer groups of a source with everything they read. One query."""
    rows = ConsumerGroup.objects.filter(source=source).values_list("name", "destination", "subscriptions")
    return [ledger.Subscriber(name, tuple(reads) or (destination,)) for name, destination, reads in rows]
