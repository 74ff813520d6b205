"""The rules that give an edge, a consumer group or a node its health, each with the words that say why.

Levels: ok, warn, crit, idle (nothing known or nothing going on). The first rule that holds wins; nothing here is tuned
per installation: alert rules are, and a firing one comes first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from eventflow.domain.lag import BEHIND, LATE, LagStatus

Level: TypeAlias = Literal["crit", "warn", "ok", "idle"]
ORDER: tuple[Level, ...] = ("crit", "warn", "ok", "idle")
LATE_SECONDS = 30.0
CRITICAL_SECONDS = 300.0
FAILING = 0.01
CRITICALLY_FAILING = 0.2
FAILURES = 2
"""One failure alone is no trend."""


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict, its word, and the rule that gave it (empty for a healthy one)."""

    level: Level = "ok"
    word: str = "Healthy"
    rule: str = ""


OK = Health()
IDLE = Health("idle", "Idle", "no traffic in this time")
WORDS: dict[Level, str] = {"crit": "Critical", "warn": "Behind", "ok": "Healthy", "idle": "Idle"}


def worst(verdicts: Iterable[Health]) -> Health:
    """The worst of them; idle when there is none."""
    return min(verdicts, key=lambda health: ORDER.index(health.level), default=IDLE)


def failing(count: int, errors: int) -> Health | None:
    """Whether too many failed."""
    if errors < FAILURES or count <= 0 or errors / count < FAILING:
        return None
    share = min(1.0, errors / count)
    rule = f"{share * 100:.2g} % of {count:,} failed"
    return Health("crit", "Failing", rule) if share >= CRITICALLY_FAILING else Health("warn", "Failing", rule)


def lagging(
    status: str,
    reason: str,
    age_seconds: float | None,
    *,
    firing: str = "",
    firing_level: Level = "warn",
) -> Health:
    """How a consumer group fares: its alert, the lag engine's word, then the age of what waits (if that is current)."""
    if firing:
        return Health(firing_level, WORDS[firing_level], firing)
    if status == LagStatus.UNKNOWN:
        return Health("idle", "Unknown", reason or "the broker does not tell")
    if status in BEHIND:
        return Health("crit", "Critical", reason)
    if age_seconds is not None and age_seconds > CRITICAL_SECONDS:
        return Health("crit", "Critical", "oldest waiting over 5 min")
    if status in LATE:
        return Health("warn", "Behind", reason)
    if age_seconds is not None and age_seconds > LATE_SECONDS:
        return Health("warn", "Behind", "oldest waiting over 30 s")
    if status == LagStatus.DRAINING:
        return Health("ok", "Draining", reason)
    if status in (LagStatus.IDLE, LagStatus.ABANDONED):
        return Health("idle", "Idle", reason)
    return Health("ok", "Healthy", reason)
