"""Who writes next: steps are prepared without a lock and learn when they write whether something changed meanwhile."""

from django.db import connection
from django.db.models import F

from eventflow.store.models import Generation
from eventflow.store.spans.rows import insert, select

LINES, SPANS, JUDGED, PACKED = 1, 2, 3, 4
"""`PACKED`, and one more for every level above: up to which chunk those of that level are known to be large."""


class OutdatedError(Exception):
    """Another step wrote first; what was prepared is thrown away."""


def current(of: int) -> int:
    """The state that a step is about to be prepared on."""
    for (number,) in select(Generation, ("number",), {"id": [of]}):
        return int(number)
    insert(Generation, ("id", "number"), [(of, 0)], unique=("id",))
    return 0


def advance(of: int, before: int, to: int | None = None) -> None:
    """Claim the next one. Inside the step's transaction; raises OutdatedError when somebody else had it."""
    table = connection.ops.quote_name(Generation._meta.db_table)
    with connection.cursor() as cursor:
        # In every step: building this with the ORM takes longer than running it.
        sql = f"UPDATE {table} SET number = %s WHERE id = %s AND number = %s"  # noqa: S608  # our own table
        cursor.execute(sql, [before + 1 if to is None else to, of, before])
        if not cursor.rowcount:
            raise OutdatedError


def hold(of: int) -> None:
    """Keep others from writing it until this transaction ends, without claiming a number."""
    if not Generation.objects.filter(pk=of).update(number=F("number")):
        current(of)
