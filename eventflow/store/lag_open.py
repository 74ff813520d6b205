"""Reads the lag that is not packed yet, rows of the last hour or so, as the columns that `store.lag_pack` knows."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Func
from django.db.models.sql.compiler import SQLCompiler

from eventflow.store.lag_pack import COLUMNS, Lags
from eventflow.store.models import LagPoint
from eventflow.store.spans.columns import Ints

AS_SAMPLED = 0


class Tenths(Func):
    """A moment as whole tenths of a second since 1970."""

    output_field = BigIntegerField()
    template = "CAST(FLOOR(EXTRACT(EPOCH FROM %(expressions)s) * 10) AS bigint)"

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        # To the millisecond first: the Julian day is a float.
        days = "(julianday(%(expressions)s) - 2440587.5)"
        template = f"CAST(ROUND({days} * 86400000.0) / 100 AS integer)"
        return self.as_sql(compiler, connection, template=template, **extra)


def read(
    groups: Collection[int],
    resolution: int,
    start: datetime | None,
    end: datetime,
    names: Sequence[str] = COLUMNS,
    *,
    locked: bool = False,
) -> tuple[Ints, Lags]:
    """Rows from `start` up to and without `end`: whose each is, and what it says; group after group, in order of time.

    `locked`: for whoever takes them away. 1 query.
    """
    points = LagPoint.objects.filter(group__in=groups, resolution_seconds=resolution, at__lt=end)
    if start is not None:
        points = points.filter(at__gte=start)
    if locked:
        points = points.select_for_update()
    wanted = names if "ready" in names or "low" not in names else (*names, "ready")
    rows = list(points.order_by("group_id", "at").values_list("group_id", Tenths("at"), *wanted))
    if not rows:
        return np.zeros(0, np.int64), Lags(np.zeros(0, np.int64), {name: np.zeros(0) for name in names})
    group, at, *columns = (list(column) for column in zip(*rows, strict=True))
    found = {name: np.array(column, np.float64) for name, column in zip(wanted, columns, strict=True)}
    if "low" in names:
        found["low"] = np.where(np.isnan(found["low"]), found["ready"], found["low"])
    return np.array(group, np.int64), Lags(np.array(at, np.int64), {name: found[name] for name in names})
