"""The list of flows: what its address asks for, and its rows as the page draws them. Pure.

The whole question stands in the address (`?service=…&status=failed&range=1h&min=5s&attr=order.id=7`), so that a list
can be sent on.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from django.http import QueryDict

from eventflow.domain.clock import instant, nanoseconds
from eventflow.domain.flow import FlowStatus, FlowSummary
from eventflow.domain.flow_query import FlowQuery
from eventflow.domain.words import limit
from eventflow.web.flow_axis import length

RANGES: Mapping[str, tuple[str, timedelta | None]] = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last 1 hour", timedelta(hours=1)),
    "6h": ("Last 6 hours", timedelta(hours=6)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "all": ("All times", None),
}
DEFAULT_RANGE = "1h"
STATUSES: Mapping[str, tuple[str, tuple[FlowStatus, ...]]] = {
    "": ("All", ()),
    "failed": ("Failed", (FlowStatus.FAILED, FlowStatus.DEAD_LETTERED)),
    "waiting": ("Waiting", (FlowStatus.WAITING, FlowStatus.RUNNING)),
    "recovered": ("Recovered", (FlowStatus.RECOVERED,)),
    "completed": ("Completed", (FlowStatus.COMPLETED,)),
}
FIELDS = ("service", "destination", "event")
_WORDS = {"event_type": "event", "type": "event", "topic": "destination", "queue": "destination"}
MARKS: Mapping[FlowStatus, tuple[str, str]] = {
    FlowStatus.DEAD_LETTERED: ("crit", "dead"),
    FlowStatus.FAILED: ("crit", ""),
    FlowStatus.RUNNING: ("run", ""),
    FlowStatus.WAITING: ("run", ""),
    FlowStatus.RECOVERED: ("ok", ""),
    FlowStatus.COMPLETED: ("ok", ""),
}
_SERVICE_CLASSES = {"failed": "crit", "waiting": "ghost"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The question in an address, in the address' own words."""

    text: str = ""
    service: str = ""
    destination: str = ""
    event: str = ""
    status: str = ""
    range: str = DEFAULT_RANGE
    since: str = ""
    until: str = ""
    min: str = ""
    max: str = ""
    attributes: tuple[str, ...] = ()
    """Each as ``name=value``."""
    plumbing: bool = False
    cursor: str = ""

    def url(self, **changes: str | bool | Sequence[str]) -> str:
        """The query string of this question with `changes`; a change always goes back to the first page."""
        values: dict[str, str | bool | Sequence[str]] = {
            "q": self.text,
            "service": self.service,
            "destination": self.destination,
            "event": self.event,
            "status": self.status,
            "range": "" if self.range == DEFAULT_RANGE and not self.attributes else self.range,
            "since": self.since,
            "until": self.until,
            "min": self.min,
            "max": self.max,
            "attr": self.attributes,
            "plumbing": "1" if self.plumbing else "",
            **changes,
        }
        return "?" + urlencode({name: value for name, value in values.items() if value}, doseq=True)

    @property
    def filters(self) -> list[tuple[str, str, str, str]]:
        """(field, what of it, value, address without it) of every filter that is set."""
        found = [(name, "is", getattr(self, name), self.url(**{name: ""})) for name in FIELDS if getattr(self, name)]
        for one in self.attributes:
            name, _, value = one.partition("=")
            found.append((name, "=", value, self.url(attr=[other for other in self.attributes if other != one])))
        if self.text:
            found.append(("id", "is", self.text, self.url(q="")))
        if self.min or self.max:
            what = "over" if not self.max else "under" if not self.min else "is"
            words = " to ".join(limit(nanoseconds_of(one) / 1e9) for one in (self.min, self.max) if one)
            found.append(("duration", what, words, self.url(min="", max="")))
        if self.since or self.until:
            words = f"{self.since or 'the beginning'} to {self.until or 'now'}"
            found.append(("started", "is", words, self.url(since="", until="")))
        return found

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """What the search form carries on: everything but the text and the page."""
        return parse_qsl(self.url(q="")[1:])

    @property
    def narrowed(self) -> bool:
        return bool(self.filters or self.status)

    def query(self, now: datetime) -> FlowQuery:
        """What the store is asked. An id in full is looked for at any time unless a time was asked for."""
        long = RANGES[self.range][1]
        since = _moment(self.since)
        if since is None and long is not None and not self.text and not self.until:
            since = now - long
        until = _moment(self.until)
        return FlowQuery(
            text=self.text,
            service=self.service or None,
            destination=self.destination or None,
            event_type=self.event or None,
            statuses=STATUSES[self.status][1],
            since_ns=nanoseconds(since) if since else None,
            until_ns=nanoseconds(until) if until else None,
            plumbing=self.plumbing,
            min_duration_ns=nanoseconds_of(self.min) if self.min else None,
            max_duration_ns=nanoseconds_of(self.max) if self.max else None,
            attributes=tuple((name, value) for name, _, value in (one.partition("=") for one in self.attributes)),
        )

    @property
    def bounded(self) -> bool:
        """Whether a time leaves flows out."""
        return bool(self.since or self.until) or (self.range != "all" and not self.text)


_LENGTH = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|min|h|d)?")
_UNITS = {"ms": 1e6, "s": 1e9, "m": 60e9, "min": 60e9, "h": 3_600e9, "d": 86_400e9}
_WORD = re.compile(r'[^\s"=]+="[^"]*"|\S+')
_DURATION = re.compile(r"duration\s*(>=?|<|[:=])\s*([\w.]*?)(?:\.\.([\w.]*))?", re.IGNORECASE)
MOST_ATTRIBUTES = 5


def nanoseconds_of(length: str) -> int:
    """A length such as 5s, 1.5m or 300ms; without a unit it is seconds. Raises ValueError for what is none."""
    found = _LENGTH.fullmatch(length)
    if found is None:
        raise ValueError("this is no duration")
    return min(int(float(found[1]) * _UNITS[found[2] or "s"]), 2**62)


def said(duration_ns: int) -> str:
    """A duration as an address says it; nothing for none at all."""
    for unit in ("h", "m", "s"):
        if duration_ns and duration_ns % _UNITS[unit] == 0:
            return f"{duration_ns / _UNITS[unit]:.0f}{unit}"
    return f"{duration_ns / 1e6:g}ms" if duration_ns else ""


def _length(text: str) -> str:
    """A length that was understood, as it was written."""
    text = text.strip().replace(" ", "").lower()[:20]
    return text if _LENGTH.fullmatch(text) else ""


def _durations(word: str, values: dict[str, str]) -> bool:
    """Whether a word such as duration>5s or duration:1s..5s is one; what it says goes into `values`."""
    found = _DURATION.fullmatch(word)
    if found is None:
        return False
    what, first, second = found.groups()
    low, high = _length(first or ""), _length(second or "")
    if what == "<":
        low, high = "", low
    values.update({name: value for name, value in (("min", low), ("max", high)) if value})
    return bool(low or high)


def _attribute(word: str, searched: Sequence[str]) -> str:
    """A word such as shop.order.id=17 as ``name=value``; "" where it is none. An id may hold a = as well."""
    name, equals, value = word.partition("=")
    value = value.strip('"')
    return f"{name}={value}" if equals and value and (name in searched or "." in name) else ""


def asked(parameters: QueryDict, searched: Sequence[str] = ()) -> Asked:
    """Reads an address; what it cannot read is as if it were not there. `q` may hold fields such as `service:name`.

    searched  the attributes that flows are found by
    """
    values = {name: parameters.get(name, "").strip()[:300] for name in ("service", "destination", "event", "status")}
    lengths = {name: _length(parameters.get(name, "")) for name in ("min", "max")}
    attributes = [one[:500] for one in parameters.getlist("attr") if all(one.partition("="))]
    text: list[str] = []
    for word in _WORD.findall(parameters.get("q", "").strip()[:1000]):
        name, colon, value = word.partition(":")
        name = _WORDS.get(name.lower(), name.lower())
        if colon and value and name in values:
            values[name] = value
        elif attribute := _attribute(word, searched):
            attributes.append(attribute)
        elif not _durations(word, lengths):
            text.append(word)
    if values["status"] not in STATUSES:
        values["status"] = ""
    # An attribute says by itself which flows are meant, whenever they were.
    wanted = parameters.get("range", "all" if attributes else DEFAULT_RANGE)
    return Asked(
        text=" ".join(text),
        range=wanted if wanted in RANGES else DEFAULT_RANGE,
        since=parameters.get("since", "")[:40] if _moment(parameters.get("since", "")) else "",
        until=parameters.get("until", "")[:40] if _moment(parameters.get("until", "")) else "",
        min=lengths["min"],
        max=lengths["max"],
        attributes=tuple(dict.fromkeys(attributes))[:MOST_ATTRIBUTES],
        plumbing=parameters.get("plumbing") == "1",
        cursor=parameters.get("cursor", "")[:500],
        **values,
    )


def _moment(text: str) -> datetime | None:
    """An ISO 8601 time; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class ListRow:
    """One flow of the list."""

    key: str
    words: str
    cls: str
    mark: str
    first: str
    by: str
    services: tuple[tuple[str, str], ...]
    more_services: int
    events: int
    length: str
    meter_class: str
    meter: float
    started: datetime


MAX_SERVICES = 9


def rows(summaries: Iterable[FlowSummary], now: datetime) -> list[ListRow]:
    """The rows; the meters compare each duration with the longest shown."""
    found = list(summaries)
    now_ns = nanoseconds(now)
    longest = max((summary.duration_ns(now_ns) for summary in found), default=0) or 1
    return [_row(summary, now_ns, longest) for summary in found]


def _row(summary: FlowSummary, now_ns: int, longest: int) -> ListRow:
    cls, mark = MARKS[summary.status]
    long = summary.duration_ns(now_ns)
    services = tuple((service.name, _SERVICE_CLASSES.get(service.state, "")) for service in summary.services)
    return ListRow(
        key=summary.key,
        words=summary.words,
        cls=cls,
        mark=mark,
        first=summary.first_destination or "",
        by=summary.first_service or "",
        services=services[:MAX_SERVICES],
        more_services=max(0, len(services) - MAX_SERVICES),
        events=summary.events,
        length=length(long),
        meter_class={"crit": "crit", "run": "acc"}.get(cls, ""),
        meter=round(max(3.0, long / longest * 100), 1),
        started=instant(summary.started_ns),
    )
