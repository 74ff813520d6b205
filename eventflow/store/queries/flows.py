"""Reads flows: one whole, a page of the list, facets, and what a typed id may mean. Never a silent cap.

Lists come out of the stored lines, newest start first; a page says how many lines it looked at. One flow is put
together from its spans when it is asked for, so its status is as of `now`.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Count, Q, QuerySet

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import Flow, FlowStatus, FlowSummary
from eventflow.domain.flow_query import FlowFacets, FlowPage, FlowQuery
from eventflow.store import spans
from eventflow.store.models import DeadLetter, FlowPattern, FlowRow
from eventflow.store.queries import flow_evidence
from eventflow.store.spans.lines import names, needle, status_code, status_of, summary_of
from eventflow.store.spans.summaries import put_together
from eventflow.store.spans.text import fit

LOOK_STEP = 20_000
LOOK_STEPS = 5
"""Lines looked at for one page at most: `LOOK_STEP` times this. The cursor goes on behind them."""
FACET_LINES = 500
FOUND = 50


def flow(key: str, now: datetime) -> Flow | None:
    """The flow with this key. A trace id or message id that belongs to a flow gives that flow. None if unknown."""
    key = fit(key)
    stored = spans.flow_spans(key)
    if not stored.spans and not stored.letters:
        keys = _belonging(key)
        if not keys:
            return None
        stored = spans.flow_spans(keys[0])
    return put_together(stored, flow_evidence.consumers(), now)


def find(text: str) -> list[str]:
    """The keys a typed id may mean, the surest first: the key itself, trace, message, then keys that begin with it."""
    wanted = fit(text.strip())
    if not wanted:
        return []
    exact = list(FlowRow.objects.filter(key=wanted).values_list("key", flat=True))
    begins = FlowRow.objects.filter(_begins("key", wanted)).order_by("-started_ns").values_list("key", flat=True)
    return list(dict.fromkeys([*exact, *_belonging(wanted), *begins[:FOUND]]))[:FOUND]


def page(query: FlowQuery, cursor: str | None, limit: int, now: datetime) -> FlowPage:
    """A page of flows. Raises ValueError for a cursor this function did not give."""
    place = _Place.read(cursor) if cursor else None
    rows: list[FlowRow] = []
    looked_at = 0
    exhausted = False
    base, matching = _base(query), _matching(query)
    for _ in range(LOOK_STEPS):
        window, last = _window(base, place)
        found = list(window.filter(matching)[: limit + 1 - len(rows)])
        rows.extend(found)
        if len(rows) > limit:
            looked_at += _number(window, rows[limit - 1])
            break
        looked_at += LOOK_STEP if last else window.count()
        if last is None:
            exhausted = True
            break
        place = last
    more = len(rows) > limit
    kept = rows[:limit]
    after = None if exhausted and not more else _Place(kept[-1].started_ns, kept[-1].pk) if more else place
    return FlowPage(tuple(map(summary_of, kept)), str(after) if after else None, looked_at)


def facets(query: FlowQuery, now: datetime) -> FlowFacets:
    """Names to narrow a query by, counted over the newest lines that match it."""
    columns = ("pattern__services", "pattern__destinations", "pattern__event_types", "status")
    rows = list(_base(query).filter(_matching(query)).values_list(*columns)[:FACET_LINES])
    return FlowFacets(
        services=_common(line.partition("\t")[0] for row in rows for line in names(row[0])),
        destinations=_common(name for row in rows for name in names(row[1])),
        event_types=_common(name for row in rows for name in names(row[2])),
        statuses=tuple(Counter(status_of(row[3]) for row in rows).most_common()),
    )


def recent_failed(limit: int) -> list[FlowSummary]:
    """The newest flows that are failed or dead-lettered."""
    bad = (status_code(FlowStatus.FAILED), status_code(FlowStatus.DEAD_LETTERED))
    return [summary_of(row) for row in _newest(FlowRow.objects.filter(status__in=bad))[:limit]]


def counts(since: datetime, now: datetime) -> dict[FlowStatus, int]:
    """How many flows began since, by status; every status has a number."""
    started = Q(plumbing=False, started_ns__gte=nanoseconds(since))
    rows = FlowRow.objects.filter(started).values_list("status").annotate(number=Count("id")).order_by()
    found = dict(rows)
    return {status: found.get(status_code(status), 0) for status in FlowStatus}


@dataclass(frozen=True, slots=True)
class _Place:
    """Behind which line a page begins."""

    started_ns: int
    pk: int

    def __str__(self) -> str:
        return urlsafe_b64encode(f"{self.started_ns}.{self.pk}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, cursor: str) -> "_Place":
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            started_ns, pk = map(int, urlsafe_b64decode(padded.encode()).decode().split("."))
            if not 0 <= min(started_ns, pk) <= max(started_ns, pk) < 2**63:
                raise ValueError("out of range")
        except ValueError as error:
            raise ValueError("this is no cursor of a page of flows") from error
        return cls(started_ns, pk)

    def behind(self) -> Q:
        return Q(started_ns__lt=self.started_ns) | Q(started_ns=self.started_ns, pk__lt=self.pk)


def _window(base: QuerySet[FlowRow], place: _Place | None) -> tuple[QuerySet[FlowRow], _Place | None]:
    """The next lines to look at behind `place`, and the place behind them; None when they are the last."""
    rows = base.filter(place.behind()) if place else base
    last = rows.values_list("started_ns", "pk")[LOOK_STEP - 1 : LOOK_STEP]
    for started_ns, pk in last:
        end = _Place(started_ns, pk)
        until = Q(started_ns__gt=started_ns) | Q(started_ns=started_ns, pk__gte=pk)
        return rows.filter(until), end
    return rows, None


def _number(window: QuerySet[FlowRow], row: FlowRow) -> int:
    """How many lines of the window stand before `row`, itself included."""
    return window.filter(Q(started_ns__gt=row.started_ns) | Q(started_ns=row.started_ns, pk__gte=row.pk)).count()


def _newest(rows: QuerySet[FlowRow]) -> QuerySet[FlowRow]:
    return rows.select_related("pattern").order_by("-started_ns", "-pk")


def _base(query: FlowQuery) -> QuerySet[FlowRow]:
    """What an index narrows: time, plumbing and ids."""
    rows = _newest(FlowRow.objects.all())
    if query.text.strip():
        rows = rows.filter(key__in=find(query.text))
    elif not query.plumbing:
        rows = rows.filter(plumbing=False)
    if query.since_ns is not None:
        rows = rows.filter(started_ns__gte=max(0, query.since_ns))
    if query.until_ns is not None:
        rows = rows.filter(started_ns__lt=min(query.until_ns, 2**63 - 1))
    if query.statuses:
        rows = rows.filter(status__in=[status_code(status) for status in query.statuses])
    return rows


def _matching(query: FlowQuery) -> Q:
    """What is looked for in each line."""
    wanted, alike = Q(), Q()
    if query.service:
        alike &= Q(services__contains=needle(query.service, marked=True))
    if query.destination:
        alike &= Q(destinations__contains=needle(query.destination))
    if query.event_type:
        alike &= Q(event_types__contains=needle(query.event_type))
    if alike:
        wanted &= Q(pattern__in=FlowPattern.objects.filter(alike))
    if query.min_duration_ns:
        wanted &= Q(duration_ns__gte=min(query.min_duration_ns, 2**62))
    return wanted


def _belonging(text: str) -> list[str]:
    """The flows a trace id, a message id or a dead letter's trace belongs to, newest first."""
    letters = DeadLetter.objects.filter(Q(message_id=text) | Q(trace_id=text.lower())).exclude(correlation_id="")
    keys = {*spans.belonging(text)[: FOUND * 4], *letters.values_list("correlation_id", flat=True)[:FOUND]}
    return list(_newest(FlowRow.objects.filter(key__in=keys)).values_list("key", flat=True)[:FOUND])


def _begins(name: str, text: str) -> Q:
    """A prefix, so that the index is used: SQLite's LIKE uses none, PostgreSQL's collation knows no range."""
    if connection.vendor == "sqlite":
        return Q(**{f"{name}__gte": text, f"{name}__lt": text + "\U0010ffff"})
    return Q(**{f"{name}__startswith": text})


def _common(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(names).most_common(50))
