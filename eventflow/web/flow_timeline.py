"""A timeline's rows as the page draws them: places in percent of the axis, labels, marks. Pure.

The drawing is readable without a script; every bar and label also carries its time in milliseconds after the flow's
start, from which the script lays out again when somebody zooms.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eventflow.domain.flow import DeliveryStatus, Flow, ReplayState
from eventflow.domain.timeline import BarKind, Row, RowKind, Timeline
from eventflow.web.flow_axis import MS, Axis, Label, Mark, Tick, length

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


def view(flow: Flow, line: Timeline, selected: Row | None, *, by_service: bool = False) -> View:
    """Everything the timeline's template shows."""
    axis = Axis(line)
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


def _row(axis: Axis, flow: Flow, row: Row, selected: Row | None) -> ViewRow:
    draw = _DRAW[row.kind]
    name, via, labels = draw(axis, flow, row)
    letter = row.letter
    if row.repeats > 1:
        name = f"{row.repeats:,} × {name}"
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


def _publish(axis: Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
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


def _delivery(axis: Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
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


def _attempt(axis: Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
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


def _dead(axis: Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    text = ""
    if row.delivery is not None and row.delivery.status is DeliveryStatus.RECOVERED:
        text = "replayed since"
    elif row.delivery is not None and row.delivery.status is DeliveryStatus.REPLAYING:
        text = "being replayed"
    elif row.letter is not None and row.letter.status.value == "archived":
        text = "archived"
    labels = [axis.beside(text, row.at_ns, row.at_ns)] if text else []
    return "Dead-lettered", row.destination or "", labels


def _lone_letter(axis: Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    return "Dead-lettered", row.destination or "", [axis.beside("no span of its consumer seen", row.at_ns, row.at_ns)]


def _replay(axis: Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
    replay = row.publication.replay if row.publication else None
    if replay is None:
        return row.destination or "", "", []
    by = f"replayed by {replay.by}" if replay.by else "replayed"
    return row.destination or "Replay", by, [axis.beside(REPLAY_WORDS[replay.state], row.at_ns, row.at_ns)]


def _awaited(axis: Axis, flow: Flow, row: Row) -> tuple[str, str, list[Label]]:
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
