"""Bulk statements: the same rows end up in the table, few or many, new or known."""

import pytest

from eventflow.store.models import Chunk, Edge
from eventflow.store.spans.rows import insert

COLUMNS = ("digest", "kind", "service", "system", "destination", "group", "first_ns", "last_ns")


def rows(count: int, last_ns: int) -> list[tuple[object, ...]]:
    return [(f"{n:032x}", "consume", f"ä\n{n}", "kafka", "a\tb", "", n, last_ns) for n in range(count)]


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 300])
def test_rows_that_exist_get_new_values_and_others_are_added(count):
    insert(Edge, COLUMNS, rows(count, 1), unique=("digest",), update=("last_ns",))
    insert(Edge, COLUMNS, rows(count + 100, 2), unique=("digest",), update=("last_ns",))
    insert(Edge, COLUMNS, rows(count, 3), unique=("digest",))
    found = list(Edge.objects.order_by("digest").values_list(*COLUMNS))
    assert found == rows(count + 100, 2)


@pytest.mark.django_db(transaction=True)
def test_bytes_arrive_as_they_are_within_a_transaction_or_without():
    bodies = [bytes(range(256)) * n for n in range(100)]
    insert(Chunk, ("body", "spans", "first_ns", "last_ns", "level"), [(body, 1, 2**62, 3, 0) for body in bodies])
    assert [bytes(body) for body in Chunk.objects.order_by("id").values_list("body", flat=True)] == bodies
    insert(Edge, COLUMNS, rows(300, 1), unique=("digest",))
    assert Edge.objects.count() == 300
