"""Reads of the sources: how each collector fares and what it costs its broker. `all_sources` is one query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce

from eventflow.store.models import ConsumerGroup, Destination, Source

SEVERITIES = {"waiting": "run", "connecting": "run", "blind": "warn", "stopped": "crit", "paused": "idle"}
WORDS = {
    "waiting": "Not picked up yet",
    "connecting": "Connecting",
    "blind": "Blind",
    "stopped": "Stopped",
    "paused": "Paused",
}


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source. `rights` maps what it may do to ``allowed``, ``denied`` or ``unknown``."""

    name: str
    system: str
    address: str
    state: str
    message: str = ""
    rights: Mapping[str, str] = field(default_factory=dict)
    calls: int = 0
    received_bytes: int = 0
    cycle_seconds: float = 0.0
    pause_seconds: float = 0.0
    costs: Sequence[Sequence[float]] = ()
    """Of the last hour, by minute: minute since 1970, looks, calls, bytes, seconds."""
    seen_at: datetime | None = None
    ok_at: datetime | None = None
    groups: int = 0
    destinations: int = 0

    @property
    def severity(self) -> str:
        """ok, warn, crit or run, for its glyph."""
        if self.state == "ok":
            return "warn" if "denied" in self.rights.values() else "ok"
        return SEVERITIES.get(self.state, "idle")

    @property
    def word(self) -> str:
        """Its state in words."""
        if self.state == "ok":
            missing = sum(right == "denied" for right in self.rights.values())
            return f"Connected, {missing} permission{'s' * (missing > 1)} missing" if missing else "Connected"
        return WORDS.get(self.state, self.state)


def cursors() -> dict[str, dict[str, int]]:
    """Where each source's collector goes on after a restart. One query."""
    return dict(Source.objects.values_list("name", "cursors"))


def states() -> dict[str, str]:
    """How each source fares, in a word. One query."""
    return dict(Source.objects.values_list("name", "state"))


def all_sources() -> list[SourceRow]:
    """Every source by name."""

    def count(model: type[ConsumerGroup] | type[Destination]) -> Coalesce:
        rows = model._default_manager.filter(source=OuterRef("name")).order_by().values("source")
        return Coalesce(Subquery(rows.annotate(n=Count("pk")).values("n")), 0)

    rows = Source.objects.order_by("name").annotate(groups=count(ConsumerGroup), destinations=count(Destination))
    return [
        SourceRow(
            name=row.name,
            system=row.system,
            address=row.address,
            state=row.state,
            message=row.message,
            rights=row.rights,
            calls=row.calls,
            received_bytes=row.received_bytes,
            cycle_seconds=row.cycle_seconds,
            pause_seconds=row.pause_seconds,
            costs=row.costs,
            seen_at=row.seen_at,
            ok_at=row.ok_at,
            groups=row.groups,
            destinations=row.destinations,
        )
        for row in rows
    ]
