"""Searches the flows' lines: a page of them, newest start first, and what those that match have in common.

Bounded, and never a silent cap: a page and a count say how many lines they looked at, and a cursor goes on behind them.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from heapq import merge
from itertools import islice, product

from django.db.models import Q, QuerySet

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow_query import FlowFacets, FlowMark, FlowPage, FlowQuery
from eventflow.domain.flow_summary import BAD, OPEN
from eventflow.store.models import FlowPattern, FlowRow
from eventflow.store.queries import flows
from eventflow.store.spans import search
from eventflow.store.spans.lines import names, needle, status_code, status_of, summary_of
from eventflow.store.spans.rows import select
from eventflow.store.spans.text import LAST_NS

LOOK_FIRST = 1_000
LOOK_STEP = 20_000
LOOK_STEPS = 5
"""Lines looked at for one page: `LOOK_FIRST`, then some times `LOOK_STEP`. The cursor goes on behind them."""
COUNTED = 10_000
"""Lines looked at to count names and durations."""
NAMES = 50


def page(query: FlowQuery, cursor: str | None, limit: int, now: datetime) -> FlowPage:
    """A page of flows. Raises ValueError for a cursor this function did not give."""
    return Search(query, now).page(cursor, limit)


def facets(query: FlowQuery, now: datetime) -> FlowFacets:
    """What to narrow a query by, counted over the newest lines that match it."""
    return Search(query, now).facets()


def searched() -> Sequence[str]:
    """The attributes that flows are found by."""
    return search.searched()


class Search:
    """One question. What its ids and attributes mean is looked up once for all answers."""

    def __init__(self, query: FlowQuery, now: datetime) -> None:
        self.query = query
        self._now_ns = nanoseconds(now)
        self._first_ids = 0

    def page(self, cursor: str | None, limit: int) -> FlowPage:
        """A page of flows. Raises ValueError for a cursor this function did not give."""
        place = _Place.read(cursor) if cursor else None
        if self._in_index:
            rows = list(islice(self._newest(place, limit + 1), limit + 1))
            last = _Place(rows[limit - 1].started_ns, rows[limit - 1].pk) if len(rows) > limit else None
            return self._page(rows[:limit], last, min(len(rows), limit))
        found: list[FlowRow] = []
        looked_at, size = 0, min(LOOK_FIRST, LOOK_STEP)
        for _ in range(LOOK_STEPS):
            window, end = self._window(place, size)
            found += window.filter(self._matching)[: limit + 1 - len(found)]
            if len(found) > limit:
                last = _Place(found[limit - 1].started_ns, found[limit - 1].pk)
                return self._page(found[:limit], last, looked_at + window.filter(last.until()).count())
            looked_at += window.count()
            place, size = end, LOOK_STEP
            if place is None:
                break
        return self._page(found, place, looked_at)

    def facets(self) -> FlowFacets:
        """Names and durations of the newest lines that match."""
        window, end = self._window(None, COUNTED)
        columns = ("started_ns", "duration_ns", "status", "pattern_id")
        rows = list(window.filter(self._matching).order_by().values_list(*columns))
        alike = Counter(row[3] for row in rows)
        services, destinations, events = self._names(alike)
        return FlowFacets(
            services=_most(services),
            destinations=_most(destinations),
            event_types=_most(events),
            statuses=tuple((status_of(code), n) for code, n in Counter(row[2] for row in rows).most_common()),
            lines=self._marks(rows),
            looked_at=len(rows) if self._in_index else window.count(),
            complete=end is None,
        )

    def _page(self, rows: Sequence[FlowRow], end: "_Place | None", looked_at: int) -> FlowPage:
        return FlowPage(
            tuple(map(summary_of, rows)), str(end) if end else None, looked_at, self._places, self._first_ids
        )

    def _marks(self, rows: Iterable[tuple[int, int, int, int]]) -> tuple[FlowMark, ...]:
        now_ns, is_open, bad = self._now_ns, _OPEN, _BAD
        return tuple(
            [
                (started, max(now_ns - started, long) if status in is_open else long, status in bad)
                for started, long, status, _ in rows
            ]
        )

    def _names(self, alike: Mapping[int, int]) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """The services, destinations and event types of patterns, by their numbers of flows."""
        found: tuple[Counter[str], Counter[str], Counter[str]] = (Counter(), Counter(), Counter())
        for pk, *columns in select(FlowPattern, ("id", "services", "destinations", "event_types"), {"id": alike}):
            for counter, column in zip(found, columns, strict=True):
                for name in {line.partition("\t")[0] for line in names(column)}:
                    counter[name] += alike[pk]
        return found

    @cached_property
    def _values(self) -> Sequence[search.Found]:
        times = (self.query.since_ns, self.query.until_ns)
        return [search.flows_with(name, value, *times) for name, value in self.query.attributes]

    @property
    def _places(self) -> tuple[int, int]:
        return sum(one.chunks for one in self._values), sum(one.of for one in self._values)

    @cached_property
    def _keys(self) -> frozenset[str] | None:
        """The flows that ids and attributes leave; None where nothing was said of them."""
        kept = [one.keys for one in self._values]
        if self.query.text.strip():
            meant = flows.find(self.query.text)
            self._first_ids = len(meant) if len(meant) >= flows.FOUND else 0
            kept.append(frozenset(meant))
        return frozenset.intersection(*kept) if kept else None

    def _lines(self, **of: Collection[object]) -> QuerySet[FlowRow]:
        """Lines in the times asked for, whose columns are among these."""
        times = Q()
        if self.query.since_ns is not None:
            times &= Q(started_ns__gte=max(0, self.query.since_ns))
        if self.query.until_ns is not None:
            times &= Q(started_ns__lt=min(self.query.until_ns, LAST_NS))
        columns = Q(**{f"{name}__in": wanted for name, wanted in of.items()})
        return FlowRow.objects.filter(columns & times).select_related("pattern").order_by("-started_ns", "-pk")

    @cached_property
    def _columns(self) -> dict[str, Collection[object]]:
        """What an index narrows. A plain False would become NOT, for which SQLite uses none."""
        found: dict[str, Collection[object]] = {}
        if self._keys is not None:
            found["key"] = self._keys
        else:
            found["plumbing"] = (False, True) if self.query.plumbing else (False,)
        if self.query.statuses:
            found["status"] = [status_code(status) for status in self.query.statuses]
        return found

    @cached_property
    def _branches(self) -> Sequence[QuerySet[FlowRow]]:
        """What an index has in order of time. A database sorts all it finds when one query asks for several."""
        if "key" in self._columns:
            return [self._lines(**self._columns)]
        names, wanted = list(self._columns), product(*self._columns.values())
        return [self._lines(**{name: [one] for name, one in zip(names, each, strict=True)}) for each in wanted]

    def _newest(self, place: "_Place | None", most: int) -> Iterator[FlowRow]:
        rows = ((branch.filter(place.behind()) if place else branch)[:most] for branch in self._branches)
        return merge(*rows, key=lambda row: (-row.started_ns, -row.pk))

    def _window(self, place: "_Place | None", size: int) -> "tuple[QuerySet[FlowRow], _Place | None]":
        """The next lines behind `place`, at most `size` of a branch, and the last one; None when none are behind."""
        ends: list[_Place] = []
        for branch in self._branches:
            rows = branch.filter(place.behind()) if place else branch
            ends += [_Place(*row) for row in rows.values_list("started_ns", "pk")[size - 1 : size]]
        end = max(ends, key=lambda one: (one.started_ns, one.pk)) if ends else None
        window = self._lines(**self._columns)
        window = window.filter(place.behind()) if place else window
        return (window.filter(end.until()) if end else window), end

    @cached_property
    def _matching(self) -> Q:
        """What is looked for in each line."""
        query = self.query
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
            wanted &= self._at_least(query.min_duration_ns)
        if query.max_duration_ns is not None:
            wanted &= ~self._at_least(query.max_duration_ns)
        return wanted

    @property
    def _in_index(self) -> bool:
        """Whether nothing is looked for that the lines have to be read for."""
        return not self._matching

    def _at_least(self, duration_ns: int) -> Q:
        """What goes on lasts until now."""
        long = min(duration_ns, LAST_NS // 2)
        return Q(duration_ns__gte=long) | Q(status__in=_OPEN, started_ns__lte=max(0, self._now_ns - long))


def _most(names: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """The most frequent ones; equals by name, so that what is shown does not change places by itself."""
    return tuple(sorted(names.items(), key=lambda one: (-one[1], one[0]))[:NAMES])


_OPEN = frozenset(map(status_code, OPEN))
_BAD = frozenset(map(status_code, BAD))


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
        """The lines after this one. One range of the index, and the rest of one instant left out."""
        return Q(started_ns__lte=self.started_ns) & (Q(started_ns__lt=self.started_ns) | Q(pk__lt=self.pk))

    def until(self) -> Q:
        """The lines before this one and itself."""
        return Q(started_ns__gte=self.started_ns) & (Q(started_ns__gt=self.started_ns) | Q(pk__gte=self.pk))
