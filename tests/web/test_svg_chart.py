"""The small charts of the panels: where a point stands in time, and what they say to those who cannot see them."""

from datetime import UTC, datetime, timedelta

from eventflow.web import svg_chart

END = datetime(2026, 11, 19, 14, 32, tzinfo=UTC)
START = END - timedelta(hours=1)


def test_points_stand_where_their_time_is() -> None:
    late = [END - timedelta(minutes=1), END]
    assert 'class="ln" d="M327.2 94.0L332.0 8.0"' in svg_chart.line([0, 10], START, END, "Lag", times=late)
    assert 'class="ln" d="M42.0 94.0L332.0 8.0"' in svg_chart.line([0, 10], START, END, "Lag")


def test_a_gap_stays_a_gap() -> None:
    drawn = svg_chart.line([1, 1, None, 1, 1], START, END, "Lag")
    assert drawn.split('class="ln" d="')[1].split('"')[0].count("M") == 2


def test_it_says_its_numbers_in_words_and_escapes_its_label() -> None:
    assert 'aria-label="Lag: now 7, at most 9"' in svg_chart.line([9, 7], START, END, "Lag")
    assert 'aria-label="Lag: nothing known"' in svg_chart.line([], START, END, "Lag")
    assert "<script>" not in svg_chart.line([1, 2], START, END, "<script>")
