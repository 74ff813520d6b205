"""Counts what libraries' messaging spans lack: a few additions per shape, one row per library and step.

Each new span is counted once, in the transaction that stores it.
"""

from collections import defaultdict
from collections.abc import Sequence

from django.db import connection

from eventflow.domain.instrumentation import FIELDS, consumes, dialect, missing
from eventflow.domain.observations import Span
from eventflow.store.models import LibraryCount
from eventflow.store.spans.text import fit, fit_ns

COLUMNS = ("spans", "consuming", *(f"no_{name}" for name in FIELDS))
KEY = ("service", "scope", "dialect")
Counts = dict[tuple[str, str, str], list[int]]


def none() -> Counts:
    """(service, scope, dialect) → the sums of COLUMNS, and the newest end: nothing counted yet."""
    return defaultdict(lambda: [0] * (len(COLUMNS) + 1))


def add(counts: Counts, key: tuple[str, str, str], sums: Sequence[int], *, times: int, last_ns: int) -> None:
    """Count `times` spans of which each adds `sums`; the newest ended at `last_ns`."""
    into = counts[key]
    for at, one in enumerate(sums):
        into[at] += one * times
    into[-1] = max(into[-1], last_ns)


def of(span: Span) -> tuple[tuple[str, str, str], tuple[int, ...]] | None:
    """Where a span counts and what it adds; None for one without messaging."""
    if span.messaging is None:
        return None
    lacks = missing(span)
    sums = (1, int(consumes(span)), *(int(name in lacks) for name in FIELDS))
    return (span.service, span.scope, dialect(span)), sums


def write(counts: Counts) -> None:
    """Add them up. Inside the step's transaction; in an order that is always the same, so that none waits in a ring."""
    if not counts:
        return
    quote = connection.ops.quote_name
    table = quote(LibraryCount._meta.db_table)
    names = (*KEY, *COLUMNS, "last_ns")
    sums = ", ".join(f"{quote(name)} = {table}.{quote(name)} + excluded.{quote(name)}" for name in COLUMNS)
    last, greatest = quote("last_ns"), "GREATEST" if connection.vendor == "postgresql" else "MAX"
    sql = (  # names come from our own model
        f"INSERT INTO {table} ({', '.join(map(quote, names))}) VALUES ({', '.join(['%s'] * len(names))}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(map(quote, KEY))}) DO UPDATE SET {sums}, "
        f"{last} = {greatest}({table}.{last}, excluded.{last})"
    )
    rows = [
        (fit(service), fit(scope, 200), fit(words, 100), *sums[:-1], fit_ns(sums[-1]))
        for (service, scope, words), sums in sorted(counts.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)  # type: ignore[arg-type]  # the columns above fix the types
