"""What the ledger and the brokers know of flows beside their spans: dead letters, replays, who reads what.

Letters are found by any of correlation id, trace id and message id, for many flows in the same few queries.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from django.db import connection

from eventflow.domain.flow import FlowLetter, FlowReplay, LetterStatus, ReplayState
from eventflow.store.models import DeadLetter, Edge, ReplayItem
from eventflow.store.spans.rows import chunks, select, select_any

_LETTER_STATES = {status.value: status for status in LetterStatus}
_REPLAY_STATES = {"sending": ReplayState.QUEUED, **{state.value: state for state in ReplayState}}
MEMORY_NS = 24 * 3600 * 1_000_000_000
"""A group that read a destination within this time before a flow is expected to read it again."""

_LETTER_FIELDS = (
    "id",
    "location",
    "consumer_group",
    "destination",
    "message_id",
    "trace_id",
    "span_id",
    "failed_at",
    "error_type",
    "error_message",
    "stack",
    "attempts",
    "status",
    "correlation_id",
    "evidence",
    "service",
    "system",
    "event_type",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a flow is known by."""

    traces: frozenset[str] = frozenset()
    message_ids: frozenset[str] = frozenset()


@dataclass(slots=True)
class Evidence:
    """The letters of a flow and what became of their replays."""

    letters: list[FlowLetter] = field(default_factory=list)
    replays: list[FlowReplay] = field(default_factory=list)


def of_flows(flows: Mapping[str, Asked]) -> dict[str, Evidence]:
    """Key → its evidence; flows without any are left out."""
    rows = _letters(flows)
    keys_by_trace: dict[str, set[str]] = defaultdict(set)
    keys_by_message: dict[str, set[str]] = defaultdict(set)
    for key, asked in flows.items():
        for trace in asked.traces:
            keys_by_trace[trace].add(key)
        for message_id in asked.message_ids:
            keys_by_message[message_id].add(key)
    found: dict[str, Evidence] = defaultdict(Evidence)
    replays = _replays(rows)
    for letter_id, row in rows.items():
        correlation_id = str(row["correlation_id"])
        keys = {correlation_id} & flows.keys() if correlation_id else set()
        keys |= keys_by_trace.get(str(row["trace_id"]), set())
        if not correlation_id:
            keys |= keys_by_message.get(str(row["message_id"]), set())
        for key in keys:
            found[key].letters.append(_letter(row))
            found[key].replays.extend(replays.get(letter_id, ()))
    return dict(found)


def letters_without_flow() -> bool:
    """Whether any letter names no correlation id: only those are looked for by their message id."""
    table = connection.ops.quote_name(DeadLetter._meta.db_table)
    with connection.cursor() as cursor:
        # Asked for every flow that is read: building this with the ORM takes longer than the answer.
        cursor.execute(f"SELECT 1 FROM {table} WHERE correlation_id = '' AND message_id <> '' LIMIT 1")  # noqa: S608  # our own table
        return cursor.fetchone() is not None


def consumers() -> "Consumers":
    """Who reads what, as the spans of all time show it."""
    rows = select(Edge, ("destination", "group", "first_ns", "last_ns"), {"kind": ["consume"]})
    return Consumers(tuple(row for row in rows if row[0]))


@dataclass(frozen=True, slots=True)
class Consumers:
    """(destination, group, first seen, last seen) of every consumer."""

    rows: tuple[tuple[str, str, int, int], ...]

    def joined(self, rows: Collection[tuple[str, str, int, int]]) -> "Consumers":
        """With more consumers."""
        times: dict[tuple[str, str], tuple[int, int]] = {}
        for destination, group, first, last in (*self.rows, *rows):
            known = times.get((destination, group), (first, last))
            times[destination, group] = (min(known[0], first), max(known[1], last))
        return Consumers(tuple((*names, *bounds) for names, bounds in times.items()))

    def at(self, started_ns: int) -> dict[str, set[str]]:
        """Destination → the groups that a flow begun then must reach: readers before it, and not long gone."""
        found: dict[str, set[str]] = {}
        for destination, group, first_ns, last_ns in self.rows:
            if first_ns <= started_ns <= last_ns + MEMORY_NS:
                found.setdefault(destination, set()).add(group)
        return found


def _letters(flows: Mapping[str, Asked]) -> dict[int, dict[str, object]]:
    wanted = {
        "correlation_id": set(flows),
        "trace_id": {trace for asked in flows.values() for trace in asked.traces},
        "message_id": {message_id for asked in flows.values() for message_id in asked.message_ids},
    }
    found: dict[int, dict[str, object]] = {}
    # Most flows have none: what they are is asked only then.
    ids = set(select_any(DeadLetter, "id", {name: values - {""} for name, values in wanted.items()}))
    for part in chunks(ids):
        found.update({row["id"]: dict(row) for row in DeadLetter.objects.filter(pk__in=part).values(*_LETTER_FIELDS)})
    return found


def _replays(letters: Collection[int]) -> dict[int, list[FlowReplay]]:
    found: dict[int, list[FlowReplay]] = defaultdict(list)
    for part in chunks(letters):
        items = ReplayItem.objects.filter(letter_id__in=part).select_related("replay").order_by("queued_at", "id")
        for item in items:
            found[item.letter_id].append(
                FlowReplay(
                    id=str(item.pk),
                    letter_id=str(item.letter_id),
                    state=_REPLAY_STATES.get(item.state, ReplayState.UNKNOWN),
                    trace_id=item.trace_id or None,
                    span_id=item.span_id or None,
                    at=item.sent_at or item.queued_at,
                    by=item.replay.created_by_name,
                    reason=item.replay.reason,
                )
            )
    return found


def _letter(row: Mapping[str, object]) -> FlowLetter:
    text = {name: str(value) if value not in (None, "") else None for name, value in row.items()}
    evidence = row["evidence"]
    return FlowLetter(
        id=str(row["id"]),
        location=str(row["location"]),
        group=text["consumer_group"],
        destination=text["destination"],
        message_id=text["message_id"],
        trace_id=text["trace_id"],
        span_id=text["span_id"],
        failed_at=row["failed_at"],  # type: ignore[arg-type]  # a row of values() has no types
        error_type=text["error_type"],
        error_message=text["error_message"],
        stack=text["stack"],
        attempts=row["attempts"],  # type: ignore[arg-type]  # a row of values() has no types
        status=_LETTER_STATES.get(str(row["status"]), LetterStatus.OPEN),
        correlation_id=text["correlation_id"],
        correlation_rule=evidence.get("correlation_id") if isinstance(evidence, dict) else None,
        service=text["service"],
        system=text["system"],
        event_type=text["event_type"],
    )
