"""How much of SQLite's file holds something."""


def used() -> tuple[int, int]:
    """Bytes in use, and those that are free again."""
    from django.db import connection  # noqa: PLC0415  # only in a child, whose settings read the folder made for it

    def pragma(text: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA {text}")
            return int(cursor.fetchone()[0])

    pragma("wal_checkpoint(TRUNCATE)")
    page, free = pragma("page_size"), pragma("freelist_count")
    return (pragma("page_count") - free) * page, free * page
