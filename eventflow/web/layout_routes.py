"""Turns the corners of a route into the curves of the design: S-bends between columns, rounded lanes around nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
RADIUS = 26.0
ARROW = 6.0


@dataclass(frozen=True, slots=True)
class Route:
    """An SVG path, the tip of its arrow, where its label sits, and whether it takes a lane around nodes."""

    d: str
    end: Point
    label: Point
    lane: bool
    corners: tuple[Point, ...] = ()


def curve(points: Sequence[Point]) -> Route:
    """Two points that face each other: one S-bend."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    tip = x1 - ARROW
    if abs(y0 - y1) < 0.5:
        d = f"M{x0:g} {y0:g}H{tip:g}"
    else:
        pull = min(max(RADIUS, abs(tip - x0) * 0.52), 160.0)
        d = f"M{x0:g} {y0:g}C{x0 + pull:g} {y0:g} {tip - pull:g} {y1:g} {tip:g} {y1:g}"
    return Route(d, (x1, y1), ((x0 + x1) / 2, (y0 + y1) / 2), False)


def rounded(points: Sequence[Point]) -> Route:
    """A route of right angles: every bend between two horizontals becomes an S, every turn back an arc."""
    kept = _simple(points)
    if len(kept) == 4 and _is_step(kept):
        made = curve([kept[0], kept[-1]])
        return Route(made.d, made.end, made.label, False)
    d = f"M{kept[0][0]:g} {kept[0][1]:g}"
    at = kept[0]
    for index in range(1, len(kept) - 1):
        here, after = kept[index], kept[index + 1]
        radius = min(RADIUS, _length(at, here) / (1 if index == 1 else 2), _length(here, after) / 2)
        start, end = _toward(here, at, radius), _toward(here, after, radius)
        d += f"L{start[0]:g} {start[1]:g}Q{here[0]:g} {here[1]:g} {end[0]:g} {end[1]:g}"
        at = here
    tip = kept[-1]
    d += f"L{tip[0] - ARROW:g} {tip[1]:g}"
    longest = max(pairwise(kept), key=lambda pair: _length(*pair))
    label = ((longest[0][0] + longest[1][0]) / 2, (longest[0][1] + longest[1][1]) / 2)
    return Route(d, tip, label, True, tuple(kept))


def _simple(points: Sequence[Point]) -> list[Point]:
    """Without points that do not bend."""
    kept: list[Point] = []
    for point in points:
        if kept and _length(kept[-1], point) < 0.5:
            continue
        if len(kept) >= 2 and _straight(kept[-2], kept[-1], point):
            kept[-1] = point
        else:
            kept.append(point)
    return kept if len(kept) >= 2 else [points[0], points[-1]]


def _is_step(points: Sequence[Point]) -> bool:
    """Right, up or down, right again: an S-bend within one gap between columns."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points
    return abs(y0 - y1) < 0.5 and abs(x1 - x2) < 0.5 and abs(y2 - y3) < 0.5 and x0 < x1 < x3 and x3 - x0 < 140


def _straight(a: Point, b: Point, c: Point) -> bool:
    return abs((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])) < 0.5


def _length(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _toward(origin: Point, other: Point, distance: float) -> Point:
    length = _length(origin, other) or 1.0
    share = min(1.0, distance / length)
    return round(origin[0] + (other[0] - origin[0]) * share, 1), round(origin[1] + (other[1] - origin[1]) * share, 1)
