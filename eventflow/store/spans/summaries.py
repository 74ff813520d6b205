"""Makes the lines of flows anew: gathers a flow's spans, letters and replays, has the domain put them together.

Bounded: a flow of more than `DETAIL_LIMIT` spans keeps the line it had by then and is counted on. In a trace shared
by many flows (a long-running producer, a huge batch) only the spans that name the flow or link into it are looked at.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter

from eventflow.domain.clock import nanoseconds
from eventflow.domain.flow import Flow, FlowLetter, FlowReplay, assemble, summarise
from eventflow.domain.hop import Context, evidence
from eventflow.domain.observations import Span
from eventflow.store.models import FlowRow
from eventflow.store.queries import flow_evidence
from eventflow.store.spans import lines
from eventflow.store.spans.lines import Line, line_of
from eventflow.store.spans.load import Reader, listed
from eventflow.store.spans.rows import chunks
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

    rows: list[Line] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    counted: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Flows too long to be put together: key, spans, traces, last time."""

    def parts(self, most: int) -> list["Refreshed"]:
        """The same in parts with so many lines each, at least one; by key, so that each writes into few pages."""
        rows = sorted(self.rows, key=attrgetter("key"))
        cuts = range(0, max(1, len(rows)), most)
        found = [Refreshed(rows[cut : cut + most]) for cut in cuts]
        found[-1].gone, found[-1].counted = self.gone, self.counted
        return found


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
    if not keys:
        return found
    gathered = gather(keys, DETAIL_LIMIT, reader)
    has_line = listed({key for key, stored in gathered.items() if not stored.complete})
    for key, stored in gathered.items():
        if not stored.complete and key not in has_line:
            part = reader.first_spans(stored.trace_ids, DETAIL_LIMIT)
            summary = summarise(put_together(replace(stored, spans=tuple(part)), consumers, now))
            found.rows.append(line_of(replace(summary, spans=stored.looked_at, traces=len(stored.trace_ids))))
        elif not stored.complete:
            found.counted.append((key, stored.looked_at, len(stored.trace_ids), fit_ns(stored.last_ns)))
        elif not stored.spans and not stored.letters:
            found.gone.append(key)
        else:
            summary = summarise(put_together(stored, consumers, now))
            found.rows.append(line_of(summary))
    return found


def write(refreshed: Refreshed, now: datetime) -> None:
    """Store the lines. Inside the step's transaction."""
    lines.write(refreshed.rows, nanoseconds(now) // 1_000_000_000)
    for part in chunks(refreshed.gone):
        FlowRow.objects.filter(key__in=part).delete()
    for key, spans, traces, ended_ns in refreshed.counted:
        lines.count_on(key, spans, traces, ended_ns)


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
