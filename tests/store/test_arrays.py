"""The compiled array functions and those in numpy: the same results, whatever they are given."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventflow.store.spans import arrays_py
from tests.required import missing

try:
    from eventflow.store.spans import _arrays
except ImportError as error:
    _arrays = None
    WHY = str(error)


@pytest.fixture(scope="module")
def native() -> Any:
    if _arrays is None:
        missing("native-scanner", f"build it with `python -P collectors/otlp/scan/build.py` ({WHY})")
    return _arrays


FEW = st.lists(st.integers(1, 40) | st.integers(1, 2**64 - 1), max_size=200)


def u64(values: list[int]) -> Any:
    return np.array(values, np.uint64)


def same(one: Any, other: Any) -> None:
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


@given(FEW, st.integers(0, 200))
def test_values_are_mixed_alike(native: Any, values: list[int], salt: int) -> None:
    every_other = u64(values)[::2]
    same([native.mixed(every_other, salt)], [arrays_py.mixed(every_other, salt)])


@given(FEW)
def test_distinct_values_are_numbered_as_they_come(native: Any, values: list[int]) -> None:
    first, number = native.distinct(u64(values))
    same((first, number), arrays_py.distinct(u64(values)))
    assert [values[row] for row in first] == list(dict.fromkeys(values))
    assert [values[first[one]] for one in number] == values


@given(FEW, FEW)
def test_each_value_finds_its_first_like(native: Any, values: list[int], wanted: list[int]) -> None:
    found, at = native.among(u64(values), u64(wanted))
    same((found, at), arrays_py.among(u64(values), u64(wanted)))
    assert found.tolist() == [value in wanted for value in values]
    assert at.tolist() == [wanted.index(value) if value in wanted else 0 for value in values]


@given(st.lists(st.integers(0, 9), max_size=100))
def test_rows_of_one_number_come_together_in_their_order(native: Any, numbers: list[int]) -> None:
    column = np.array(numbers, np.int64)
    same([native.grouped(column, 10)], [arrays_py.grouped(column, 10)])
    assert native.grouped(column, 10).tolist() == sorted(range(len(numbers)), key=numbers.__getitem__)


@given(FEW, FEW, st.integers(0, 3))
def test_a_table_has_what_was_put_last(native: Any, values: list[int], asked: list[int], width: int) -> None:
    numbers = np.arange(len(values) * width, dtype=np.int64).reshape(len(values), width) - 5
    tables = [np.zeros((512, 1 + width), np.uint64) for _ in range(2)]
    added = [one.settle(table, u64(values), numbers) for one, table in zip((native, arrays_py), tables, strict=True)]
    assert added == [len(set(values))] * 2
    found = [one.find(table, u64(asked)) for one, table in zip((native, arrays_py), tables, strict=True)]
    same(*found)
    last = dict(zip(values, numbers.tolist(), strict=True))
    assert found[0][0].tolist() == [one in last for one in asked]
    assert found[0][1].tolist() == [last.get(one, [0] * width) for one in asked]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_texts_have_one_hash_wherever_they_lie(native: Any, bodies: list[bytes], data: Any) -> None:
    which = data.draw(st.lists(st.integers(0, len(bodies) - 1), max_size=20))
    starts = [data.draw(st.integers(0, len(bodies[one]))) for one in which]
    lengths = [data.draw(st.integers(0, len(bodies[one]) - at)) for one, at in zip(which, starts, strict=True)]
    columns = [np.array(one, np.int64) for one in (which, starts, lengths)]
    found = native.text_hashes(bodies, *columns)
    same([found], [arrays_py.text_hashes(bodies, *columns)])
    views = [memoryview(bytearray(body)).toreadonly() for body in bodies]
    same([native.text_hashes(views, *columns)], [arrays_py.text_hashes(views, *columns)])
    same([found], [native.text_hashes(views, *columns)])
    texts = [bodies[one][at : at + size] for one, at, size in zip(which, starts, lengths, strict=True)]
    assert len(set(found.tolist())) == len(set(texts))


def test_no_text_has_the_hash_of_another_that_is_as_short(native: Any) -> None:
    texts = [b"", *(bytes([one]) for one in range(256)), *(bytes([one, two]) for one in range(64) for two in range(64))]
    at = np.zeros(len(texts), np.int64)
    lengths = np.array([len(text) for text in texts], np.int64)
    assert len(set(native.text_hashes(texts, np.arange(len(texts)), at, lengths).tolist())) == len(texts)


def test_a_text_outside_of_its_body_is_refused(native: Any) -> None:
    for body, start, length in ((1, 0, 1), (-1, 0, 1), (0, 3, 1), (0, -1, 1), (0, 0, 4), (0, 0, -1)):
        with pytest.raises(IndexError):
            native.text_hashes([b"abc"], *(np.array([one], np.int64) for one in (body, start, length)))


@given(st.integers(0, 8), st.integers(0, 40), st.binary(max_size=9), st.data())
def test_numbers_are_put_together_out_of_their_planes(
    native: Any, width: int, count: int, front: bytes, data: Any
) -> None:
    numbers = data.draw(st.lists(st.integers(0, 2 ** (8 * width) - 1), min_size=count, max_size=count))
    planes = b"".join(bytes(one >> (8 * plane) & 0xFF for one in numbers) for plane in range(width))
    found = native.from_planes(front + planes + b"more", len(front), width, count)
    same([found], [arrays_py.from_planes(front + planes + b"more", len(front), width, count)])
    assert found.view(np.uint64).tolist() == numbers


@pytest.mark.parametrize(("begin", "width", "count"), [(0, 3, 4), (10, 1, 1), (9, 8, 2), (0, 1, 2**32 - 1)])
def test_planes_that_are_not_there_are_refused(native: Any, begin: int, width: int, count: int) -> None:
    for arrays in (native, arrays_py):
        with pytest.raises(ValueError, match=r".+"):
            arrays.from_planes(b"0123456789", begin, width, count)
