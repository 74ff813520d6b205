"""Makes the lines of flows anew: gathers a flow's spans, letters and replays, has the domain put them together.

Bounded: a flow of more than `DETAIL_LIMIT` spans keeps the line it had by then and is counted on. In a trace shared
by many flows (a long-running producer, a huge batch) only the spans that name the flow or link into it are looked at.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import Flow, FlowLetter, FlowReplay, FlowSummary, ServiceMark, assemble, summarise
from eventflow.domain.flow_summary import FlowStatus
from eventflow.domain.hop import Context, evidence
from eventflow.domain.observations import Span
from eventflow.store.models import FlowRow
from eventflow.store.queries import flow_evidence
from eventflow.store.spans.load import Reader, lines
from eventflow.store.spans.rows import chunks, insert
from eventflow.store.spans.text import fit, fit_ns

DETAIL_LIMIT = 5_000
SHARED_BY = 32
"""A trace with more flows of its own than this is read by flow, not whole."""


@dataclass(frozen=True, slots=True)
class FlowSpans:
    """What is stored of a flow.

    looked_at  how many spans it has; more than `spans` only when `complete` is False, because they were too many
    last_ns    when the last of its traces' spans ended
    """

    key: str
    spans: tuple[Span, ...] = ()
    trace_ids: tuple[str, ...] = ()
    looked_at: int = 0
    complete: bool = True
    last_ns: int = 0
    letters: tuple[FlowLetter, ...] = ()
    replays: tuple[FlowReplay, ...] = ()


@dataclass(slots=True)
class Refreshed:
    """Lines to write, and the flows that are gone."""

    rows: list[tuple[object, ...]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    counted: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Flows too long to be put together: key, spans, traces, last time."""


def gather(keys: Collection[str], limit: int, reader: Reader) -> dict[str, FlowSpans]:
    """The spans of flows."""
    traces_of = reader.traces_of(keys)
    traces = reader.traces({trace for names in traces_of.values() for trace in names})
    shared = {trace for trace, keys in reader.members(traces.keys()).items() if len(keys) > SHARED_BY}
    sizes = {
        key: sum(len(traces[trace].spans) for trace in names if trace in traces) for key, names in traces_of.items()
    }
    small = {
        key
        for key, names in traces_of.items()
        if sum(len(traces[trace].spans) for trace in names if trace in traces and trace not in shared) <= limit
    }
    whole = reader.spans_of({trace for key in small for trace in traces_of[key]} - shared)
    found: dict[str, dict[Context, Span]] = {}
    for key in small:
        spans = found[key] = {}
        for trace in traces_of[key]:
            spans.update(whole[trace] if trace in whole else reader.part_of(key, trace, set(traces_of[key]) - {trace}))
    _add_publishers(found, reader)
    elsewhere = reader.members({key for key, names in traces_of.items() if not names})
    by_message = flow_evidence.letters_without_flow()
    asked = {
        key: flow_evidence.Asked(
            frozenset(traces_of[key] or {key} - elsewhere.keys()),
            _message_ids(found.get(key, {})) if by_message else frozenset(),
        )
        for key in traces_of
    }
    evidence_of = flow_evidence.of_flows(asked)
    nothing = flow_evidence.Evidence()
    return {
        key: FlowSpans(
            key,
            tuple(sorted(found.get(key, {}).values(), key=lambda span: (span.start_ns, span.span_id))),
            tuple(sorted(names)),
            len(found[key]) if key in small else sizes[key],
            key in small,
            max((traces[trace].last_ns for trace in names if trace in traces), default=0),
            tuple(evidence_of.get(key, nothing).letters),
            tuple(evidence_of.get(key, nothing).replays),
        )
        for key, names in traces_of.items()
    }


def put_together(stored: FlowSpans, consumers: flow_evidence.Consumers, now: datetime) -> Flow:
    """The flow as the domain sees it."""
    started_ns = min((span.start_ns for span in stored.spans), default=0)
    return assemble(
        stored.key, stored.spans, stored.letters, stored.replays, now=now, consumers=consumers.at(started_ns)
    )


def prepare(keys: Collection[str], reader: Reader, consumers: flow_evidence.Consumers, now: datetime) -> Refreshed:
    """New lines for these flows; nothing is written yet."""
    found = Refreshed()
    gathered = gather(keys, DETAIL_LIMIT, reader)
    has_line = lines({key for key, stored in gathered.items() if not stored.complete})
    for key, stored in gathered.items():
        if not stored.complete and key not in has_line:
            part = reader.first_spans(stored.trace_ids, DETAIL_LIMIT)
            summary = summarise(put_together(replace(stored, spans=tuple(part)), consumers, now))
            found.rows.append(row_of(replace(summary, spans=stored.looked_at, traces=len(stored.trace_ids)), now))
        elif not stored.complete:
            found.counted.append((key, stored.looked_at, len(stored.trace_ids), fit_ns(stored.last_ns)))
        elif not stored.spans and not stored.letters:
            found.gone.append(key)
        else:
            summary = summarise(put_together(stored, consumers, now))
            found.rows.append(row_of(summary, now))
    return found


_COLUMNS = (
    "key",
    "kind",
    "status",
    "place",
    "started_ns",
    "ended_ns",
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
    "updated_ns",
)


def write(refreshed: Refreshed) -> None:
    """Store the lines. Inside the step's transaction."""
    insert(FlowRow, _COLUMNS, refreshed.rows, unique=("key",), update=_COLUMNS[1:])
    for part in chunks(refreshed.gone):
        FlowRow.objects.filter(key__in=part).delete()
    for key, spans, traces, ended_ns in refreshed.counted:
        rows = FlowRow.objects.filter(key=key)
        rows.update(spans=spans, traces=traces)
        rows.filter(ended_ns__lt=ended_ns).update(ended_ns=ended_ns)


def row_of(summary: FlowSummary, now: datetime) -> tuple[object, ...]:
    """A line as its row, in the order of the columns."""
    plumbing = not (summary.events or summary.deliveries or summary.letters or summary.kind == "correlation")
    return (
        summary.key,
        summary.kind,
        summary.status.value,
        fit(summary.place),
        fit_ns(summary.started_ns),
        fit_ns(summary.ended_ns),
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
        nanoseconds(now),
    )


def summary_of(row: FlowRow) -> FlowSummary:
    """A row as the line the pages show."""
    return FlowSummary(
        key=row.key,
        kind=row.kind,
        status=FlowStatus(row.status),
        place=row.place or None,
        started_ns=row.started_ns,
        ended_ns=row.ended_ns,
        first_destination=row.first_destination or None,
        first_service=row.first_service or None,
        services=tuple(ServiceMark(*line.split("\t")) for line in names(row.services)),
        destinations=tuple(names(row.destinations)),
        event_types=tuple(names(row.event_types)),
        events=row.events,
        deliveries=row.deliveries,
        failed=row.failed,
        spans=row.spans,
        traces=row.traces,
        letters=row.letters,
    )


def _line(name: str) -> str:
    """A name on a line of its own, whatever a hostile one holds."""
    return fit(name.replace("\n", " ").replace("\t", " "))


def _lines(names: Iterable[str]) -> str:
    text = "\n".join(names)
    return f"\n{text}\n" if text else ""


def names(lines: str) -> list[str]:
    """The names in a column of lines."""
    return [line for line in lines.split("\n") if line]


def needle(name: str, *, marked: bool = False) -> str:
    """What a column of lines contains when `name` is one of them; `marked` lines go on with a tab."""
    return f"\n{_line(name)}" + ("\t" if marked else "\n")


def _add_publishers(found: dict[str, dict[Context, Span]], reader: Reader) -> None:
    """What a flow's consumers link to outside of its traces: the publishing spans, without the rest of their flows."""
    missing: dict[str, set[Context]] = {}
    for key, spans in found.items():
        targets = {Context(link.trace_id, link.span_id) for span in spans.values() for link in span.links}
        missing[key] = targets - spans.keys()
    here = reader.spans_at({context for contexts in missing.values() for context in contexts})
    for key, contexts in missing.items():
        found[key].update({context: here[context] for context in contexts if context in here})


def _message_ids(spans: Mapping[Context, Span]) -> frozenset[str]:
    return frozenset(name for span in spans.values() for name in message_ids(span))


def message_ids(span: Span) -> Sequence[str]:
    """The message ids a span names, as the index has them."""
    proof = evidence(span)
    return [fit(name) for name in proof.message_ids] if proof else []
