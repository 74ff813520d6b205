"""The time axis of a timeline: from nanoseconds to percent, with bars, labels and ticks placed on it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from eventflow.domain.timeline import Bar, BarKind, Timeline
from eventflow.web.formats import duration

MS = 1_000_000
_BEFORE, _AFTER = 0.012, 0.042
"""Room left and right of the flow, as parts of its length, so that the first and last marks are whole."""
_WIDE = 16.0
"""Percent of the axis from which a label fits into its bar, when nothing knows how many pixels that is."""
_STEPS = tuple(m * 10**e for e in range(-3, 13) for m in (1, 2, 5))


def length(ns: int | None) -> str:
    """A duration as the timeline writes it: one decimal up to a minute."""
    if ns is None:
        return "–"
    if 0 < ns < MS // 2:
        return "<1 ms"
    seconds = ns / 1e9
    return f"{seconds:.1f} s" if 0.9995 <= seconds < 59.95 else duration(seconds)


@dataclass(frozen=True, slots=True)
class Mark:
    """A bar, in percent of the axis and in milliseconds after the flow's start."""

    cls: str
    left: float
    width: float
    a: float
    z: float

    @property
    def style(self) -> str:
        return f"left:{self.left:.3f}%;width:{self.width:.3f}%"


@dataclass(frozen=True, slots=True)
class Label:
    """Text beside or in a bar. `place` is ``right``, ``flip`` (left of it) or ``in``."""

    text: str
    place: str
    left: float
    a: float
    z: float
    inner: bool = False
    """Only shown where the bar between `a` and `z` has room for it."""
    fits: bool = True
    short: str = ""
    """What to write while the label inside the row's first bar is shown; "" if always the same."""
    full: str = ""

    @property
    def cls(self) -> str:
        return self.place if self.fits else f"{self.place} room"

    @property
    def style(self) -> str:
        shift = ";transform:translate(-50%,-50%)" if self.place == "in" else ""
        return f"left:{self.left:.3f}%{shift}"


@dataclass(frozen=True, slots=True)
class Tick:
    left: float
    text: str


class Axis:
    """One flow's axis, with a little room at both ends."""

    def __init__(self, line: Timeline) -> None:
        self.zero = line.start_ns
        long = max(line.end_ns - line.start_ns, MS)
        self.start, self.end = -long * _BEFORE, long * (1 + _AFTER)

    def ms(self, ns: int) -> float:
        return round((ns - self.zero) / MS, 3)

    def percent(self, ns: int) -> float:
        return (ns - self.zero - self.start) / (self.end - self.start) * 100

    def mark(self, bar: Bar) -> Mark:
        left = self.percent(bar.start_ns)
        width = 0.0 if bar.kind in (BarKind.PUBLISHED, BarKind.DEAD) else self.percent(bar.end_ns) - left
        return Mark(bar.kind.value, left, width, self.ms(bar.start_ns), self.ms(bar.end_ns))

    def inside(self, text: str, bar: Bar) -> Label:
        middle = (self.percent(bar.start_ns) + self.percent(bar.end_ns)) / 2
        return Label(text, "in", middle, self.ms(bar.start_ns), self.ms(bar.end_ns), inner=True, fits=self.fits(bar))

    def beside(self, text: str, start_ns: int, end_ns: int, short: str = "", full: str = "") -> Label:
        flip = self.percent(end_ns) > 80
        left = self.percent(start_ns if flip else end_ns)
        place = "flip" if flip else "right"
        return Label(text, place, left, self.ms(start_ns), self.ms(end_ns), short=short, full=full)

    def fits(self, bar: Bar) -> bool:
        return self.percent(bar.end_ns) - self.percent(bar.start_ns) > _WIDE

    def ticks(self) -> Iterable[Tick]:
        long = (self.end - self.start) / MS
        step = next((s for s in _STEPS if long / s < 9), _STEPS[-1])
        for number in range(10):
            ns = round(number * step * MS)
            if ns <= self.end:
                text = "0" if number == 0 else length(ns).replace(".0 s", " s")
                yield Tick(self.percent(self.zero + ns), text)
