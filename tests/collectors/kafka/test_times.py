"""Dating a record by questions alone, against a partition whose times are known."""

from bisect import bisect_left

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.kafka.times import Times

NOW = 10_000_000


def ask(times: Times, stamps: list[int], question: int) -> None:
    """What a broker answers whose records are written at `stamps`."""
    place = bisect_left(stamps, question)
    found = place < len(stamps)
    times.answered(question, place if found else None, stamps[place] if found else None, len(stamps))


@settings(suppress_health_check=[HealthCheck.too_slow])  # says nothing of us where the machine is busy
@given(st.lists(st.integers(0, NOW), min_size=1, max_size=60).map(sorted), st.data())
def test_the_truth_lies_always_within_the_stated_error(stamps: list[int], data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(stamps) - 1))
    times = Times()
    times.saw_end(len(stamps), NOW)
    for _ in range(60):
        ask(times, stamps, times.next_question(offset, NOW))
        if (found := times.estimate(offset, NOW)) is not None:
            assert abs(found.at - stamps[offset]) <= found.error
        if times.near(offset, NOW):
            break
    assert times.near(offset, NOW)


def test_steady_traffic_is_dated_in_a_few_steps() -> None:
    stamps = [NOW - 3_600_000 + 7_000 * number for number in range(500)]
    times = Times()
    times.saw_end(500, NOW)
    steps = 0
    while not times.near(321, NOW):
        ask(times, stamps, times.next_question(321, NOW))
        steps += 1
    assert steps <= 4


def test_what_our_own_polls_saw_is_proved_in_one_step() -> None:
    stamps = [1_000 * number for number in range(9_990)]
    times = Times()
    for end in (9_980, 9_985, 9_990):
        times.saw_end(end, 1_000 * end)
    ask(times, stamps, times.next_question(9_986, NOW))
    found = times.estimate(9_986, NOW)
    assert found is not None
    assert found.error <= 5_000
    assert abs(found.at - stamps[9_986]) <= found.error


def test_nothing_asked_is_nothing_known() -> None:
    assert Times().estimate(5, NOW) is None
    assert not Times().near(5, NOW)


def test_times_that_do_not_rise_are_told_with_their_error_and_asked_anew() -> None:
    times = Times(records=[(3, 900)], below=[(8, 500)])
    found = times.estimate(5, NOW)
    assert found is not None
    assert (found.exact, found.error) == (False, 400)
    assert times.next_question(5, NOW) == 0


def test_a_topic_made_anew_forgets_what_was_proved() -> None:
    times = Times()
    times.saw_end(100, 5)
    ask(times, [1, 2, 3], 0)
    times.saw_end(3, 9)
    assert times.estimate(0, NOW) is None


@pytest.mark.parametrize("offset", [10, 11, 40])
def test_forgetting_what_lies_before_keeps_the_lower_edge(offset: int) -> None:
    times = Times(records=[(2, 20), (10, 100), (50, 500)], below=[(2, 19), (50, 480)])
    before = times.edges(offset, NOW)
    times.forget_before(offset)
    assert times.edges(offset, NOW) == before
