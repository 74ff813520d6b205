"""The table of durations counts every flow once, in round bounds, and stays small."""

from eventflow.domain.flow_durations import COLUMNS, FEWEST_ROWS, MOST_ROWS, durations

MS = 1_000_000
S = 1_000 * MS
DONE, FAILED = False, True


def test_flows_are_counted_by_duration_and_start():
    found = durations([(0, 2 * S, DONE), (59 * S, S, FAILED), (30 * S, 999 * MS, DONE)], 0, 60 * S)
    (second,) = [row for row in found.rows if row.low_ns == S]
    assert (second.high_ns, second.count, second.failed) == (3 * S, 2, 1)
    assert second.cells == {0: (1, 0), 59: (1, 1)}
    (below,) = [row for row in found.rows if row.high_ns == S]
    assert below.cells == {30: (1, 0)}
    assert found.most == 1


def test_every_flow_is_in_one_cell_whatever_its_times():
    marks = [(at, long, DONE) for at in (0, 5, 10**18, 2**62) for long in (0, 1, MS, 40 * S, 10**17)]
    found = durations(marks, 5, 10**18)
    assert sum(row.count for row in found.rows) == len(marks)
    assert all(0 <= column < COLUMNS for row in found.rows for column in row.cells)
    assert found.rows[0].high_ns is None
    assert [row.low_ns for row in found.rows[:-1]] == [row.high_ns for row in found.rows[1:]]


def test_a_table_has_some_rows_and_never_many():
    assert len(durations([(0, S, DONE)], 0, S).rows) == FEWEST_ROWS + 1 - FEWEST_ROWS % 2
    wide = durations([(0, 10**power, DONE) for power in range(18)], 0, S)
    assert FEWEST_ROWS <= len(wide.rows) <= MOST_ROWS
    assert durations([], 0, S).rows == ()
