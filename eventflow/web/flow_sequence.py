"""A flow as a sequence diagram: a lifeline for every service and destination, an arrow for every message, by time.

Pure. Nothing is drawn that the timeline does not have; very long flows end after MAX_MESSAGES and say so.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from eventflow.domain.timeline import Row, RowKind, Timeline
from eventflow.web.flow_axis import length

MAX_MESSAGES = 300
GAP, LEFT, TOP, STEP = 136, 132, 62, 38
EVENTFLOW = "Eventflow"


@dataclass(frozen=True, slots=True)
class Lane:
    """A lifeline. `kind` is ``service``, ``destination`` or ``dead``."""

    name: str
    kind: str
    x: int
    bad: bool = False

    @property
    def short(self) -> str:
        """The name with its middle taken out where it would not fit its box."""
        room = 17 if self.kind == "service" else 16
        return self.name if len(self.name) <= room else f"{self.name[: room - 8]}…{self.name[-7:]}"


@dataclass(frozen=True, slots=True)
class Message:
    """An arrow from `x0` to `x1` (a loop where they are equal) at `y`."""

    id: str
    label: str
    since: str
    x0: int
    x1: int
    y: int
    dashed: bool = False
    bad: bool = False
    box: bool = False

    @property
    def loop(self) -> bool:
        return self.x0 == self.x1

    @property
    def way(self) -> int:
        return 1 if self.x1 > self.x0 else -1

    @property
    def line_end(self) -> int:
        return self.x1 - 7 * self.way

    @property
    def head(self) -> str:
        if self.loop:
            return f"M{self.x0 + 2} {self.y + 7}l7-3.5v7z"
        return f"M{self.x1} {self.y}l{-8 * self.way}-4v8z"

    @property
    def label_x(self) -> int:
        return self.x0 + 34 if self.loop else min(self.x0, self.x1) + 8

    @property
    def label_y(self) -> int:
        return self.y + 4 if self.loop else self.y - 5


@dataclass(frozen=True, slots=True)
class Sequence:
    lanes: tuple[Lane, ...]
    messages: tuple[Message, ...]
    width: int
    height: int
    left_out: int

    @property
    def least(self) -> int:
        """The width under which it scrolls instead of shrinking."""
        return self.width * 3 // 4


@dataclass(frozen=True, slots=True)
class _Said:
    row: Row
    at_ns: int
    source: tuple[str, str]
    target: tuple[str, str]
    label: str
    dashed: bool = False
    bad: bool = False
    box: bool = False


def sequence(line: Timeline) -> Sequence:
    """The diagram of a flow's rows."""
    said = sorted((one for row in line.rows for one in _said(row)), key=lambda one: (one.at_ns, one.row.id, one.label))
    shown = said[:MAX_MESSAGES]
    places: dict[tuple[str, str], int] = {}
    for one in shown:
        for end in (one.source, one.target):
            places.setdefault(end, LEFT + GAP * len(places))
    bad = {one.target for one in shown if one.bad and one.target[1] == "service"}
    messages = tuple(
        Message(
            id=one.row.id,
            label=one.label,
            since=length(one.at_ns - line.start_ns),
            x0=places[one.source],
            x1=places[one.target],
            y=TOP + number * STEP + 16,
            dashed=one.dashed,
            bad=one.bad,
            box=one.box,
        )
        for number, one in enumerate(shown)
    )
    lanes = tuple(Lane(name, kind, x, (name, kind) in bad) for (name, kind), x in places.items())
    return Sequence(
        lanes,
        messages,
        LEFT + 66 + GAP * max(0, len(places) - 1),
        TOP + len(messages) * STEP + 40,
        len(said) - len(shown),
    )


def _said(row: Row) -> Iterator[_Said]:
    service = (row.service or "unknown", "service")
    destination = (row.destination or "unknown", "destination")
    times = f" ×{row.repeats:,}" if row.repeats > 1 else ""
    if row.kind is RowKind.PUBLISH:
        failed = bool(row.publication and row.publication.failed)
        yield _Said(row, row.at_ns, service, destination, ("not accepted" if failed else "publish") + times, bad=failed)
    elif row.kind is RowKind.REPLAY:
        by = row.publication.replay.by if row.publication and row.publication.replay else ""
        yield _Said(row, row.at_ns, (EVENTFLOW, "service"), destination, f"replay{' by ' + by if by else ''}")
    elif row.kind in (RowKind.DEAD, RowKind.LETTER):
        yield _Said(row, row.at_ns, service, (row.destination or "unknown", "dead"), "dead letter", bad=True)
    elif row.kind is RowKind.AWAITED:
        yield _Said(
            row, row.at_ns, destination, (row.service or "nobody yet", "service"), "not consumed yet", dashed=True
        )
    else:
        yield from _consumed(row, service, destination, times)


def _consumed(row: Row, service: tuple[str, str], destination: tuple[str, str], times: str) -> Iterable[_Said]:
    delivery = row.delivery
    if delivery is None:
        return
    several = len(delivery.attempts) > 1
    waited = f"after {length(delivery.wait_ns)}" if delivery.wait_ns is not None else "deliver"
    if row.kind is RowKind.DELIVERY:
        bad = delivery.attempts[0].failed
        yield _Said(
            row, row.at_ns, destination, service, waited + times, dashed=True, bad=bad and not several, box=True
        )
        return
    attempt = delivery.attempts[row.number - 1]
    error = attempt.error.name.rpartition(".")[2] if attempt.failed and attempt.error else ""
    outcome = f"failed{', ' + error if error else ''}" if attempt.failed else "processed"
    yield _Said(row, attempt.ended_ns, service, service, f"attempt {attempt.number} {outcome}", bad=attempt.failed)
