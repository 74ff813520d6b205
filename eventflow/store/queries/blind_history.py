"""Reads of when sources were out of sight, as the past of alert rules. 2 queries."""

from collections import defaultdict
from datetime import datetime

from django.db.models import Q

from eventflow.domain import alert, alert_backtest
from eventflow.domain.alert import Measurement, Rule
from eventflow.domain.alert_backtest import BackTest, Spell, Track
from eventflow.store.models import BlindSpell, Source

MOST_SPELLS = 5_000
STOOD_STILL = "While Eventflow itself stood still, nothing was seen: such a time neither begins nor ends an alert."


def backtest(rule: Rule, start: datetime, now: datetime) -> BackTest:
    """A rule for blind sources against the spells since `start`."""
    sources: dict[str, str] = {}
    first: list[datetime] = []
    for name, system, seen_at in Source.objects.exclude(state="paused").values_list("name", "system", "first_seen_at"):
        if alert.matches(rule.pattern, (name, system)):
            sources[name] = system
            first.append(seen_at)
    spells: dict[str, list[Spell]] = defaultdict(list)
    recorded = BlindSpell.objects.filter(Q(ended_at=None) | Q(ended_at__gte=start), seen_at__gte=start)
    found = recorded.order_by("-began_at").values_list("source", "system", "began_at", "seen_at", "ended_at")
    for name, system, began_at, seen_at, ended_at in reversed(found[:MOST_SPELLS]):
        if alert.matches(rule.pattern, (name, system)):
            sources.setdefault(name, system)
            first.append(began_at)
            spells[name].append(Spell(began_at, seen_at, ended_at))
    tracks = [
        Track(
            None, name, alert_backtest.out_of_sight(rule, past, _empty(name, sources[name]), start, now), float("inf")
        )
        for name, past in spells.items()
    ]
    fired = tuple(alert_backtest.fired(rule, tracks))
    return BackTest(start, now, max(start, min(first)) if first else None, fired, len(sources), 0, STOOD_STILL)


def _empty(name: str, system: str) -> Measurement:
    return Measurement(name, name, (name, system))
