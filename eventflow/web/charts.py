"""Plotly figures as plain JSON. Colours are the theme's tokens (``var(--bar)``, ``var(--bar) 12%``): `ef-chart` resolves them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from eventflow.store.queries.lag import IncidentNote, SeriesPoint
from eventflow.web import formats

Figure = dict[str, Any]
Limit = tuple[str, float]
"""Severity and value of a rule's limit."""


def _figure(
    traces: list[Figure],
    shapes: list[Figure],
    notes: list[Figure],
    span: tuple[datetime, datetime],
    unit: str,
    limits: Sequence[Limit] = (),
) -> Figure:
    highest = max((value for trace in traces for value in trace["y"] if value is not None), default=0.0)
    # A limit far above what happens would squash it to a line at the bottom.
    top = max([highest, *(value for _, value in limits if value <= 4 * highest)]) or 1.0
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
            "range": [span[0].isoformat(), span[1].isoformat()],
            "gridcolor": "rgba(0,0,0,0)",
            "linecolor": "var(--line-2)",
            "fixedrange": True,
            "hoverformat": "%H:%M:%S",
            "nticks": 6,
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
        "shapes": shapes,
        "annotations": notes,
    }
    return {"data": traces, "layout": layout}


def _line(name: str, points: Sequence[SeriesPoint], values: Sequence[float | None], colour: str, **more: Any) -> Figure:
    line = {"color": f"var({colour})", "width": 1.5, **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [point.at.isoformat() for point in points],
        "y": list(values),
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
    points: Sequence[SeriesPoint],
    span: tuple[datetime, datetime],
    incidents: Sequence[IncidentNote],
    limits: Sequence[Limit],
) -> Figure:
    """Waiting messages, and those in flight, against the rules' limits."""
    shapes, notes = _bands(incidents, span[1]), []
    for severity, value in limits:
        shape, note = _limit(value, formats.count(value), severity)
        shapes.append(shape)
        notes.append(note)
    fill = {"fill": "tozeroy", "fillcolor": "var(--bar) 12%"}
    traces = [_line("waiting", points, [point.ready for point in points], "--bar", **fill)]
    if any(point.in_flight for point in points):
        flying = [point.in_flight for point in points]
        traces.append(_line("in flight", points, flying, "--accent", line={"dash": "dot"}))
    return _figure(traces, shapes, notes, span, "", limits)


def seconds(
    points: Sequence[SeriesPoint],
    span: tuple[datetime, datetime],
    incidents: Sequence[IncidentNote],
    limits: Sequence[Limit],
) -> Figure:
    """Age of the oldest waiting message, against the rules' limits."""
    shapes, notes = _bands(incidents, span[1]), []
    for severity, value in limits:
        shape, note = _limit(value, formats.duration(value), severity)
        shapes.append(shape)
        notes.append(note)
    fill = {"fill": "tozeroy", "fillcolor": "var(--bar) 12%"}
    ages = [None if point.age_seconds is None else round(point.age_seconds, 2) for point in points]
    return _figure([_line("oldest waiting", points, ages, "--bar", **fill)], shapes, notes, span, " s", limits)


def rates(points: Sequence[SeriesPoint], span: tuple[datetime, datetime]) -> Figure:
    """Messages in and out per second."""

    def values(name: str) -> list[float | None]:
        return [None if getattr(point, name) is None else round(getattr(point, name), 2) for point in points]

    traces = [
        _line("out", points, values("out_rate"), "--bar"),
        _line("in", points, values("in_rate"), "--accent", line={"dash": "dash"}),
    ]
    return _figure(traces, [], [], span, "/s")
