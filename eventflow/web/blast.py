"""Who receives a replay, as a small drawing: waiting letters, destination, the consumer groups behind it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

ROW = 32
WIDTH = 340


@dataclass(frozen=True, slots=True)
class Box:
    """A consumer group in the drawing; `again` marks one that has seen the message before."""

    name: str
    short: str
    y: float
    again: bool

    @property
    def top(self) -> float:
        return self.y - 12

    @property
    def text_y(self) -> float:
        return self.y + 3.5


@dataclass(frozen=True, slots=True)
class Drawing:
    """Coordinates for `dead_letters/_blast.html`."""

    height: int
    middle: float
    boxes: tuple[Box, ...]
    hidden: int


def drawing(groups: Sequence[str], failed: str, limit: int = 8) -> Drawing:
    """At most `limit` groups, the one that failed first."""
    ordered = sorted(groups, key=lambda name: (name != failed, name))
    shown = ordered[:limit]
    height = max(150, len(shown) * ROW + 22)
    first = 27 + (height - 22 - len(shown) * ROW) / 2
    boxes = tuple(
        Box(name, name if len(name) <= 19 else f"{name[:10]}…{name[-7:]}", first + index * ROW, name != failed)
        for index, name in enumerate(shown)
    )
    return Drawing(height, height / 2, boxes, len(ordered) - len(shown))
