"""Which partitions hold more than their share."""

import pytest

from eventflow.domain import partitions


@pytest.mark.parametrize(
    ("waiting", "hot"),
    [
        ({}, ()),
        (dict.fromkeys("0123456789", 100), ()),
        ({**dict.fromkeys("012345678", 100), "9": 5000}, ("9",)),
        ({**{str(n): 100 for n in range(22)}, "22": 900, "23": 1000}, ("23", "22")),
        ({"0": 0, "1": 0, "2": 90}, ()),
        ({"0": 0, "1": 0, "2": 0, "3": 0}, ()),
        ({"0": None, "1": 1, "2": 1, "3": 1}, ()),
    ],
    ids=["none", "even", "one", "two", "too few", "nothing waits", "not known"],
)
def test_a_partition_is_hot_when_it_stands_out(waiting: dict[str, int | None], hot: tuple[str, ...]) -> None:
    assert partitions.hot(waiting) == hot


def test_partitions_are_ordered_by_number() -> None:
    assert sorted(["10", "9", "x", "0"], key=partitions.order) == ["0", "9", "10", "x"]
