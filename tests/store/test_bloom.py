"""A Bloom filter never says no to a hash that is there, and seldom yes to another."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eventflow.store.spans import bloom
from eventflow.store.spans.index import BITS

hashes = st.integers(0, 2**BITS - 1)


def sieve(*parts: list[int]) -> bloom.Filter:
    return bloom.Filter((min(part), bloom.made(np.array(sorted(part), np.int64))) for part in parts)


def may_hold(found: bloom.Filter, one: int) -> bool:
    return found.may_hold(one, bloom.halves(one))


@given(st.lists(hashes, min_size=2, max_size=300), st.data())
def test_every_hash_that_went_in_may_be_there_in_whatever_ranges_the_filter_was_made(some, data):
    ordered = sorted(some)
    cut = ordered.index(data.draw(st.sampled_from(ordered)))
    found = sieve(*[part for part in (ordered[:cut], ordered[cut:]) if part])
    assert all(may_hold(found, one) for one in some)


def test_of_those_that_did_not_go_in_one_in_twenty_seems_to_be_there():
    chance = np.random.default_rng(3)
    inside, outside = chance.integers(0, 2**BITS, (2, 20_000))
    found = sieve(inside.tolist())
    assert 0.03 < np.mean([may_hold(found, one) for one in outside.tolist()]) < 0.07


def test_what_is_there_often_takes_no_more_room():
    assert bloom.made(np.array([7] * 1_000)) == bloom.made(np.array([7]))
    assert len(bloom.made(np.array([7] * 1_000 + [8]))) == 2


def test_a_hash_before_the_first_range_is_not_there_and_without_any_range_all_may_be():
    assert not may_hold(sieve([10, 11]), 9)
    assert may_hold(bloom.Filter([]), 9)
