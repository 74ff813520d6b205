"""Reads flows: one whole, how many there are, the newest that failed, and what a typed id may mean.

One flow is put together from its spans when it is asked for, so its status is as of `now`; all else comes out of the
stored lines.
"""

from datetime import datetime
from itertools import product

from django.db import connection
from django.db.models import Count, Q, QuerySet

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import Flow, FlowStatus, FlowSummary
from eventflow.store import spans
from eventflow.store.models import DeadLetter, FlowRow
from eventflow.store.queries import flow_evidence
from eventflow.store.spans.lines import status_code, summary_of
from eventflow.store.spans.summaries import put_together
from eventflow.store.spans.text import fit

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


def recent_failed(limit: int) -> list[FlowSummary]:
    """The newest flows that are failed or dead-lettered."""
    # Of each kind by itself: an index has those in order.
    kinds = product((status_code(FlowStatus.FAILED), status_code(FlowStatus.DEAD_LETTERED)), (False, True))
    newest = Q()
    for status, plain in kinds:
        some = FlowRow.objects.filter(status=status, plumbing__in=[plain]).order_by("-started_ns", "-pk")
        newest |= Q(pk__in=some.values("pk")[:limit])
    return [summary_of(row) for row in _newest(FlowRow.objects.filter(newest))[:limit]]


def counts(since: datetime, now: datetime) -> dict[FlowStatus, int]:
    """How many flows began since, by status; every status has a number."""
    # A plain False would become NOT, for which SQLite uses no index.
    started = Q(plumbing__in=[False], started_ns__gte=nanoseconds(since))
    rows = FlowRow.objects.filter(started).values_list("status").annotate(number=Count("id")).order_by()
    found = dict(rows)
    return {status: found.get(status_code(status), 0) for status in FlowStatus}


def _newest(rows: QuerySet[FlowRow]) -> QuerySet[FlowRow]:
    return rows.select_related("pattern").order_by("-started_ns", "-pk")


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
