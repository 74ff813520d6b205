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
        ({"0": 10, "1": 12, "2": 900, "3": 8}, ("2",)),
        ({"0": 0, "1": 0, "2": 0, "3": 5}, ("3",)),
        ({"0": 100, "1": 90, "2": 160, "3": 110}, ()),
        ({"0": 0, "1": 300, "2": 0, "3": 300, "4": 310, "5": 0}, ()),
        ({"0": 5, "1": 5, "2": 5, "3": 5, "4": 5, "5": 500, "6": 500}, ("5", "6")),
        ({"0": 0, "1": 0, "2": 90}, ()),
        ({"0": 0, "1": 0, "2": 0, "3": 0}, ()),
        ({"0": None, "1": 1, "2": 1, "3": 1}, ()),
    ],
    ids=[
        "none",
        "even",
        "one",
        "two",
        "one of four",
        "all in one of four",
        "within two sigma",
        "half",
        "two that hide each other",
        "too few",
        "nothing waits",
        "not known",
    ],
)
def test_a_partition_is_hot_when_it_stands_out(waiting: dict[str, int | None], hot: tuple[str, ...]) -> None:
    assert partitions.hot(waiting) == hot


def test_partitions_are_ordered_by_number() -> None:
    assert sorted(["10", "9", "x", "0"], key=partitions.order) == ["0", "9", "10", "x"]
