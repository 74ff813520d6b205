"""The counts of the rail: one cheap query, asked on every page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from eventflow.domain.lag import BEHIND, LATE
from eventflow.store.models import ConsumerGroup, DeadLetter, Incident, Replay
from eventflow.store.queries.lag import FIRING

ARRIVING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Counts:
    groups_behind: int
    groups_critical: int
    letters_open: int
    letters_arriving: bool
    replays_running: int
    alerts_firing: int
    alerts_critical: int


def counts() -> Counts:
    """What waits for somebody, over all sources. 1 query."""
    late, behind, firing = (sorted(map(str, states)) for states in (BEHIND | LATE, BEHIND, FIRING))
    since = connection.ops.adapt_datetimefield_value(timezone.now() - ARRIVING)
    wanted: list[tuple[type[Model], str, list[Any]]] = [
        (ConsumerGroup, f"status IN ({_marks(late)})", [*late]),
        (ConsumerGroup, f"status IN ({_marks(behind)})", [*behind]),
        (DeadLetter, "status = %s", ["open"]),
        (DeadLetter, "status = %s AND captured_at > %s", ["open", since]),
        (Replay, "state = %s", ["running"]),
        (Incident, f"state IN ({_marks(firing)})", [*firing]),
        (Incident, f"state IN ({_marks(firing)}) AND severity = %s", [*firing, "critical"]),
    ]
    # As text, in one statement: on every page, building these with the ORM takes longer than their answers.
    tables = [connection.ops.quote_name(model._meta.db_table) for model, _, _ in wanted]
    parts = [f"(SELECT COUNT(*) FROM {table} WHERE {what})" for table, (_, what, _) in zip(tables, wanted, strict=True)]  # noqa: S608  # our own tables and the conditions above
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", [value for _, _, values in wanted for value in values])
        late_groups, critical_groups, letters, arriving, replays, alerts, critical_alerts = cursor.fetchone()
    return Counts(late_groups, critical_groups, letters, arriving > 0, replays, alerts, critical_alerts)


def _marks(values: Sequence[object]) -> str:
    return ", ".join(["%s"] * len(values))
