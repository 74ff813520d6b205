"""Reads the engine's tables in bulk: spans, links, members. The number of queries never grows with the flows."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import lru_cache

from eventflow.domain.hop import Context
from eventflow.domain.observations import Span
from eventflow.store.models import FlowMember, FlowRow, StoredLink, StoredSpan
from eventflow.store.spans import codec
from eventflow.store.spans.rows import chunks, select

_decode = lru_cache(maxsize=20_000)(codec.decode)
"""A stored span never changes and is frozen; a flow that grows reads its older spans again with every step."""


def decoded(body: bytes | memoryview) -> Span:
    """The span of a row's body, decoded once."""
    return _decode(bytes(body))


def spans_of(trace_ids: Collection[str]) -> dict[str, dict[Context, Span]]:
    """Every span of these traces, by trace."""
    found: dict[str, dict[Context, Span]] = {trace_id: {} for trace_id in trace_ids}
    for (body,) in select(StoredSpan, ["body"], {"trace_id": trace_ids}):
        span = decoded(body)
        found[span.trace_id][Context(span.trace_id, span.span_id)] = span
    return found


def span_counts(trace_ids: Collection[str]) -> dict[str, int]:
    """How many spans each of these traces has; traces without any are left out."""
    return dict(select(StoredSpan, ["trace_id", "COUNT(*)"], {"trace_id": trace_ids}, group_by="trace_id"))


def _at(contexts: Collection[Context], prefix: str = "") -> dict[str, set[str]]:
    """Where spans at these addresses may be; the caller keeps those that are."""
    traces, spans = {context.trace_id for context in contexts}, {context.span_id for context in contexts}
    return {f"{prefix}trace_id": traces, f"{prefix}span_id": spans}


def spans_at(contexts: Collection[Context]) -> dict[Context, Span]:
    """The spans at these addresses, as far as they are here."""
    found: dict[Context, Span] = {}
    for part in chunks(contexts):
        for (body,) in select(StoredSpan, ["body"], _at(part)):
            span = decoded(body)
            found[Context(span.trace_id, span.span_id)] = span
    wanted = set(contexts)
    return {context: span for context, span in found.items() if context in wanted}


def existing(contexts: Collection[Context]) -> set[Context]:
    """Which of these addresses are taken."""
    found: set[Context] = set()
    for part in chunks(contexts):
        rows = StoredSpan.objects.filter(
            trace_id__in={context.trace_id for context in part}, span_id__in={context.span_id for context in part}
        )
        found.update(Context(*row) for row in rows.values_list("trace_id", "span_id"))
    return found & set(contexts)


def publish_times(contexts: Collection[Context]) -> dict[Context, tuple[int, int]]:
    """Start and end of those of these spans that published something."""
    found: dict[Context, tuple[int, int]] = {}
    for part in chunks(contexts):
        columns = ["trace_id", "span_id", "start_ns", "end_ns"]
        for trace_id, span_id, start_ns, end_ns in select(StoredSpan, columns, {**_at(part), "side": ["p"]}):
            found[Context(trace_id, span_id)] = (start_ns, end_ns)
    return found


def links_from(trace_ids: Collection[str]) -> dict[str, set[str]]:
    """Trace → the traces its spans link to."""
    found: dict[str, set[str]] = defaultdict(set)
    for source, target in select(StoredLink, ["trace_id", "linked_trace_id"], {"trace_id": trace_ids}):
        found[source].add(target)
    return found


def links_to(trace_ids: Collection[str]) -> dict[str, set[str]]:
    """Trace → the traces that link to it."""
    found: dict[str, set[str]] = defaultdict(set)
    for target, source in select(StoredLink, ["linked_trace_id", "trace_id"], {"linked_trace_id": trace_ids}):
        found[target].add(source)
    return found


def members(trace_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Trace → the keys of its flows, each with its origin; traces without spans are left out."""
    found: dict[str, dict[str, str]] = {}
    for trace_id, key, origin in select(FlowMember, ["trace_id", "key", "origin"], {"trace_id": trace_ids}):
        found.setdefault(trace_id, {})[key] = origin
    return found


def traces_of(keys: Collection[str]) -> dict[str, set[str]]:
    """Flow → its traces."""
    found: dict[str, set[str]] = {key: set() for key in keys}
    for key, trace_id in select(FlowMember, ["key", "trace_id"], {"key": keys}):
        found[key].add(trace_id)
    return found


def by_trace(spans: Iterable[Span]) -> dict[str, dict[Context, Span]]:
    """Spans grouped by trace; of two at one address the first stays."""
    found: dict[str, dict[Context, Span]] = {}
    for span in spans:
        found.setdefault(span.trace_id, {}).setdefault(Context(span.trace_id, span.span_id), span)
    return found


def linking(trace_id: str, targets: Collection[str]) -> set[Context]:
    """The spans of a trace that link to one of the target traces."""
    found: set[Context] = set()
    for part in chunks(targets):
        rows = StoredLink.objects.filter(trace_id=trace_id, linked_trace_id__in=part)
        found.update(Context(*row) for row in rows.values_list("trace_id", "span_id"))
    return found


def linking_to(contexts: Collection[Context]) -> set[str]:
    """The traces with a span that links to one of these spans."""
    found: set[str] = set()
    wanted = set(contexts)
    for part in chunks(contexts):
        rows = select(StoredLink, ["trace_id", "linked_trace_id", "linked_span_id"], _at(part, "linked_"))
        found.update(source for source, *target in rows if Context(*target) in wanted)
    return found


def lines(keys: Collection[str]) -> set[str]:
    """Which of these keys have a line in the list of flows."""
    return {key for (key,) in select(FlowRow, ["key"], {"key": keys})}


def first_spans(trace_ids: Collection[str], limit: int) -> list[Span]:
    """The earliest spans of these traces."""
    found: list[tuple[int, bytes | memoryview]] = []
    for part in chunks(trace_ids):
        rows = StoredSpan.objects.filter(trace_id__in=part).order_by("start_ns").values_list("start_ns", "body")
        found = sorted((*found, *rows[:limit]), key=lambda row: row[0])[:limit]
    return [decoded(body) for _, body in found]
