"""The activity feed: alerts, replays, new causes of dead letters and what people did, newest first, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import NoReverseMatch, reverse

from eventflow.accounts import audit
from eventflow.store.queries import overview as queries

SPAN = timedelta(hours=24)
SHOWN = 10
WORDS = {
    "user.create": "Account created",
    "user.role": "Role changed",
    "token.create": "API token created",
    "token.revoke": "API token revoked",
    "silence": "Alerts silenced",
}
"""What people do that no other entry of the feed tells already; the rest is on the audit page."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `mark` is an icon's name, or a health glyph's when `level` is set."""

    at: datetime
    mark: str
    lead: str
    text: str
    by: str = ""
    url: str = ""
    level: str = ""
    kind: str = ""


def _url(view: str, *args: object) -> str:
    try:
        return reverse(view, args=args)
    except NoReverseMatch:
        return ""


def recent(now: datetime) -> list[Entry]:
    """What happened in the last day."""
    since = now - SPAN
    entries = [*_incidents(since), *_replays(since), *_letters(since), *_audit(since)]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:SHOWN]


def _incidents(since: datetime) -> Iterator[Entry]:
    for row in queries.incidents(since, SHOWN):
        level = "crit" if row.severity == "critical" else "warn"
        url = _url("alerts:page")
        if row.fired_at and row.fired_at >= since:
            yield Entry(row.fired_at, level, "Alert fired:", row.title, row.rule.name, url, level, "alerts")
        if row.resolved_at and row.resolved_at >= since:
            yield Entry(row.resolved_at, "ok", "Recovered:", row.title, row.rule.name, url, "ok", "alerts")


def _replays(since: datetime) -> Iterator[Entry]:
    for row in queries.replays(since, SHOWN):
        messages = f"{row.total:,} message{'' if row.total == 1 else 's'}"
        url = _url("replays:replay", row.pk)
        if row.state == "running":
            done = row.confirmed + row.failed
            yield Entry(
                row.at, "replay", "Replay running:", f"{messages}, {done:,} done", f"by {row.by}", url, kind="replays"
            )
        else:
            lead = "Replay cancelled:" if row.state == "cancelled" else "Replay finished:"
            again = f", {row.failed:,} failed again" if row.failed else ""
            text = f"{row.confirmed:,} of {row.total:,} recovered{again}"
            mark = "stop" if row.state == "cancelled" else "check"
            yield Entry(row.at, mark, lead, text, f"by {row.by}", url, kind="replays")


def _letters(since: datetime) -> Iterator[Entry]:
    for row in queries.new_letter_groups(since, SHOWN):
        where = row.service or row.consumer_group or row.location
        name = row.error_type.rsplit(".", 1)[-1] or row.title
        yield Entry(
            row.first_at, "offramp", "New dead-letter group:", f"{name} in {where}", "", _url("dead_letters:page")
        )


def _audit(since: datetime) -> Iterator[Entry]:
    for row in audit.recent(since, 3 * SHOWN):
        words = WORDS.get(row.action)
        if words:
            yield Entry(row.at, "user", f"{words}:", row.target, f"by {row.actor}")
