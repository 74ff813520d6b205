"""A small line chart with axes as inline SVG, for panels: drawn on the server, readable without JS. Pure."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from eventflow.web import formats

LEFT, RIGHT, TOP, BOTTOM = 42, 8, 8, 18


def nice(value: float) -> float:
    """The next round number for an axis."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    share = value / power
    return float(next(step for step in (1, 2, 2.5, 5, 10) if share <= step + 1e-9) * power)


def per_second(value: float | None) -> str:
    """Short enough for an axis: 12/s, 0.5/s."""
    return formats.EMPTY if value is None else f"{value:.3g}/s"


def line(
    values: Sequence[float | None],
    start: datetime,
    end: datetime,
    label: str,
    *,
    times: Sequence[datetime] | None = None,
    write: Callable[[float | None], str] = formats.short,
    cls: str = "",
    width: int = 340,
    height: int = 112,
) -> SafeString:
    """Values at `times`, or at even steps from `start` to `end`; a gap stays a gap."""
    known = [value for value in values if value is not None]
    top = nice(max(known, default=0.0))
    inner_w, inner_h = width - LEFT - RIGHT, height - TOP - BOTTOM

    def x(index: int) -> float:
        if times is not None:
            share = (times[index] - start).total_seconds() / (end - start).total_seconds()
            return LEFT + inner_w * min(1.0, max(0.0, share))
        return LEFT + inner_w * index / max(1, len(values) - 1)

    def y(value: float) -> float:
        return TOP + inner_h * (1 - value / top)

    grid = format_html_join(
        "",
        '<line class="gl" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (LEFT, width - RIGHT, f"{y(v):.1f}", f"{y(v):.1f}", LEFT - 6, f"{y(v) + 3.5:.1f}", write(v))
            for v in (0.0, top / 2, top)
        ),
    )
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((x(index), y(value)))
    lines, areas = [], []
    for run in runs:
        if len(run) > 1:
            drawn = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in run)
            lines.append(drawn)
            areas.append(f"{drawn}L{run[-1][0]:.1f} {y(0):.1f}L{run[0][0]:.1f} {y(0):.1f}Z")
    clock = format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="{}">{}</text>',
        (
            (f"{LEFT + inner_w * share:.1f}", height - 4, anchor, f"{start + (end - start) * share:%H:%M}")
            for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
        ),
    )
    body = mark_safe(  # noqa: S308  # numbers formatted above, nothing from outside
        f'<path class="ar" d="{"".join(areas)}"/><path class="ln" d="{"".join(lines)}"/>' if lines else ""
    )
    return format_html(
        '<svg class="chart {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        cls,
        width,
        height,
        f"{label}: now {write(known[-1])}, at most {write(max(known))}" if known else f"{label}: nothing known",
        grid,
        body,
        clock,
    )
