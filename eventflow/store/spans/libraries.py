"""Counts what libraries' messaging spans lack: a few additions per span, one row per library and step.

Each new span is counted once, in the transaction that stores it.
"""

from collections import defaultdict
from collections.abc import Iterable

from django.db import connection

from eventflow.domain.instrumentation import FIELDS, consumes, dialect, missing
from eventflow.domain.observations import Span
from eventflow.store.models import LibraryCount
from eventflow.store.spans.text import fit, fit_ns

COLUMNS = ("spans", "consuming", *(f"no_{name}" for name in FIELDS))
KEY = ("service", "scope", "dialect")
Counts = dict[tuple[str, str, str], list[int]]


def count(spans: Iterable[Span]) -> Counts:
    """(service, scope, dialect) → the sums of COLUMNS, and the newest end."""
    found: Counts = defaultdict(lambda: [0] * (len(COLUMNS) + 1))
    for span in spans:
        if span.messaging is None:
            continue
        sums = found[span.service, span.scope, dialect(span)]
        sums[0] += 1
        sums[1] += consumes(span)
        for name in missing(span):
            sums[2 + FIELDS.index(name)] += 1
        sums[-1] = max(sums[-1], span.end_ns)
    return found


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
