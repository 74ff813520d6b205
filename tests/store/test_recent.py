"""The tables in memory remember at least as much as they promise and never take one hash for another."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eventflow.store.spans.memory import Pending
from eventflow.store.spans.recent import Recent

hashes = st.lists(st.integers(0, 40) | st.integers(0, 2**64 - 1), max_size=30)


def u64(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint64)


@given(st.lists(hashes, max_size=6))
@settings(max_examples=200, deadline=None)
def test_it_answers_like_a_dictionary(batches):
    table, expected = Recent(1_000, 1), {}
    for number, batch in enumerate(batches):
        table.put(u64(batch), np.arange(len(batch))[:, None] + 100 * number)
        expected.update({one or 1: at + 100 * number for at, one in enumerate(batch)})
        asked = sorted({*expected, 0, 3, 17})
        known, numbers = table.find(u64(asked))
        wanted = [expected.get(one or 1) for one in asked]
        assert known.tolist() == [one is not None for one in wanted]
        assert numbers[:, 0].tolist() == [one or 0 for one in wanted]


def test_the_last_ones_are_remembered_whatever_came_before():
    table = Recent(1_000)
    for start in range(1, 20_000, 500):
        table.put(np.arange(start, start + 500, dtype=np.uint64))
        last = np.arange(max(1, start - 400), start + 500, dtype=np.uint64)
        assert table.find(last)[0].all()
    assert not table.find(np.arange(1, 500, dtype=np.uint64))[0].any()


@given(st.lists(st.lists(st.integers(1, 6), max_size=12), max_size=5))
@settings(max_examples=200, deadline=None)
def test_everyone_who_waits_for_a_context_is_found(batches):
    pending, expected = Pending(), []
    number = 0
    for batch in batches:
        rows = np.array([[number + at, 0, 0, 0] for at in range(len(batch))], np.int64).reshape(-1, 4)
        pending.put(u64(batch), rows)
        expected += [(one, number + at) for at, one in enumerate(batch)]
        number += len(batch)
    positions, rows = pending.waiting_for(u64([1, 2, 3, 9]))
    found = sorted((([1, 2, 3, 9][at], row[0])) for at, row in zip(positions.tolist(), rows.tolist(), strict=True))
    assert found == sorted(pair for pair in expected if pair[0] in (1, 2, 3))
