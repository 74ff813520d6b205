"""A quiet system's many small chunks become few; nobody who reads can tell."""

import numpy as np
import pytest
from django.db import connection

from eventflow.store import spans as store
from eventflow.store.models import Chunk, FlowRow, IndexRun
from eventflow.store.queries import flows
from eventflow.store.spans import opened, pack, repack, runs
from eventflow.store.spans.load import Reader
from tests.flow_factory import consume, link, publish, trace
from tests.store.support import NOW, digest, send

pytestmark = pytest.mark.django_db
MANY = repack.ENOUGH_CHUNKS + 6


def order(number: int) -> None:
    start = number * 100
    send(
        [
            publish(f"p{number}", start, start + 3, service="web", to="jobs", trace_name=f"t{number}",
                    correlation=f"k{number % 10}", message_id=f"m{number}"),
            consume(f"c{number}", start + 9, start + 40, service="worker", from_="jobs", group="w",
                    links=[link(f"t{number}", f"p{number}")], trace_name=f"w{number}", correlation=None),
        ]
    )  # fmt: skip
    store.digest(NOW)


def seen() -> tuple[object, ...]:
    """What readers see of everything."""
    found = [flows.flow(f"k{number}", NOW) for number in range(10)]
    return (
        [sorted(flow.spans.values(), key=repr) for flow in found if flow],
        [flows.find(f"m{number}") for number in range(MANY)],
        [store.consumers_of(trace(f"t{number}"), "0" * 16) for number in range(3)],
        sorted(FlowRow.objects.values_list("key", "status", "pattern__spans", "pattern__deliveries")),
    )


def test_small_chunks_are_packed_together_and_every_reader_sees_the_same():
    for number in range(MANY):
        order(number)
    digest()
    before, spans = seen(), sum(Chunk.objects.values_list("spans", flat=True))
    assert Chunk.objects.count() == MANY
    while store.tidy():
        pass
    assert Chunk.objects.count() < 10
    assert IndexRun.objects.count() < 2 * runs.FAN_IN
    assert sum(Chunk.objects.values_list("spans", flat=True)) == spans
    assert seen() == before
    assert store.waiting() == 0


def test_chunks_of_which_few_fill_a_step_do_not_keep_those_behind_them_waiting(monkeypatch):
    monkeypatch.setattr(repack, "STEP_SPANS", repack.ENOUGH_CHUNKS // 2)
    monkeypatch.setattr(repack, "SMALL", 2)
    for number in range(repack.ENOUGH_CHUNKS // 2):
        order(number)
    digest()
    assert repack.together_again() == repack.ENOUGH_CHUNKS // 4
    monkeypatch.undo()
    for number in range(MANY, 2 * MANY):
        order(number)
    digest()
    before = Chunk.objects.count()
    assert repack.together_again() >= repack.ENOUGH_CHUNKS
    assert Chunk.objects.count() < before // 2


def test_what_is_not_judged_yet_is_left_alone():
    for number in range(MANY):
        order(number)
    assert repack.together_again() == 0
    digest()
    assert FlowRow.objects.count() == 10


def test_a_span_that_comes_again_after_packing_changes_nothing():
    for number in range(MANY):
        order(number)
    digest()
    while store.tidy():
        pass
    before = seen()
    for number in range(3):
        order(number)
    digest()
    assert seen() == before


def test_a_reader_that_asked_the_index_before_the_packing_reads_what_was_packed():
    for number in range(MANY):
        order(number)
    digest()
    early, late = Reader(), Reader()
    names = [trace(f"t{number}") for number in range(5)]
    found = early.spans_of(names)
    late._chunks, late._index = dict(early._chunks), early._index
    while store.tidy():
        pass
    assert late.spans_of(names) == found


def test_spans_that_come_after_chunks_were_packed_anew_are_found_though_the_next_id_is_another_than_expected():
    order(0)
    repack.repack(list(Chunk.objects.values_list("id", flat=True)), 1)
    order(1)
    found = [store.trace_spans(trace(f"t{number}")) for number in range(2)]
    assert [[span.service for span in spans] for spans in found] == [["web"], ["web"]]


def test_a_run_is_prepared_once_if_the_chunks_get_the_ids_that_were_expected():
    entries = pack.Entries(np.arange(3), np.array([1, 0, 1]))
    expected, other = entries.run(7), entries.run(8)
    assert (expected.first_chunk, expected.last_chunk, other.first_chunk, other.last_chunk) == (7, 8, 8, 9)
    assert entries.run(8) is other


def test_what_waits_for_its_lines_is_counted_some_at_a_time_and_no_further_than_asked(monkeypatch):
    monkeypatch.setattr(opened, "AT_ONCE", 3)
    for number in range(7):
        order(number)
    queries: list[str] = []
    with connection.execute_wrapper(lambda execute, *args: queries.append(args[0]) or execute(*args)):
        assert (store.waiting(), len(queries)) == (14, 4)
        assert (store.waiting(5), len(queries)) == (6, 4 + 2)


def test_chunks_packed_anew_are_told_from_new_ones():
    for number in range(4):
        order(number)
    old = sorted(Chunk.objects.values_list("id", flat=True))
    repack.repack(old[:2], 1)
    order(4)
    ids = sorted(Chunk.objects.values_list("id", flat=True))
    assert opened.packed_anew(0) == opened.packed_anew(old[-1]) == [ids[-2]]
    assert opened.packed_anew(ids[-2]) == []


def test_a_flow_that_grew_is_judged_with_what_was_packed_anew_behind_the_chunks_that_still_wait(monkeypatch):
    monkeypatch.setattr(runs, "FAN_IN", 2)
    order(0)
    digest()
    old = list(Chunk.objects.values_list("id", flat=True))
    order(10)
    order(1)
    repack.repack(old, 1)
    # The index no longer says where the old spans lay, and a run of its own says where they do.
    runs.merge()
    assert store.judge(NOW, limit=1) == {"k0"}
    assert FlowRow.objects.get(key="k0").pattern.spans == 4
