"""The brokers that people described in the settings, as the supervisor and the replays want them.

Looks at rows again and again: what was added, changed, paused or removed shows within one look. A broker that
EVENTFLOW_SOURCES names goes before one of the same name here.
"""

from collections.abc import Mapping
from datetime import datetime

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection

from collectors.base import Collector
from eventflow.domain.observations import SourceStatus
from eventflow.domain.source_setting import KINDS
from eventflow.live import news
from eventflow.store import record
from eventflow.store.queries import source_setting as queries
from eventflow.store.queries import sources as fares
from eventflow.store.record import source_setting
from eventflow.worker import collect, sources
from eventflow.worker.sources import ConfiguredSource

UNREADABLE = "its stored password was sealed with another secret key: type it again in the settings"


def configured() -> list[ConfiguredSource]:
    """Every source of this process, from the environment and from the settings. Raises SourceError."""
    fixed = sources.configured()
    names = {source.name for source in fixed}
    return fixed + [
        ConfiguredSource(row.name, row.setting.url)
        for row in queries.wanted()
        if row.setting and not row.removed and row.name not in names
    ]


class Described:
    """What is wanted of the described brokers now; tells of paused ones and drops removed ones."""

    def __init__(self, now: collect.Now, tell: collect.OnStatus) -> None:
        self._now = now
        self._tell = tell
        self._removed: set[str] = set()

    async def wishes(self) -> Mapping[str, collect.Wish]:
        """One look."""
        wishes, paused = await sync_to_async(self._look)()
        for status in paused:
            await self._tell(status)
        return wishes

    def _look(self) -> tuple[dict[str, collect.Wish], list[SourceStatus]]:
        connection.close_if_unusable_or_obsolete()
        fixed = {source.name for source in sources.configured()}
        every = queries.wanted()
        for row in every:
            if row.removed and row.name in fixed:  # what is told of that name is the other one's now
                source_setting.gone(row.name)
        rows = [row for row in every if row.name not in fixed]
        states = fares.states() if any(row.paused for row in rows) else {}
        self._drop({row.name for row in rows if row.removed})
        wishes, paused = {}, []
        for row in rows:
            if row.removed:
                continue
            if not row.paused:
                wishes[row.name] = collect.Wish(row.setting, _Make(row))
            elif states.get(row.name) != "paused":
                paused.append(_paused(row, self._now()))
        return wishes, paused

    def _drop(self, removed: set[str]) -> None:
        """Forget what was removed one look ago: since then its collector has ended and tells nothing any more."""
        for name in removed & self._removed:
            record.source.drop(name)
            source_setting.gone(name)
            news.publish(["sources", "lag", "topology"])
        self._removed = removed


class _Make:
    """Makes a described broker's collector, going on where an earlier one had stored."""

    def __init__(self, row: queries.Wanted) -> None:
        self._row = row

    async def __call__(self) -> Collector:
        row = self._row
        if row.setting is None:
            return collect.unusable(row.name, row.system, UNREADABLE)
        resume = await sync_to_async(fares.cursors)()
        return collect.collector(
            row.name,
            row.setting.url,
            seconds=settings.EVENTFLOW_POLL_SECONDS,
            correlation_keys=settings.EVENTFLOW_CORRELATION_KEYS,
            resume=resume.get(row.name),
        )


def _paused(row: queries.Wanted, now: datetime) -> SourceStatus:
    kind = KINDS.get(row.system)
    return SourceStatus(row.name, kind.system if kind else row.system, "paused", now)
