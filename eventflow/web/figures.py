"""The overview's figures: six numbers with their last hour, the groups furthest behind, the flows that failed last."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.urls import NoReverseMatch, reverse

from eventflow.domain.edge import EdgeStats
from eventflow.store.queries import flows, lag, overview
from eventflow.store.queries import topology as rollups
from eventflow.store.queries.lag import LagRow
from eventflow.web import formats

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEP_SECONDS = 60
SHOWN_GROUPS, SHOWN_FLOWS = 6, 7
RANK = {"crit": 0, "warn": 1, "run": 2, "ok": 3, "idle": 4}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number: `parts` are its digits and units in turn; `note` stands below it."""

    name: str
    parts: tuple[tuple[str, str], ...]
    note: str
    url: str
    spark: tuple[float | None, ...]
    level: str = ""


def _url(view: str, **query: str) -> str:
    try:
        return reverse(view) + ("?" + "&".join(f"{name}={value}" for name, value in query.items()) if query else "")
    except NoReverseMatch:
        return ""


def split(text: str) -> tuple[tuple[str, str], ...]:
    """`5 m 32 s` as digits and units, so that units can be small: (("5", "m"), ("32", "s"))."""
    words = text.replace("/s", " /s").split()
    pairs: list[tuple[str, str]] = []
    for word in words:
        if word[0].isdigit() or word[0] in "<–" or not pairs:
            pairs.append((word, ""))
        else:
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]} {word}".strip())
    return tuple(pairs)


def lag_rows(now: datetime) -> list[LagRow]:
    """Every group with its last hour."""
    return lag.with_sparks(lag.groups(now), HOUR.total_seconds(), now)


def context(now: datetime, rows: list[LagRow], minute: list[EdgeStats]) -> dict[str, Any]:
    """All six. `minute`: the edges of the last minute."""
    totals = rollups.totals(now - HOUR, now, STEP_SECONDS)[-60:]
    alerts = overview.alerts(now)
    figures = (
        _events(minute, totals, now),
        _failures(minute, totals),
        _lag(rows),
        _oldest(rows, overview.oldest_ages(now)),
        _letters(overview.letters(now)),
        _alerts(alerts),
    )
    return {"figures": figures, "alert": alerts}


def _seconds(edges: list[EdgeStats], now: datetime) -> float:
    firsts = [edge.first_at for edge in edges if edge.first_at]
    return max(10.0, min(60.0, (now - min(firsts)).total_seconds())) if firsts else 60.0


def _events(minute: list[EdgeStats], totals: list[rollups.TotalPoint], now: datetime) -> Figure:
    rate = sum(edge.count for edge in minute if edge.key.kind == "publish") / _seconds(minute, now)
    # The last step has only begun.
    past = [point.published / STEP_SECONDS for point in totals[:-1]]
    top = max([rate, *past])
    note = f"up to {formats.rate(top)} in the last hour" if top else "none in the last hour"
    return Figure("Events", split(formats.rate(rate)), note, _url("topology:page"), tuple(past))


def _failures(minute: list[EdgeStats], totals: list[rollups.TotalPoint]) -> Figure:
    consumed = [edge for edge in minute if edge.key.kind == "consume"]
    count, errors = sum(edge.count for edge in consumed), sum(edge.errors for edge in consumed)
    ratio = errors / count if count else None
    past = [point.errors / point.consumed if point.consumed else None for point in totals[:-1]]
    first = next((value for value in past[:5] if value is not None), None)
    note = (
        f"was {formats.percent(first)} an hour ago"
        if len(totals) >= 60 and first is not None
        else "of deliveries, last minute"
    )
    level = "crit" if ratio and ratio >= 0.2 else "warn" if ratio and ratio >= 0.001 else ""
    return Figure(
        "Failure rate", split(formats.percent(ratio)), note, _url("flows:list", status="failed"), tuple(past), level
    )


def _lag(rows: list[LagRow]) -> Figure:
    known = [row.backlog for row in rows if row.backlog is not None]
    growth = sum((row.in_rate or 0) - (row.out_rate or 0) for row in rows if row.trend)
    if growth >= 0.5:
        note = f"▲ growing by {formats.rate(growth).replace('/s', ' messages/s')}"
    elif growth <= -0.5:
        note = f"▼ draining by {formats.rate(-growth).replace('/s', ' messages/s')}"
    else:
        note = f"steady, over {len(rows)} groups"
    sparks = [row.spark for row in rows if row.spark]
    summed = tuple(
        sum(value for value in step if value is not None) if any(value is not None for value in step) else None
        for step in zip(*sparks, strict=False)
    )
    return Figure("Total lag", ((formats.count(sum(known) if known else None), ""),), note, _url("lag:page"), summed)


def _oldest(rows: list[LagRow], ages: list[float | None]) -> Figure:
    waiting = [row for row in rows if row.age_seconds]
    worst = max(waiting, key=lambda row: row.age_seconds or 0.0, default=None)
    if worst is None:
        return Figure("Oldest unprocessed", (("0", "s"),), "nothing waits", _url("lag:page"), tuple(ages))
    age = worst.age_seconds or 0.0
    level = "crit" if age > 300 or worst.severity == "crit" else "warn" if worst.severity == "warn" or age > 30 else ""
    note = f"{worst.group} on {worst.destination}"
    return Figure("Oldest unprocessed", split(formats.duration(age)), note, _url("lag:page"), tuple(ages), level)


def _letters(letters: overview.Letters) -> Figure:
    groups = f", {letters.new_groups} new group{'' if letters.new_groups == 1 else 's'}" if letters.new_groups else ""
    note = f"▲ {letters.recent:,} in the last 10 min{groups}" if letters.recent else "nothing new in the last 10 min"
    level = "warn" if letters.recent else ""
    shown = ((formats.count(letters.waiting), ""),)
    return Figure("Dead letters waiting", shown, note, _url("dead_letters:page"), letters.spark, level)


def _alerts(alerts: overview.Alerts) -> Figure:
    number = alerts.critical + alerts.warning
    parts = [f"{alerts.critical} critical"] * bool(alerts.critical) + [f"{alerts.warning} warning"] * bool(
        alerts.warning
    )
    level = "crit" if alerts.critical else "warn" if alerts.warning else ""
    note = ", ".join(parts) or "all quiet"
    return Figure("Alerts firing", ((str(number), ""),), note, _url("alerts:page"), alerts.spark, level)


def groups(rows: list[LagRow]) -> dict[str, Any]:
    """The groups furthest behind."""
    worst = sorted(rows, key=lambda row: (RANK[row.severity], -(row.backlog or 0), row.group))
    return {"lag_rows": worst[:SHOWN_GROUPS], "lag_total": len(rows)}


def failed(now: datetime) -> dict[str, Any]:
    """The flows that failed last, and how many did in the last hour."""
    counts = flows.counts(now - HOUR, now)
    bad = sum(number for status, number in counts.items() if status in ("failed", "dead-lettered"))
    rows = [
        {
            "flow": one,
            "started": datetime.fromtimestamp(one.started_ns / 1e9, tz=now.tzinfo),
            "seconds": one.duration_ns(int(now.timestamp() * 1e9)) / 1e9,
        }
        for one in flows.recent_failed(SHOWN_FLOWS)
    ]
    return {"failed_flows": rows, "failed_count": bad, "flow_count": sum(counts.values())}
