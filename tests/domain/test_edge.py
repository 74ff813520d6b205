import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventflow.domain.edge import LENGTH, Histogram

# A busy machine is no reason to fail.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
durations = st.integers(min_value=0, max_value=10**17)


@patient
@given(st.lists(durations, min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_right_within_a_tenth(values, share):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(1, -int(-share * len(values) // 1)) - 1]
    if 1_000 < exact < 1_000 * 2**40:
        found = histogram.percentile(share)
        assert found is not None
        assert found * 1e9 == pytest.approx(exact, rel=0.1)


@patient
@given(st.lists(durations, max_size=30), st.lists(durations, max_size=30))
def test_merging_is_adding_and_bytes_keep_all(first, second):
    one, two, both = Histogram(), Histogram(), Histogram()
    for value in first:
        one.add(value)
        both.add(value)
    for value in second:
        two.add(value)
        both.add(value)
    one.merge(two)
    assert one == both
    assert Histogram.from_bytes(both.to_bytes()) == both


def test_what_was_added_can_be_taken_out():
    histogram = Histogram()
    histogram.add(5_000)
    histogram.add(5_000, -1)
    assert histogram == Histogram()
    assert histogram.p50 is None


def test_a_correction_alone_has_no_percentile_and_survives_its_bytes():
    histogram = Histogram()
    histogram.add(5_000, -2)
    assert histogram.p95 is None
    assert Histogram.from_bytes(histogram.to_bytes()).total == -2


@pytest.mark.parametrize("packed", [b"x", b"\xff\1\0\0\0"])
def test_broken_bytes_are_refused(packed):
    with pytest.raises(ValueError, match="packed histogram"):
        Histogram.from_bytes(packed)


def test_every_bucket_holds_its_own_bound():
    assert all(Histogram.bucket(int(Histogram.bound_ns(bucket))) in (bucket, bucket - 1) for bucket in range(1, LENGTH))
