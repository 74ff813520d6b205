"""The index finds every chunk that was entered before, while and after runs are merged, and forgets dead ones only."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from django.db import connection

from eventflow.store.models import Chunk, IndexFilter, IndexPage, IndexRun
from eventflow.store.spans import directory, ids, index, runs
from eventflow.store.spans.generation import OutdatedError

pytestmark = pytest.mark.django_db


def chunk() -> int:
    return Chunk.objects.create(body=b"", spans=1, first_ns=0, last_ns=0).pk


def fill(runs: int, entries: int, seed: int = 1) -> dict[int, set[int]]:
    """Enter random hashes, some of them often, in runs of their own; what should be found."""
    chance = np.random.default_rng(seed)
    expected: dict[int, set[int]] = defaultdict(set)
    for _ in range(runs):
        mine = np.array([chunk() for _ in range(3)])
        hashes = np.concatenate((chance.integers(0, 2**index.BITS, entries), chance.integers(0, 5, entries // 4)))
        chunks = chance.choice(mine, len(hashes))
        index.write(index.prepare(hashes, chunks))
        for one, where in zip(hashes.tolist(), chunks.tolist(), strict=True):
            expected[one].add(where)
    return expected


def found(hashes: set[int]) -> dict[int, set[int]]:
    return {one: set(chunks) for one, chunks in index.chunks_of(hashes).items()}


def test_what_was_entered_is_found_and_nothing_else():
    expected = fill(runs=3, entries=3_000)
    assert found(set(expected)) == expected
    assert found({2**index.BITS - 1, 7}) == {}


def test_a_hash_with_more_entries_than_a_page_stays_on_one_page():
    mine = np.array([chunk() for _ in range(10)])
    hashes, chunks = np.repeat(np.arange(3), 10 * index.PAGE // 4), np.tile(np.repeat(mine, index.PAGE // 4), 3)
    index.write(index.prepare(hashes, chunks))
    assert found({0, 1, 2}) == {one: set(mine.tolist()) for one in range(3)}


def test_who_knows_from_which_chunk_on_asks_no_run_that_ends_before(monkeypatch):
    expected = fill(runs=2 * runs.FAN_IN + 1, entries=300)
    runs.merge()
    wanted = np.array(sorted(expected))
    chunks = sorted({chunk for where in expected.values() for chunk in where})
    chance = np.random.default_rng(5)
    since, later = chance.choice([0, *chunks], len(wanted)), chunks[-20:]
    ahead = index.Ahead(later[0] - 1, later[-1])
    read = set()
    look_up = index._look_up
    monkeypatch.setattr(index, "_look_up", lambda what, where, by: read.update(where) or look_up(what, where, by))
    positions, there = index.View().lookup(wanted, since, ahead)
    found: dict[int, set[int]] = defaultdict(set)
    for position, where in zip(positions.tolist(), there.tolist(), strict=True):
        found[position].add(where)
    for position, one in enumerate(wanted.tolist()):
        due = {where for where in expected[one] if where >= since[position] and where not in later}
        assert due <= found[position] <= expected[one]
    assert len(read) == IndexRun.objects.count() - 6, "the last six hold nothing but what is ahead"
    index.View().lookup(wanted, np.full(len(wanted), chunks[-1] + 1), ahead)
    assert len(read) == IndexRun.objects.count() - 6


def test_of_chunks_ahead_those_that_are_excepted_or_came_after_are_not():
    expected = fill(runs=4, entries=300)
    wanted = np.array(sorted(expected))
    chunks = sorted({chunk for where in expected.values() for chunk in where})
    for ahead, without in (
        (index.Ahead(0, chunks[-1]), set(chunks)),
        (index.Ahead(0, chunks[-1], [chunks[3]]), set(chunks) - {chunks[3]}),
        (index.Ahead(0, chunks[-2]), set(chunks[:-1])),
        (index.Ahead(), set()),
    ):
        assert set(np.array(chunks)[ahead.has(np.array(chunks))].tolist()) == without
        _, there = index.View().lookup(wanted, np.zeros(len(wanted), np.int64), ahead)
        assert set(there.tolist()) >= set(chunks) - without


def test_merging_changes_no_answer_and_leaves_few_runs(monkeypatch):
    monkeypatch.setattr(runs, "MERGE_ENTRIES", 4 * index.PAGE)
    expected = fill(runs=2 * runs.FAN_IN + 1, entries=700)
    while runs.merge():
        assert found(set(expected)) == expected
    assert sorted(IndexRun.objects.values_list("level", flat=True)) == [0, 1, 1]
    assert found(set(expected)) == expected
    assert IndexPage.objects.exclude(run__in=IndexRun.objects.all()).count() == 0


def few_at_a_time(hashes: set[int]) -> Iterator[set[int]]:
    """As many as are looked up one by one."""
    ordered = sorted(hashes)
    for at in range(0, len(ordered), index.FEW):
        yield set(ordered[at : at + index.FEW])


@pytest.mark.parametrize("filtered", [directory.FILTERED, 0])
def test_what_was_merged_is_found_by_those_who_look_for_few_whether_filters_are_kept_or_not(monkeypatch, filtered):
    monkeypatch.setattr(runs, "MERGE_ENTRIES", 4 * index.PAGE)
    monkeypatch.setattr(directory, "FILTERED", filtered)
    expected = fill(runs=2 * runs.FAN_IN + 1, entries=700)
    assert runs.merge()
    strangers = set(np.random.default_rng(9).integers(0, 2**index.BITS, 3_000).tolist()) - expected.keys()
    for some in few_at_a_time(strangers | expected.keys()):
        assert found(some) == {one: expected[one] for one in some if one in expected}


def test_the_pages_of_a_merged_run_are_not_read_for_a_hash_that_is_not_there(monkeypatch):
    expected = fill(runs=runs.FAN_IN, entries=700)
    runs.merge()
    strangers = set(np.random.default_rng(9).integers(0, 2**index.BITS, 1_000).tolist()) - expected.keys()
    asked: list[object] = []
    read = directory.read
    monkeypatch.setattr(index, "read", lambda pages: asked.extend(pages) or read(pages))
    for one in strangers:
        assert found({one}) == {}
    assert 0 < len(asked) < 100, "of those that are not there one in twenty seems to be"


def test_filters_of_more_entries_than_may_be_kept_are_those_of_the_newest_runs_and_others_are_let_go(monkeypatch):
    fill(runs=3 * runs.FAN_IN, entries=300)
    while runs.merge():
        pass
    oldest, middle, newest = sorted(there := directory.runs())
    assert set(directory.filters_of(there)) == {oldest, middle, newest}
    monkeypatch.setattr(directory, "FILTERED", there[newest].entries + there[middle].entries)
    assert set(directory.filters_of(there)) == {middle, newest} == set(directory._filters)


def test_a_filter_goes_with_its_run():
    fill(runs=2 * runs.FAN_IN, entries=100)
    while runs.merge():
        pass
    first, second = IndexRun.objects.order_by("id").values_list("id", flat=True)
    runs.drop([first])
    assert set(IndexFilter.objects.values_list("run_id", flat=True)) == {second}


def test_a_run_that_goes_is_not_read_any_more_before_its_first_page_is_gone():
    fill(runs=2, entries=100)
    first, second = IndexRun.objects.order_by("id").values_list("id", flat=True)
    read: list[set[int]] = []

    def before(execute, sql, params, many, context):
        if sql.startswith("DELETE"):
            read.append({run for run, _ in directory.runs()})
        return execute(sql, params, many, context)

    with connection.execute_wrapper(before):
        runs.drop([first])
    assert read and all(there == {second} for there in read)


def test_a_directory_or_filter_that_was_read_while_its_run_went_is_not_kept():
    fill(runs=runs.FAN_IN, entries=100)
    before = directory.runs()
    runs.merge()
    merged = directory.runs()
    directory.directory_of.cache_clear()
    for run in before:
        with pytest.raises(OutdatedError):
            directory.directory_of(*run)
    IndexRun.objects.update(ready=False)
    with pytest.raises(OutdatedError):
        directory.filters_of(merged)


def test_entries_of_chunks_that_are_gone_are_left_out_by_a_merge():
    expected = fill(runs=runs.FAN_IN, entries=200)
    gone = set(Chunk.objects.order_by("id").values_list("id", flat=True)[:20])
    Chunk.objects.filter(pk__in=gone).delete()
    runs.merge()
    assert found(set(expected)) == {one: left for one, where in expected.items() if (left := where - gone)}


def test_a_merge_that_was_interrupted_is_begun_anew():
    expected = fill(runs=runs.FAN_IN, entries=200)
    half = IndexRun.objects.create(level=1, entries=0, first_chunk=0, last_chunk=0, token=1, ready=False)
    IndexPage.objects.create(run=half, first=0, body=b"half written")
    assert found(set(expected)) == expected
    runs.merge()
    assert not IndexRun.objects.filter(pk=half.pk).exists()
    assert found(set(expected)) == expected


def test_pages_that_are_no_longer_kept_are_read_again(monkeypatch):
    monkeypatch.setattr(directory, "PAGES_KEPT", 4)
    monkeypatch.setattr(directory, "PAGES_DROPPED", 1)
    expected = fill(runs=3, entries=3 * index.PAGE)
    for part in range(4):
        some = {one for one in expected if one % 4 == part or one % 7 == 0}
        assert found(some) == {one: expected[one] for one in some}
        assert len(directory._pages) <= 4


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("some", [index.FEW, 10**6])
def test_a_merge_that_ends_while_somebody_reads_hides_nothing(monkeypatch, some, known):
    expected = fill(runs=runs.FAN_IN, entries=200)
    wanted = set(sorted(expected)[:some])
    look_up = index._look_up

    def late(*asked):
        if runs.merge() and not known:
            directory.directory_of.cache_clear()
        return look_up(*asked)

    monkeypatch.setattr(index, "_look_up", late)
    assert found(wanted) == {one: expected[one] for one in wanted}


def test_who_finds_the_runs_gone_each_time_is_told_instead_of_given_a_part(monkeypatch):
    expected = fill(runs=2, entries=200)
    monkeypatch.setattr(index, "runs", lambda: {(10**9, 7): directory.Extent(0, 1, 200, 0)})
    with pytest.raises(OutdatedError):
        found(set(expected))


def test_a_merge_whose_run_another_process_took_away_leaves_what_it_was_made_of():
    expected = fill(runs=3, entries=200)
    with pytest.raises(OutdatedError):
        runs.switch(list(IndexRun.objects.values_list("id", flat=True)), merged=10**9, entries=1, chunks=(1, 1))
    assert found(set(expected)) == expected


def test_a_run_with_more_pages_than_go_at_a_time_goes_whole(monkeypatch):
    monkeypatch.setattr(runs, "DROPPED_PAGES", 2)
    expected = fill(runs=2, entries=3 * index.PAGE)
    first, second = IndexRun.objects.order_by("id").values_list("id", flat=True)
    runs.drop([first])
    assert set(IndexPage.objects.values_list("run_id", flat=True)) == {second}
    newer = set(Chunk.objects.order_by("-id").values_list("id", flat=True)[:3])
    assert found(set(expected)) == {one: left for one, where in expected.items() if (left := where & newer)}


def test_who_looks_for_a_trace_and_for_links_to_it_finds_both_on_one_page_and_tells_them_apart():
    traces = np.random.default_rng(3).integers(0, 2**64, 100, dtype=np.uint64)
    spans, links = index.shortened(ids.of_traces(traces)), index.shortened(ids.of_linked(traces))
    assert set((spans ^ links).tolist()) == {1}
