"""Flows: the list, found by id, service, destination, status and time; and a flow's page with its timeline.

Both only read. Their live regions ask for their own address again, so that filter, tab and selection stay as they are.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone

from eventflow.accounts import roles
from eventflow.domain.clock import instant, nanoseconds
from eventflow.domain.flow import Flow, summarise
from eventflow.domain.flow_query import FlowFacets, FlowPage
from eventflow.domain.hop import parent_of
from eventflow.domain.timeline import Row, RowKind, Timeline, timeline
from eventflow.store.queries import dead_letters as stored_letters
from eventflow.store.queries import flow_search
from eventflow.store.queries import flows as stored
from eventflow.web import flow_found, flow_list
from eventflow.web.flow_axis import length
from eventflow.web.flow_json import flow_json
from eventflow.web.flow_panel import letter_id, panel
from eventflow.web.flow_sequence import sequence
from eventflow.web.flow_timeline import view

app_name = "flows"
PAGE = 50
TABS = (("timeline", "Timeline"), ("sequence", "Sequence"), ("events", "Events"), ("raw", "Raw"))
OPERATOR = "operator"


def address(name: str) -> str:
    """A page that another part brings; "" while it is not there, so that nothing dead is shown."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def topic(key: str) -> str:
    """The news a flow's page waits for; topics are words, so a key with spaces waits for news of any flow."""
    return f"flow:{key}" if len(key.split()) == 1 else "flows"


def only_a_part(request: HttpRequest) -> bool:
    """Whether the page is there already and only its live region is asked for."""
    return "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers


def index(request: HttpRequest) -> HttpResponse:
    """The list. The store's page and facets, nothing per row."""
    now = timezone.now()
    searched = flow_search.searched()
    wanted = flow_list.asked(request.GET, searched)
    search = flow_search.Search(wanted.query(now), now)
    part = only_a_part(request)
    if part and request.GET.get("part") == "found":
        return render(request, "flows/_found.html", found_context(wanted, search.facets(), now))
    try:
        found = search.page(wanted.cursor or None, PAGE)
    except ValueError:
        return redirect(f"{request.path}{wanted.url()}")
    if part:
        return render(request, "flows/_list.html", list_context(wanted, found, searched, now))
    facets = search.facets()
    context = {**list_context(wanted, found, searched, now), **found_context(wanted, facets, now)}
    return render(request, "flows/list.html", {**context, "suggestions": suggestions(facets, searched)})


def suggestions(facets: FlowFacets, searched: Sequence[str]) -> list[str]:
    """What may be typed, as far as names are known."""
    return [
        *(f"{name}=" for name in searched),
        *("duration>5s", "duration<1s"),
        *(f"service:{name}" for name, _ in facets.services),
        *(f"destination:{name}" for name, _ in facets.destinations),
        *(f"event:{name}" for name, _ in facets.event_types),
        *(f"status:{name}" for name in flow_list.STATUSES if name),
    ]


def found_context(wanted: flow_list.Asked, facets: FlowFacets, now: datetime) -> dict[str, Any]:
    """What the part above the list shows: what those that match have in common."""
    narrowed = wanted.min or wanted.max or wanted.since or wanted.until
    return {
        "wanted": wanted,
        "here": wanted.url(),
        "facets": facets,
        "counted": len(facets.lines),
        "chart": flow_found.chart(wanted, facets, now),
        "groups": flow_found.groups(wanted, facets),
        "widened": wanted.url(min="", max="", since="", until="") if narrowed else "",
    }


def list_context(wanted: flow_list.Asked, found: FlowPage, searched: Sequence[str], now: datetime) -> dict[str, Any]:
    """What the list's template shows."""
    looked, places = found.places
    return {
        "wanted": wanted,
        "here": wanted.url(),
        "unknown": [one.partition("=")[0] for one in wanted.attributes if one.partition("=")[0] not in searched],
        "searched": searched,
        "places": places,
        "first_ids": found.first_ids,
        "places_looked": looked,
        "rows": flow_list.rows(found.rows, now),
        "looked_at": found.looked_at,
        "older": wanted.url(cursor=found.next_cursor) if found.next_cursor else "",
        "newest": wanted.url() if wanted.cursor else "",
        "statuses": [
            (word, wanted.url(status=name), name == wanted.status) for name, (word, _) in flow_list.STATUSES.items()
        ],
        "ranges": [
            (words, wanted.url(range=name, since="", until=""), name == wanted.range)
            for name, (words, _) in flow_list.RANGES.items()
        ],
        "range_words": "Chosen times" if wanted.since or wanted.until else flow_list.RANGES[wanted.range][0],
        "all_times": wanted.url(range="all", since="", until="") if wanted.bounded else "",
        "cleared": flow_list.Asked(range=wanted.range).url(),
        "hidden": wanted.hidden,
    }


def page(request: HttpRequest, key: str) -> HttpResponse:
    """A flow. One read of the flow; one of its letter's content when a dead letter is selected."""
    now = timezone.now()
    flow = stored.flow(key, now)
    if flow is None:
        return render(request, "flows/unknown.html", {"key": key, "topic": topic(key), "looked_at": now}, status=404)
    context = page_context(
        flow,
        now,
        tab=request.GET.get("tab", ""),
        event=request.GET.get("event", ""),
        by_service=request.GET.get("group") == "service",
        may_replay=roles.may(request.user, OPERATOR),
    )
    template = "flows/_page.html" if only_a_part(request) else "flows/page.html"
    return render(request, template, {**context, "here": request.get_full_path()})


def page_context(
    flow: Flow, now: datetime, *, tab: str = "", event: str = "", by_service: bool = False, may_replay: bool = False
) -> dict[str, Any]:
    """What a flow's template shows. Asks the store for one letter at most."""
    now_ns = nanoseconds(now)
    line = timeline(flow, now_ns)
    summary = summarise(flow)
    linked = _linked(flow, line, event) if event else None
    selected = linked or _worth_reading(line)
    tab = tab if tab in dict(TABS) else "timeline"
    drawn = view(flow, line, selected, by_service=by_service)
    letter = letter_id(selected)
    content = stored_letters.letter(int(letter)) if letter.isdecimal() else None
    cls, mark = flow_list.MARKS[flow.status]
    dialog = address("dead_letters:replay_dialog") if may_replay else ""
    return {
        "flow": flow,
        "summary": summary,
        "topic": topic(flow.key),
        "status_class": cls,
        "status_mark": mark,
        "duration": length(flow.duration_ns(now_ns)),
        "started": instant(flow.started_ns),
        "services": [(m.name, {"failed": "crit", "waiting": "ghost"}.get(m.state, "")) for m in flow.services],
        "tab": tab,
        "tabs": TABS,
        "by_service": by_service,
        "line": drawn,
        "event": event if linked else "",
        "event_missing": bool(event) and linked is None,
        "selected": selected,
        "panel": panel(flow, selected, content) if selected else None,
        "events": _events(drawn, line) if tab == "events" else [],
        "event_count": sum(1 for _ in _happened(line)),
        "sequence": sequence(line) if tab == "sequence" else None,
        "raw": json.dumps(flow_json(flow, now_ns), ensure_ascii=False, indent=2, default=str) if tab == "raw" else "",
        "replay_dialog": dialog,
        "replay_letter": next((row.letter_id for row in drawn.rows if row.letter_id), "") if dialog else "",
        "letters_page": address("dead_letters:page"),
    }


def _linked(flow: Flow, line: Timeline, event: str) -> Row | None:
    """The row of a permanent link; a span within a step leads to that step."""
    found = line.find(event)
    at = next((context for context in flow.spans if context.span_id == event), None)
    seen = set()
    while found is None and at is not None and at not in seen:
        seen.add(at)
        span = flow.spans.get(at)
        at = parent_of(span) if span else None
        found = line.find(at.span_id) if at else None
    return found


def _worth_reading(line: Timeline) -> Row | None:
    """What to show when nothing is chosen: the first that failed, else the first row."""
    return next((row for row in line.rows if row.bad), line.rows[0] if line.rows else None)


def _happened(line: Timeline) -> Iterator[Row]:
    """Rows that are events: not the head of several attempts, and nothing that has not happened yet."""
    for row in line.rows:
        head = row.kind is RowKind.DELIVERY and row.delivery is not None and len(row.delivery.attempts) > 1
        if not head and row.kind is not RowKind.AWAITED:
            yield row


_WHAT = {
    RowKind.PUBLISH: "Published",
    RowKind.DELIVERY: "Delivered",
    RowKind.DEAD: "Dead-lettered",
    RowKind.LETTER: "Dead-lettered",
    RowKind.REPLAY: "Replayed",
}


def _events(drawn: Any, line: Timeline) -> list[dict[str, Any]]:
    """The table of events, in order of time."""
    found = []
    for row in sorted(_happened(line), key=lambda row: (row.at_ns, row.id)):
        delivery = row.delivery
        attempt = delivery.attempts[max(row.number, 1) - 1] if delivery and row.kind in _WORKED else None
        error = attempt.error.name.rpartition(".")[2] if attempt and attempt.failed and attempt.error else ""
        failed = bool(attempt.failed) if attempt else row.bad
        found.append(
            {
                "id": row.id,
                "at": instant(row.at_ns),
                "since": length(row.at_ns - line.start_ns),
                "what": _WHAT.get(row.kind) or f"Attempt {attempt.number if attempt else row.number}",
                "service": row.service or "",
                "destination": row.destination or "",
                "waited": length(delivery.wait_ns) if delivery and attempt and row.number <= 1 else "–",
                "took": length(attempt.ended_ns - attempt.started_ns) if attempt else "–",
                "failed": failed,
                "outcome": error or _outcome(row.kind, failed),
            }
        )
    return found


def _outcome(kind: RowKind, failed: bool) -> str:
    if kind in (RowKind.DEAD, RowKind.LETTER):
        return "waiting in dead letters" if failed else "replayed since"
    return "failed" if failed else "ok"


_WORKED = (RowKind.DELIVERY, RowKind.ATTEMPT)

urlpatterns: list[URLPattern] = [
    path("", index, name="list"),
    path("<path:key>/", page, name="page"),
]
