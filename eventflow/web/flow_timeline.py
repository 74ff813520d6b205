"""A timeline's rows as the page draws them: places in percent of the axis, labels, marks. Pure.

The drawing is readable without a script; every bar and label also carries its time in milliseconds after the flow's
start, from which the script lays out again when somebody zooms.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eventflow.domain.flow import DeliveryStatus, Flow, ReplayState
from eventflow.domain.timeline import Bar, BarKind, Row, RowKind, Timeline
from eventflow.web.formats import duration

MS = 1_000_000
_BEFORE, _AFTER = 0.012, 0.042
"""Room left and right of the flow, as parts of its length, so that the first and last marks are whole."""
_WIDE = 16.0
"""Percent of the axis from which a label fits into its bar, when nothing knows how many pixels that is."""
_STEPS = tuple(m * 10**e for e in range(-3, 13) for m in (1, 2, 5))

REPLAY_WORDS = {
    ReplayState.QUEUED: "waiting for the worker",
    ReplayState.SENDING: "being sent",
    ReplayState.SENT: "sent, not consumed yet",
    ReplayState.CONSUMED: "consumed, not confirmed yet",
    ReplayState.CONFIRMED: "confirmed",
    ReplayState.FAILED_AGAIN: "failed again",
    ReplayState.REFUSED: "refused",
    ReplayState.CANCELLED: "cancelled",
    ReplayState.UNKNOWN: "outcome unknown",
}


def length(ns: int | None) -> str:
    """A duration as the timeline writes it: one decimal up to a minute."""
    if ns is None:
        return "–"
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
class ViewRow:
    """One row of the treegrid."""

    row: Row
    marks: tuple[Mark, ...]
    labels: tuple[Label, ...]
    name: str
    via: str = ""
    mono: bool = False
    header: bool = False
    service_class: str = ""
    wait_text: str = ""
    twist: bool = False
    selected: bool = False
    depth: int = 0
    a: float = 0.0
    replay_flip: bool = False
    letter_id: str = ""

    @property
    def level(self) -> int:
        return self.depth + 1


@dataclass(frozen=True, slots=True)
class Tick:
    left: float
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """The whole timeline, ready to be drawn. `start_ms`, `end_ms`: the axis' ends in milliseconds after the start."""

    rows: tuple[ViewRow, ...]
    ticks: tuple[Tick, ...]
    start_ms: float
    end_ms: float
    length_ms: float
    length: str
    summary: tuple[tuple[str, str], ...] = ()
    total: str = ""
    overview: tuple[Mark, ...] = field(default=())


class _Axis:
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


def view(flow: Flow, line: Timeline, selected: Row | None, *, by_service: bool = False) -> View:
    """Everything the timeline's template shows."""
    axis = _Axis(line)
    rows = [_row(axis, flow, row, selected) for row in line.rows]
    path = line.path
    spent = [("in broker", path.waiting_ns), ("processing", path.working_ns), ("backoff", path.backoff_ns)]
    return View(
        rows=tuple(_by_service(rows) if by_service else rows),
        ticks=tuple(axis.ticks()),
        start_ms=round(axis.start / MS, 3),
        end_ms=round(axis.end / MS, 3),
        length_ms=axis.ms(line.end_ns),
        length=length(line.end_ns - line.start_ns),
        summary=tuple((length(ns), what) for what, ns in spent if ns),
        total=length(path.total_ns) if path.total_ns else "",
        overview=tuple(_overview(rows)),
    )


def _overview(rows: Sequence[ViewRow]) -> Iterable[Mark]:
    """The mini-map: `a` and `z` are its rows' top and height here, out of 36."""
    high = 36 / max(1, len(rows))
    for number, row in enumerate(rows):
        for mark in row.marks:
            if mark.cls in ("wait", "proc", "fail", "dead"):
                yield Mark(mark.cls, mark.left * 10, max(2.0, mark.width * 10), 2 + number * high, max(1.2, high - 0.8))


def _by_service(rows: Sequence[ViewRow]) -> Iterable[ViewRow]:
    """The same rows under a head per service, in order of appearance."""
    groups: dict[str, list[ViewRow]] = {}
    for shown in rows:
        groups.setdefault(shown.row.service or "publisher not seen", []).append(shown)
    for name, members in groups.items():
        yield ViewRow(members[0].row, (), (), name, header=True)
        for shown in members:
            yield _at_depth(shown, 2 if shown.row.kind is RowKind.ATTEMPT else 1)


def _at_depth(shown: ViewRow, depth: int) -> ViewRow:
    values = {name: getattr(shown, name) for name in ViewRow.__slots__}
    return ViewRow(**{**values, "depth": depth})


def _row(axis: _Axis, flow: Flow, row: Row, selected: Row | None) -> ViewRow:
    draw = _DRAW[row.kind]
    name, via, labels = draw(axis, flow, row)
    letter = row.letter
    return ViewRow(
        row=row,
        marks=tuple(axis.mark(bar) for bar in row.bars),
        labels=tuple(labels),
        name=name,
        via=via,
        mono=row.kind in (RowKind.PUBLISH, RowKind.REPLAY),
        service_class="ghost" if row.kind is RowKind.AWAITED else "crit" if row.bad else "",
        twist=row.kind is RowKind.DELIVERY and row.delivery is not None and len(row.delivery.attempts) > 1,
        selected=selected is not None and row.id == selected.id,
        depth=row.depth,
        a=axis.ms(row.at_ns),
        replay_flip=axis.percent(row.at_ns) > 60,
        letter_id=letter.id if letter and _replayable(row) else "",
    )


def _replayable(row: Row) -> bool:
    """Whether a replay is offered: the letter lies there and no replay of it is under way or has helped."""
    if row.delivery is None:
        return row.letter is not None and row.letter.status.value == "open"
    return row.delivery.status is DeliveryStatus.DEAD_LETTERED


def _publish(axis: _Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    publication = row.publication
    if publication is None:
        return row.destination or "", "", []
    text = f"published after {length(row.at_ns - axis.zero)}"
    if not publication.spans:
        text = "publisher not seen"
    if publication.failed:
        text = "not accepted by the broker"
    if publication.guessed:
        text += ", probably by this delivery"
    by = f"by {publication.service}" if publication.service else ""
    return row.destination or "destination unknown", by, [axis.beside(text, row.start_ns, row.end_ns)]


def _delivery(axis: _Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    delivery = row.delivery
    if delivery is None:
        return "", "", []
    labels: list[Label] = []
    waits = [bar for bar in row.bars if bar.kind is BarKind.WAIT]
    if waits:
        labels.append(axis.inside(f"{length(delivery.wait_ns)} in broker", waits[0]))
    last = delivery.attempts[-1]
    if len(delivery.attempts) == 1:
        short = length(last.ended_ns - last.started_ns)
        if delivery.skew_ns:
            short += f" · clocks differ by at least {length(delivery.skew_ns)}"
        full = f"{length(delivery.wait_ns)} in broker, {short}" if waits else ""
        text = full if waits and not axis.fits(waits[0]) else short
        start = row.start_ns if text == full else last.started_ns
        labels.append(axis.beside(text, start, last.ended_ns, short if full else "", full))
    via = "" if delivery.group == delivery.service else delivery.group
    if len(delivery.attempts) > 1:
        via = f"{len(delivery.attempts)} attempts"
    return delivery.service, via, labels


def _attempt(axis: _Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    if row.delivery is None:
        return "", "", []
    attempt = row.delivery.attempts[row.number - 1]
    labels = [
        axis.inside(f"{length(bar.end_ns - bar.start_ns)} backoff", bar)
        for bar in row.bars
        if bar.kind is BarKind.BACKOFF
    ]
    labels.append(axis.beside(length(attempt.ended_ns - attempt.started_ns), attempt.started_ns, attempt.ended_ns))
    error = attempt.error.name.rpartition(".")[2] if attempt.error and attempt.failed else ""
    return f"Attempt {attempt.number}", error, labels


def _dead(axis: _Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    text = ""
    if row.delivery is not None and row.delivery.status is DeliveryStatus.RECOVERED:
        text = "replayed since"
    elif row.delivery is not None and row.delivery.status is DeliveryStatus.REPLAYING:
        text = "being replayed"
    elif row.letter is not None and row.letter.status.value == "archived":
        text = "archived"
    labels = [axis.beside(text, row.at_ns, row.at_ns)] if text else []
    return "Dead-lettered", row.destination or "", labels


def _lone_letter(axis: _Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    return "Dead-lettered", row.destination or "", [axis.beside("no span of its consumer seen", row.at_ns, row.at_ns)]


def _replay(axis: _Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    replay = row.publication.replay if row.publication else None
    if replay is None:
        return row.destination or "", "", []
    by = f"replayed by {replay.by}" if replay.by else "replayed"
    return row.destination or "Replay", by, [axis.beside(REPLAY_WORDS[replay.state], row.at_ns, row.at_ns)]


def _awaited(axis: _Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    waited = length(row.end_ns - row.start_ns)
    text = f"{waited} in broker, not consumed yet"
    return row.service or "no consumer yet", "", [axis.inside(text, row.bars[0])]


_DRAW = {
    RowKind.PUBLISH: _publish,
    RowKind.DELIVERY: _delivery,
    RowKind.ATTEMPT: _attempt,
    RowKind.DEAD: _dead,
    RowKind.LETTER: _lone_letter,
    RowKind.REPLAY: _replay,
    RowKind.AWAITED: _awaited,
}
