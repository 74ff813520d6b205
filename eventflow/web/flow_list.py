"""The list of flows: what its address asks for, and its rows as the page draws them. Pure.

The whole question stands in the address (`?service=…&status=failed&range=1h&q=…`), so that a list can be sent on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from django.http import QueryDict

from eventflow.domain.clock import instant, nanoseconds
from eventflow.domain.flow import FlowStatus, FlowSummary
from eventflow.domain.flow_query import FlowQuery
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
    plumbing: bool = False
    cursor: str = ""

    def url(self, **changes: str | bool) -> str:
        """The query string of this question with `changes`; a change always goes back to the first page."""
        values: dict[str, str | bool] = {
            "q": self.text,
            "service": self.service,
            "destination": self.destination,
            "event": self.event,
            "status": self.status,
            "range": "" if self.range == DEFAULT_RANGE else self.range,
            "since": self.since,
            "until": self.until,
            "plumbing": "1" if self.plumbing else "",
            **changes,
        }
        return "?" + urlencode({name: value for name, value in values.items() if value})

    @property
    def filters(self) -> list[tuple[str, str, str]]:
        """(field, value, address without it) of every filter that is set."""
        found = [(name, getattr(self, name), self.url(**{name: ""})) for name in FIELDS if getattr(self, name)]
        if self.text:
            found.append(("id", self.text, self.url(q="")))
        if self.since or self.until:
            words = f"{self.since or 'the beginning'} to {self.until or 'now'}"
            found.append(("started", words, self.url(since="", until="")))
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
        )


def asked(parameters: QueryDict) -> Asked:
    """Reads an address; what it cannot read is as if it were not there. `q` may hold fields such as `service:name`."""
    values = {name: parameters.get(name, "").strip()[:300] for name in ("service", "destination", "event", "status")}
    text: list[str] = []
    for word in parameters.get("q", "").strip()[:1000].split():
        name, colon, value = word.partition(":")
        name = _WORDS.get(name.lower(), name.lower())
        if colon and value and name in values:
            values[name] = value
        else:
            text.append(word)
    if values["status"] not in STATUSES:
        values["status"] = ""
    wanted = parameters.get("range", DEFAULT_RANGE)
    return Asked(
        text=" ".join(text),
        range=wanted if wanted in RANGES else DEFAULT_RANGE,
        since=parameters.get("since", "")[:40] if _moment(parameters.get("since", "")) else "",
        until=parameters.get("until", "")[:40] if _moment(parameters.get("until", "")) else "",
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
