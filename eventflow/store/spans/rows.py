"""Bulk SQL for spans and lag: the same statements on SQLite and PostgreSQL, many rows at once.

Django's bulk_create costs more per row than everything else in a digest step together; reads stay with the ORM.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from django.db import connection, models, transaction

CHUNK = 500
"""Values per IN list: below every database's limit of parameters."""

ASKED = 2_000
"""Values asked for at once where they are one parameter: it bounds the rows that are read at once."""

T = TypeVar("T")


def chunks(values: Collection[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The values in an order that is always the same, in parts that fit an IN list."""
    ordered = sorted(values)  # type: ignore[type-var]  # texts, numbers and tuples of them
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def select(
    model: type[models.Model], columns: Sequence[str], where: Mapping[str, Collection[T]]
) -> Iterator[tuple[Any, ...]]:
    """The columns of all rows whose `where` column, one, holds one of the values: integers, texts or truth values.

    For the statements of every digest step: building such a query with the ORM costs more than running it.
    """
    ((column, values),) = where.items()
    vendor = connection.vendor
    for part in chunks(values, ASKED):
        alone = len(part) == 1
        given: Any = part[0] if alone else part if vendor == "postgresql" else json.dumps(part)
        with connection.cursor() as cursor:
            cursor.execute(_selecting(model, tuple(columns), column, vendor, alone), [given])
            rows = cursor.fetchall()
        yield from rows


@lru_cache(maxsize=512)
def _selecting(model: type[models.Model], columns: Sequence[str], column: str, vendor: str, alone: bool) -> str:
    """The statement of `select`, for one value (`alone`) or for many: it is run too often to be put together anew."""
    quote = connection.ops.quote_name
    names = ", ".join(quote(name) for name in columns)
    many = "= ANY(%s)" if vendor == "postgresql" else "IN (SELECT value FROM json_each(%s))"
    return f"SELECT {names} FROM {quote(model._meta.db_table)} WHERE {quote(column)} {'= %s' if alone else many}"  # noqa: S608  # names of our own models


def largest(model: type[models.Model]) -> int:
    """The largest id there is; 0 for none."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT MAX(id) FROM {connection.ops.quote_name(model._meta.db_table)}")  # noqa: S608  # as above
        ((found,),) = cursor.fetchall()
    return found or 0


def delete(model: type[models.Model], ids: Collection[int]) -> None:
    """Delete the rows with these ids, which no other row refers to."""
    table = connection.ops.quote_name(model._meta.db_table)
    for part in chunks(ids):
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE id IN ({', '.join(['%s'] * len(part))})", part)  # noqa: S608  # as above


def select_any(model: type[models.Model], column: str, where: Mapping[str, Collection[T]]) -> Iterator[Any]:
    """A column of all rows in which one of the `where` columns holds one of its values. Some rows may come twice."""
    if sum(map(len, where.values())) > CHUNK:
        for name, values in where.items():
            yield from (value for (value,) in select(model, (column,), {name: values}))
        return
    quote = connection.ops.quote_name
    given: list[Any] = []
    parts = []
    for name, values in where.items():
        if values:
            marks = ", ".join(["%s"] * len(values))
            parts.append(f"SELECT {quote(column)} FROM {quote(model._meta.db_table)} WHERE {quote(name)} IN ({marks})")  # noqa: S608  # names of our own models
            given += values
    if parts:
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts), given)
            rows = cursor.fetchall()
        yield from (value for (value,) in rows)


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
    into = f"INSERT INTO {table} ({names})"
    conflict = ""
    if unique:
        target = ", ".join(quote(column) for column in unique)
        changes = ", ".join(f"{quote(column)} = excluded.{quote(column)}" for column in update)
        conflict = f" ON CONFLICT ({target}) DO " + (f"UPDATE SET {changes}" if update else "NOTHING")
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _copy(cursor, model, columns, rows, f"{into} SELECT * FROM incoming{conflict}" if unique else "")  # noqa: S608  # names of our own models
            return
        sql = f"{into} VALUES ({', '.join(['%s'] * len(columns))}){conflict}"
        cursor.executemany(sql, rows)  # type: ignore[arg-type]  # the callers' columns fix the types


def _copy(
    cursor: Any, model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[object]], then: str
) -> None:
    """PostgreSQL's bulk way in, in binary; with `then`, a statement that takes the rows out of a table `incoming`."""
    quote = connection.ops.quote_name
    table, names = quote(model._meta.db_table), ", ".join(quote(column) for column in columns)
    if then and len(rows) < FEW:
        values = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(rows))
        sql = then.replace("SELECT * FROM incoming", f"VALUES {values}")
        cursor.execute(sql, [value for row in rows for value in row])
        return
    if then:
        cursor.execute(
            f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA"  # noqa: S608  # as above
        )
        table = "incoming"
    fields = {field.column: field for field in model._meta.concrete_fields}
    with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([_TYPES[_internal(fields[column])] for column in columns])
        for row in rows:
            copy.write_row(row)
    if then:
        cursor.execute(then)
        cursor.execute("DROP TABLE incoming")


def insert_new(model: type[models.Model], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[int]:
    """Insert rows whose ids the database chooses, and return those. Moments as the database keeps them."""
    if connection.vendor == "postgresql":
        # It takes bodies as they are only in its bulk way in, which tells no ids.
        ids = _new_ids(model, len(rows))
        insert(model, ("id", *columns), [(pk, *row) for pk, row in zip(ids, rows, strict=True)])
        return ids
    quote = connection.ops.quote_name
    names, marks = ", ".join(map(quote, columns)), ", ".join(["%s"] * len(columns))
    sql = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks}) RETURNING id"  # noqa: S608  # names of our own models
    ids = []
    with connection.cursor() as cursor:
        for row in rows:
            cursor.execute(sql, row)
            ids += cursor.fetchone()
    return ids


def _new_ids(model: type[models.Model], number: int) -> list[int]:
    """Ids that nobody else gets, for rows that are then inserted with them. PostgreSQL only."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
            [model._meta.db_table, number],
        )
        return [pk for (pk,) in cursor.fetchall()]


def _internal(field: "models.Field[Any, Any]") -> str:
    """The type of a column; a foreign key's is that of the key it holds."""
    return field.target_field.get_internal_type() if isinstance(field, models.ForeignKey) else field.get_internal_type()


FEW = 64
"""Rows up to which a statement with the values in it costs PostgreSQL less than a table of its own."""
_TYPES = {
    "BigAutoField": "int8",
    "BigIntegerField": "int8",
    "BinaryField": "bytea",
    "BooleanField": "bool",
    "CharField": "varchar",
    "DateTimeField": "timestamptz",
    "FloatField": "float8",
    "IntegerField": "int4",
    "PositiveSmallIntegerField": "int2",
    "SmallIntegerField": "int2",
    "TextField": "text",
}


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
