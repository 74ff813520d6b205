"""What a benchmark says is judged the right way round."""

import json
from pathlib import Path

import pytest

from benchmarks.figures import Figure, keep, measured, percentile, table


def test_less_is_better_unless_more_is() -> None:
    assert Figure("answer", 199, "ms", must=200).ok
    assert not Figure("answer", 201, "ms", must=200).ok
    assert not Figure("spans", 900, "1/s", must=1000, more=True).ok
    assert Figure("start", 3, "s").ok


def test_the_95th_percentile_is_what_all_but_a_twentieth_stay_under() -> None:
    assert percentile([float(number) for number in range(1, 102)], 95) == 96
    assert percentile([7.0], 95) == 7


def test_a_program_reads_the_same_figures_as_a_person(tmp_path: Path) -> None:
    figures = [Figure("event to pixel p95", 0.91, "s", must=1.0, aim=0.7)]
    keep(figures, tmp_path / "bench.json")
    (row,) = json.loads((tmp_path / "bench.json").read_text())
    assert row == {
        "name": "event to pixel p95",
        "value": 0.91,
        "unit": "s",
        "must": 1.0,
        "aim": 0.7,
        "ratio": 0.91,
        "ok": True,
    }
    assert "| event to pixel p95 | 0.91 | s | 1 | 0.7 | yes |" in table(figures)


def test_a_benchmark_that_fails_takes_nothing_from_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> list[Figure]:
        raise TimeoutError("the demo did not end")

    first, last = Figure("spans", 1, "s"), Figure("live", 2, "s")
    assert measured({"spans": lambda: [first], "start": broken, "live": lambda: [last]}) == ([first, last], ["start"])
    assert "the demo did not end" in capsys.readouterr().err
