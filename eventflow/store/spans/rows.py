"""Bulk SQL for spans and lag: the same statements on SQLite and PostgreSQL, many rows at once.

Django's bulk_create costs more per row than everything else in a digest step together; reads stay with the ORM.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import connection, models

CHUNK = 500
"""Values per IN list: below every database's limit of parameters."""

T = TypeVar("T")


def chunks(values: Collection[T]) -> Iterator[list[T]]:
    """The values in an order that is always the same, in parts that fit an IN list."""
    ordered = sorted(values)  # type: ignore[type-var]  # texts, numbers and tuples of them
    for start in range(0, len(ordered), CHUNK):
        yield ordered[start : start + CHUNK]


def select(
    model: type[models.Model], columns: Sequence[str], where: Mapping[str, Collection[T]], group_by: str = ""
) -> Iterator[tuple[Any, ...]]:
    """The columns of all rows whose `where` columns hold one of the values; the first is read in parts.

    For the statements of every digest step: building such a query with the ORM costs more than running it.
    """
    quote = connection.ops.quote_name
    (first, values), *others = where.items()
    names = ", ".join(column if "(" in column else quote(column) for column in columns)
    also: list[Any] = [value for _, more in others for value in more]
    for part in chunks(values):
        holds = [(first, part), *others]
        tests = " AND ".join(f"{quote(name)} IN ({', '.join(['%s'] * len(wanted))})" for name, wanted in holds)
        sql = f"SELECT {names} FROM {quote(model._meta.db_table)} WHERE {tests}"  # noqa: S608  # names of our own models
        given: list[Any] = [*part, *also]
        with connection.cursor() as cursor:
            cursor.execute(sql + (f" GROUP BY {quote(group_by)}" if group_by else ""), given)
            rows = cursor.fetchall()
        yield from rows


def insert(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    unique: Sequence[str] = (),
    update: Sequence[str] = (),
) -> None:
    """Insert rows; those that exist by `unique` are left alone, or get the new values of the columns in `update`."""
    rows = list(rows)
    if not rows:
        return
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    names = ", ".join(quote(column) for column in columns)
    values = ", ".join(["%s"] * len(columns))
    sql = f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608  # names come from our own models
    if unique:
        target = ", ".join(quote(column) for column in unique)
        changes = ", ".join(f"{quote(column)} = excluded.{quote(column)}" for column in update)
        sql += f" ON CONFLICT ({target}) DO " + (f"UPDATE SET {changes}" if update else "NOTHING")
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)  # type: ignore[arg-type]  # the callers' columns fix the types


def update(model: type[models.Model], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Set the columns of many rows; each of `rows` holds the new values and then the row's id."""
    rows = list(rows)
    if not rows:
        return
    quote = connection.ops.quote_name
    changes = ", ".join(f"{quote(column)} = %s" for column in columns)
    sql = f"UPDATE {quote(model._meta.db_table)} SET {changes} WHERE id = %s"  # noqa: S608  # names of our own models
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)  # type: ignore[arg-type]  # the callers' columns fix the types


def instant(at: datetime | None) -> object:
    """A moment as this database's driver wants it in the statements above."""
    if at is None or connection.vendor != "sqlite":
        return at
    return str(at.astimezone(UTC).replace(tzinfo=None))
