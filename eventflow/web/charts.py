"""Plotly figures as JSON. Colours are theme tokens, ``var(--bar)`` or ``var(--bar) 12%``; `ef-chart` resolves them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from eventflow.domain import words
from eventflow.store.queries.lag import IncidentNote
from eventflow.store.queries.lag_series import Series
from eventflow.web import formats

Figure = dict[str, Any]
TICKS: list[Figure] = [
    {"dtickrange": [None, 30_000], "value": "%H:%M:%S"},
    {"dtickrange": [30_000, 43_199_999], "value": "%H:%M"},
    {"dtickrange": [43_200_000, None], "value": "%d %b %H:%M"},
]
"""How moments are written, by how far apart they are, in milliseconds."""
Limit = tuple[str, float]
"""Severity and value of a rule's limit."""
Span = tuple[datetime, datetime]
MOST_POINTS = 7_000
"""Of a line: a day of samples 15 s apart is drawn whole, of more the peaks are."""
WHOLE_SECONDS = 86_400
"""Longer times are not told as sampled."""
MOST_LABELS = 1
"""Several would overlap; the legend names the others."""
AREA: Figure = {"fill": "tozeroy", "fillcolor": "var(--bar) 12%"}


def _figure(
    traces: list[Figure],
    span: Span,
    unit: str,
    limits: Sequence[tuple[str, float, str]] = (),
    incidents: Sequence[IncidentNote] = (),
    *,
    changes: Sequence[datetime] = (),
) -> Figure:
    begin = _begin(traces, span)
    seconds = (span[1] - span[0]).total_seconds()
    drawn = [_limit(value, label, severity) for severity, value, label in limits]
    highest = max((value for trace in traces for value in trace["y"] if value is not None), default=0.0)
    # A limit far above what happens would squash it to a line at the bottom.
    top = max([highest, *(value for _, value, _ in limits if value <= 4 * highest)]) or 1.0
    layout = {
        "margin": {"l": 48, "r": 10, "t": 10, "b": 24},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var(--ink-3)", "size": 11},
        "showlegend": False,
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": "var(--line-2)",
            "font": {"color": "var(--ink)", "size": 12},
        },
        "xaxis": {
            "type": "date",
            "range": [begin.isoformat(), span[1].isoformat()],
            "gridcolor": "rgba(0,0,0,0)",
            "linecolor": "var(--line-2)",
            "hoverformat": "%H:%M:%S" if seconds <= WHOLE_SECONDS else "%d %b %H:%M",
            "nticks": 6,
            "tickformatstops": TICKS,
        },
        "yaxis": {
            "range": [0, top * 1.08],
            "gridcolor": "var(--line)",
            "zerolinecolor": "var(--line-2)",
            "fixedrange": True,
            "nticks": 5,
            "ticksuffix": unit,
            "tickformat": "~s" if not unit else "",
        },
        "shapes": [*_bands(incidents, span[1]), *(shape for shape, _ in drawn), *map(_mark, changes)],
        "annotations": [*(note for _, note in drawn), *map(_mark_label, changes[:MOST_LABELS])],
    }
    whole = seconds <= WHOLE_SECONDS + 1 and all(len(trace["x"]) < MOST_POINTS - 2 for trace in traces)
    return {"data": traces, "layout": layout, "whole": whole}


def _begin(traces: list[Figure], span: Span) -> datetime:
    """Where the picture begins: with the first sample when that is younger than the range, so that it is filled."""
    first = min((datetime.fromtimestamp(trace["x"][0] / 1000, UTC) for trace in traces if trace["x"]), default=span[0])
    return max(span[0], min(first, span[1] - timedelta(minutes=3)))


def _line(name: str, series: Series, column: str, colour: str, **more: Any) -> Figure:
    line = {"color": f"var({colour})", "width": 1.5, **more.pop("line", {})}
    drawn = series.line(column, MOST_POINTS)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": drawn.at,
        "y": _rounded(drawn.values),
        "line": line,
        "connectgaps": False,
        **more,
    }


def _limit(value: float, label: str, severity: str) -> tuple[Figure, Figure]:
    colour = "var(--crit)" if severity == "critical" else "var(--warn)"
    shape = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": colour, "width": 1, "dash": "dash"},
    }
    note = {
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "y": value,
        "yanchor": "bottom",
        "text": label,
        "showarrow": False,
        "font": {"color": colour, "size": 11},
    }
    return shape, note


def _mark(at: datetime) -> Figure:
    """A moment when who reads what changed."""
    line = {"color": "var(--ink-3)", "width": 1, "dash": "dot"}
    return {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": at.isoformat(), "x1": at.isoformat(), "line": line}


def _mark_label(at: datetime) -> Figure:
    return {
        "x": at.isoformat(),
        "xanchor": "left",
        "yref": "paper",
        "y": 1,
        "yanchor": "top",
        "text": "rebalance",
        "showarrow": False,
        "font": {"color": "var(--ink-2)", "size": 11},
    }


def _bands(incidents: Sequence[IncidentNote], end: datetime) -> list[Figure]:
    """Where an alert fired."""
    return [
        {
            "type": "rect",
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "layer": "below",
            "line": {"width": 0},
            "opacity": 0.16,
            "x0": note.fired_at.isoformat(),
            "x1": (note.resolved_at or end).isoformat(),
            "fillcolor": "var(--crit-fill)" if note.severity == "critical" else "var(--warn-fill)",
        }
        for note in incidents
        if note.fired_at
    ]


def messages(
    series: Series,
    span: Span,
    incidents: Sequence[IncidentNote],
    limits: Sequence[Limit],
    changes: Sequence[datetime] = (),
) -> Figure:
    """Waiting messages, and those in flight, against the rules' limits."""
    traces = [_line("waiting", series, "ready", "--bar", **AREA)]
    flying = _line("in flight", series, "in_flight", "--accent", line={"dash": "dot"})
    if any(flying["y"]):
        traces.append(flying)
    lines = [(severity, value, formats.count(value)) for severity, value in limits]
    return _figure(traces, span, "", lines, incidents, changes=changes)


def seconds(series: Series, span: Span, incidents: Sequence[IncidentNote], limits: Sequence[Limit]) -> Figure:
    """Age of the oldest waiting message, against the rules' limits."""
    trace = _line("oldest waiting", series, "age_seconds", "--bar", **AREA)
    lines = [(severity, value, words.limit(value)) for severity, value in limits]
    return _figure([trace], span, " s", lines, incidents)


def rates(series: Series, span: Span) -> Figure:
    """Messages in and out per second."""
    out, into = ("out_rate", "--bar"), ("in_rate", "--accent")
    traces = [_line("out", series, *out), _line("in", series, *into, line={"dash": "dash"})]
    return _figure(traces, span, "/s")


def _rounded(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 2) for value in values]
