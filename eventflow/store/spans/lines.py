"""The lines of the list of flows as rows: what many flows say alike is stored once, a flow has only its key and times.

Never deletes a pattern that a line may still need: whoever writes lines or sweeps patterns holds their generation.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from django.db import transaction

from eventflow.domain.flow import FlowSummary, ServiceMark
from eventflow.domain.flow_summary import FlowStatus
from eventflow.store.models import FlowPattern, FlowRow
from eventflow.store.spans import generation
from eventflow.store.spans.generation import LINES
from eventflow.store.spans.rows import insert, select
from eventflow.store.spans.text import fit, fit_ns

_STATUSES = tuple(FlowStatus)
_COLUMNS = (
    "kind",
    "status",
    "place",
    "first_destination",
    "first_service",
    "services",
    "destinations",
    "event_types",
    "events",
    "deliveries",
    "failed",
    "spans",
    "traces",
    "letters",
    "plumbing",
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """All of a line but its key and times, as its row's columns."""

    digest: str
    columns: tuple[object, ...]
    status: int
    plumbing: bool


class Line(NamedTuple):
    """A flow's line."""

    key: str
    started_ns: int
    duration_ns: int
    pattern: Pattern


def status_code(status: FlowStatus) -> int:
    """A status as the rows have it."""
    return _STATUSES.index(status)


def status_of(code: int) -> FlowStatus:
    """The status that a row's number stands for."""
    return _STATUSES[code]


def pattern_of(summary: FlowSummary) -> Pattern:
    """What a line says apart from its key and times."""
    plumbing = not (summary.events or summary.deliveries or summary.letters or summary.kind == "correlation")
    columns = (
        summary.kind,
        summary.status.value,
        fit(summary.place),
        fit(summary.first_destination),
        fit(summary.first_service),
        _lines(f"{_line(mark.name)}\t{mark.state}" for mark in summary.services),
        _lines(_line(name) for name in summary.destinations),
        _lines(_line(name) for name in summary.event_types),
        summary.events,
        summary.deliveries,
        summary.failed,
        summary.spans,
        summary.traces,
        summary.letters,
        plumbing,
    )
    return _pattern(columns, summary.status, plumbing=plumbing)


def line_of(summary: FlowSummary) -> Line:
    """A summary as a line."""
    started = fit_ns(summary.started_ns)
    return Line(summary.key, started, max(0, fit_ns(summary.ended_ns) - started), pattern_of(summary))


def summary_of(row: FlowRow) -> FlowSummary:
    """A row as the line the pages show."""
    alike = row.pattern
    return FlowSummary(
        key=row.key,
        kind=alike.kind,
        status=status_of(row.status),
        place=alike.place or None,
        started_ns=row.started_ns,
        ended_ns=row.started_ns + row.duration_ns,
        first_destination=alike.first_destination or None,
        first_service=alike.first_service or None,
        services=tuple(ServiceMark(*line.split("\t")) for line in names(alike.services)),
        destinations=tuple(names(alike.destinations)),
        event_types=tuple(names(alike.event_types)),
        events=alike.events,
        deliveries=alike.deliveries,
        failed=alike.failed,
        spans=alike.spans,
        traces=alike.traces,
        letters=alike.letters,
    )


def write(lines: Sequence[Line], now_s: int) -> None:
    """Store lines. Inside a step's transaction that has claimed or holds the generation of lines."""
    numbers = _numbers({line.pattern.digest: line.pattern for line in lines})
    rows = [
        (key, numbers[alike.digest], alike.status, alike.plumbing, started_ns, duration_ns, now_s)
        for key, started_ns, duration_ns, alike in lines
    ]
    columns = ("key", "pattern_id", "status", "plumbing", "started_ns", "duration_ns", "judged_at")
    insert(FlowRow, columns, rows, unique=("key",), update=columns[1:])


def count_on(key: str, spans: int, traces: int, ended_ns: int) -> None:
    """Let a line say larger numbers and a later end, if it is there. In a transaction as for `write`."""
    row = FlowRow.objects.select_related("pattern").filter(key=key).first()
    if row is None:
        return
    columns = tuple({"spans": spans, "traces": traces}.get(name, getattr(row.pattern, name)) for name in _COLUMNS)
    alike = _pattern(columns, status_of(row.status), plumbing=row.plumbing)
    row.pattern_id = _numbers({alike.digest: alike})[alike.digest]
    row.duration_ns = max(row.duration_ns, ended_ns - row.started_ns)
    row.save(update_fields=["pattern", "duration_ns"])


def sweep() -> None:
    """Delete the patterns that no line has any more."""
    with transaction.atomic():
        generation.hold(LINES)
        used = FlowRow.objects.values("pattern_id")
        FlowPattern.objects.exclude(pk__in=used).delete()


def names(lines: str) -> list[str]:
    """The names in a column of lines."""
    return [line for line in lines.split("\n") if line]


def needle(name: str, *, marked: bool = False) -> str:
    """What a column of lines contains when `name` is one of them; `marked` lines go on with a tab."""
    return f"\n{_line(name)}" + ("\t" if marked else "\n")


def _pattern(columns: tuple[object, ...], status: FlowStatus, *, plumbing: bool) -> Pattern:
    digest = blake2b(repr(columns).encode("utf-8", "replace"), digest_size=16).hexdigest()
    return Pattern(digest, columns, status_code(status), plumbing)


def _numbers(patterns: dict[str, Pattern]) -> dict[str, int]:
    """The ids of patterns, made where they are new."""
    found = _stored(patterns)
    if missing := patterns.keys() - found.keys():
        rows = [(digest, *patterns[digest].columns) for digest in sorted(missing)]
        insert(FlowPattern, ("digest", *_COLUMNS), rows, unique=("digest",))
        found |= _stored(missing)
    return found


def _stored(digests: Collection[str]) -> dict[str, int]:
    return dict(select(FlowPattern, ("digest", "id"), {"digest": digests}))


def _line(name: str) -> str:
    """A name on a line of its own, whatever a hostile one holds."""
    return fit(name.replace("\n", " ").replace("\t", " "))


def _lines(names: Iterable[str]) -> str:
    text = "\n".join(names)
    return f"\n{text}\n" if text else ""
