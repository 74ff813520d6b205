"""What a benchmark says: named figures beside what they must be, printed as a table and kept as JSON."""

import json
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles


@dataclass(frozen=True)
class Figure:
    """A measured value. `must` is the promise, `aim` what we want; lower is better unless `more`."""

    name: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    more: bool = False

    @property
    def ok(self) -> bool:
        if self.must is None:
            return True
        return self.value >= self.must if self.more else self.value <= self.must

    def row(self) -> dict[str, object]:
        ratio = None if not self.must else round(self.value / self.must, 3)
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "must": self.must,
            "aim": self.aim,
            "ratio": ratio,
            "ok": self.ok,
        }


def measured(benchmarks: Mapping[str, Callable[[], Sequence[Figure]]]) -> tuple[list[Figure], list[str]]:
    """The figures of all, and the names of those that failed: why is printed, and takes nothing from the others."""
    found: list[Figure] = []
    failed = []
    for name, measure in benchmarks.items():
        try:
            found += measure()
        except Exception:  # noqa: BLE001  # whatever it is, the others are worth having
            traceback.print_exc()
            failed.append(name)
    return found, failed


def percentile(values: Sequence[float], share: int) -> float:
    """The `share`th percentile; the only value of one."""
    return quantiles(values, n=100, method="inclusive")[share - 1] if len(values) > 1 else values[0]


def table(figures: Iterable[Figure]) -> str:
    """For people: one line a figure."""
    lines = ["| figure | value | unit | must | aim | ok |", "|---|---:|---|---:|---:|---|"]
    for one in figures:
        must, aim = ("–" if bound is None else f"{bound:g}" for bound in (one.must, one.aim))
        lines.append(f"| {one.name} | {one.value:.4g} | {one.unit} | {must} | {aim} | {'yes' if one.ok else 'NO'} |")
    return "\n".join(lines)


def keep(figures: Iterable[Figure], path: Path) -> None:
    """For programs: a list of rows."""
    path.write_text(json.dumps([one.row() for one in figures], indent=1) + "\n")
