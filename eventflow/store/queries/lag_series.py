"""Reads of lag over time: samples or minutes of a group, packed or not yet, and lines thinned so that no peak is lost.

A line that is thinned keeps the least and the greatest of each piece where they really were; it never connects over
what is not known.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from eventflow.store import lag_hours, lag_open
from eventflow.store.lag_hours import Singles
from eventflow.store.lag_open import AS_SAMPLED
from eventflow.store.lag_pack import (
    COLUMNS,
    MINUTE,
    OPEN,
    SAMPLE,
    SPAN,
    TENTHS,
    Floats,
    Lags,
    empty,
    merged,
    moment,
    tenths,
    thinned,
    unpacked,
)
from eventflow.store.models import LagPack
from eventflow.store.spans.columns import Array, Ints

SAMPLED_SECONDS = 86_400.0
"""Ranges up to here are read as sampled, longer ones by minutes."""
GAP_SECONDS = 180.0
"""Without a sample for longer than this nothing was seen."""
TAIL = timedelta(seconds=150)
"""Minutes are written when they are over: what is younger than this is told by samples."""
MOST_OPEN = 50
"""Groups whose rows are read to look closer."""
RATES = {"in_rate": ("published_total",), "out_rate": ("settled_total", "delivered_total")}


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    at: datetime
    ready: int | None
    in_flight: int | None
    age_seconds: float | None
    in_rate: float | None
    out_rate: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """`at`: milliseconds since 1970. A value of None interrupts the line."""

    at: list[int]
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """What is known of a group over a time."""

    lags: Lags

    def __len__(self) -> int:
        return len(self.lags)

    def _column(self, name: str) -> Floats:
        return self._rate(RATES[name]) if name in RATES else self.lags[name]

    def _rate(self, counters: Sequence[str]) -> Floats:
        """Between each look and the one before, by the first counter that is known; a step back is a reset."""
        found = np.full(len(self.lags), np.nan)
        seconds = np.diff(self.lags.at) / TENTHS
        for counter in reversed(counters):
            gained = np.diff(self.lags[counter])
            known = (gained >= 0) & (seconds > 0) & (seconds <= GAP_SECONDS)
            found[1:][known] = gained[known] / seconds[known]
        return found

    def line(self, name: str, most: int) -> Line:
        """A column (or ``in_rate``, ``out_rate``) in at most about so many points, each one as it was measured.

        Of minutes of which the fewest is known the low is drawn as well as the high.
        """
        values = self._column(name)
        lows = self.lags["low"] if name == "ready" else values
        picked, low = _envelope(values, lows, most)
        shown = np.where(low, lows[picked], values[picked])
        breaks = self._breaks(values)
        at = (self.lags.at[picked] * (1000 // TENTHS)).tolist()
        told: list[float | None] = shown.tolist()
        cut = np.searchsorted(breaks, picked)
        for place in reversed(np.flatnonzero(np.diff(cut)).tolist()):
            at.insert(place + 1, at[place] + 1)
            told.insert(place + 1, None)
        return Line(at, told)

    def _breaks(self, values: Floats) -> Ints:
        """After which looks the line is interrupted."""
        unknown = np.isnan(values)
        late = np.diff(self.lags.at) > GAP_SECONDS * TENTHS
        return np.flatnonzero((late | unknown[1:]) & ~unknown[:-1])

    def points(self, most: int) -> list[SeriesPoint]:
        """In at most so many points, the worst of each piece at its end, with the rates between them."""
        size = -(-len(self.lags) // most) or 1
        begins = np.arange(0, len(self.lags), size)
        if not len(begins):
            return []
        ends = np.append(begins[1:], len(self.lags)) - 1
        ready, flying, age = (
            np.fmax.reduceat(self.lags[name], begins) for name in ("ready", "in_flight", "age_seconds")
        )
        short = Series(self.lags.cut(ends))
        columns = (ready, flying, age, short._column("in_rate"), short._column("out_rate"))
        return [
            SeriesPoint(moment(at), _whole(waits), _whole(flies), _known(old), *map(_known, rates))
            for at, waits, flies, old, *rates in zip(
                self.lags.at[ends].tolist(), *(column.tolist() for column in columns), strict=True
            )
        ]

    def newest(self, number: int) -> list[SeriesPoint]:
        """The last ones as measured, the newest first."""
        return Series(self.lags.cut(slice(-number - 1, None))).points(number + 1)[: -number - 1 : -1]


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124  # NaN is what differs from itself


def _whole(value: float) -> int | None:
    return None if value != value else int(value)  # noqa: PLR0124  # as above


def _envelope(highs: Floats, lows: Floats, most: int) -> tuple[Ints, Floats]:
    """Which looks to draw, and which of them by their low: the least and the greatest of each piece, in order."""
    known = np.flatnonzero(~np.isnan(highs))
    differ = lows[known] < highs[known]
    if len(known) + int(differ.sum()) <= most:
        # A low that differs is drawn before its high.
        times = np.where(differ, 2, 1)
        picked = np.repeat(known, times)
        low = np.zeros(len(picked), bool)
        low[(np.cumsum(times) - times)[differ]] = True
        return picked, low
    begins = np.unique(np.linspace(0, len(known), max(1, most // 2) + 1)[:-1].astype(np.int64))
    piece = np.zeros(len(known), np.int64)
    piece[begins] = 1
    piece = np.cumsum(piece) - 1
    greatest = known[_first_equal(highs[known], np.maximum.reduceat(highs[known], begins)[piece], piece)]
    least = known[_first_equal(lows[known], np.minimum.reduceat(lows[known], begins)[piece], piece)]
    both = np.concatenate([greatest, least])
    low = np.concatenate([np.zeros(len(greatest), bool), np.ones(len(least), bool)])
    order = np.lexsort((~low, both))
    return both[order], low[order]


def _first_equal(values: Floats, wanted: Floats, piece: Ints) -> Ints:
    hits = np.flatnonzero(values == wanted)
    return hits[np.unique(piece[hits], return_index=True)[1]]


# ---------- reading ----------


def series(pk: int, start: datetime, end: datetime) -> Series:
    """One group. Up to a day by samples, and by minutes where those are gone; 2 to 4 queries."""
    if (end - start).total_seconds() > SAMPLED_SECONDS + 1:
        return Series(minutes(pk, start, end))
    found = samples(pk, start, end)
    first = int(found.at[0]) if len(found) else tenths(end)
    if first - tenths(start) > GAP_SECONDS * TENTHS:
        before = minutes(pk, start, end)
        found = merged([found, before.cut(before.at <= first - MINUTE * TENTHS)])
    return Series(found)


def samples(pk: int, start: datetime, end: datetime, names: Sequence[str] = COLUMNS) -> Lags:
    """As sampled; what is packed 15 s apart."""
    return _within(
        [*_packs([pk], SAMPLE, start, end, names)[pk], _rows([pk], AS_SAMPLED, start, end, names)[pk]], start, end
    )


def minutes(pk: int, start: datetime, end: datetime, names: Sequence[str] = COLUMNS) -> Lags:
    """By minutes, the last ones out of samples."""
    return minutes_of([pk], start, end, names)[pk]


def minutes_of(
    pks: Collection[int], start: datetime, end: datetime, names: Sequence[str] = COLUMNS
) -> Mapping[int, Lags]:
    """Of many groups at once, by group. 2 queries, and one per 500 groups for what is packed."""
    packs = _packs(pks, MINUTE, start, end, names)
    rows = _rows(pks, MINUTE, start, end, names)
    tail = _rows(pks, AS_SAMPLED, max(start, end - TAIL), end, names)
    found = {}
    for pk in pks:
        young, _ = thinned(tail[pk], MINUTE)
        young = Lags(young.at // (MINUTE * TENTHS) * (MINUTE * TENTHS), young.columns)
        found[pk] = _within([*packs[pk], rows[pk], young], start, end)
    return found


def hours_of(wanted: Mapping[int, Collection[int]], names: Sequence[str], now: datetime, most: int) -> dict[int, Lags]:
    """Groups' hours (by their beginnings, in seconds since 1970) as sampled where that is kept; the newest so many.

    1 query per 500 groups for what is packed, and 1 for what is not, of few groups.
    """
    asked = sorted(((hour, pk) for pk, hours in wanted.items() for hour in hours), reverse=True)[: max(0, most)]
    chosen = set(asked)
    found: dict[int, list[Lags]] = {pk: [] for _, pk in asked}
    if not found:
        return {}
    for part in _parts(found):
        packs = LagPack.objects.filter(group__in=part, seconds=SAMPLE, at__gte=asked[-1][0], at__lte=asked[0][0])
        for pk, hour, body in packs.order_by("group_id", "at").values_list("group_id", "at", "body").iterator():
            if (hour, pk) in chosen:
                found[pk].append(unpacked(body, names))
    young = now - OPEN - timedelta(seconds=SPAN[SAMPLE])
    open_now = list(dict.fromkeys(pk for hour, pk in asked if hour > young.timestamp()))[:MOST_OPEN]
    rows = _rows(open_now, AS_SAMPLED, young, now, names)
    return {pk: merged([*parts, rows.get(pk, empty(names))]) for pk, parts in found.items()}


def closer(minutes: Lags, samples: Lags) -> Lags:
    """Samples in place of the minutes they lie in."""
    slot = MINUTE * TENTHS
    return merged([samples, minutes.cut(~np.isin(minutes.at // slot, samples.at // slot))])


def worst(
    pks: Collection[int], start: datetime, end: datetime, width: float, number: int
) -> dict[int, list[int | None]]:
    """The most that waited in each of so many buckets of `width` seconds, as far as it is packed; by group.

    Of buckets longer than an hour by the worst of each hour.
    """
    if width > lag_hours.HOUR:
        return _worst_of_hours(pks, start, end, width, number)
    found: dict[int, list[int | None]] = {}
    for pk, parts in _packs(pks, MINUTE, start, end, ("ready",)).items():
        if parts:
            lags = merged(parts)
            found[pk] = _buckets((lags.at - tenths(start)) // int(width * TENTHS), lags["ready"], number)
    return found


def _worst_of_hours(
    pks: Collection[int], start: datetime, end: datetime, width: float, number: int
) -> dict[int, list[int | None]]:
    whose, begins, hours = days(pks, start, end)
    at = begins[:, None] + np.arange(lag_hours.NUMBER) * lag_hours.HOUR + lag_hours.HOUR // 2
    bucket = (at - int(start.timestamp())) // int(width)
    ready = hours[:, lag_hours.COLUMNS.index("ready")]
    return {
        pk: _buckets(bucket[mine].ravel(), ready[mine].ravel(), number)
        for pk in pks
        if len(mine := np.flatnonzero(whose == pk))
    }


def _buckets(bucket: Ints, values: Array, number: int) -> list[int | None]:
    """`bucket` ascending; what lies outside is left out."""
    first, last = np.searchsorted(bucket, [0, number])
    bucket, values = bucket[first:last], values[first:last]
    found: list[int | None] = [None] * number
    if len(bucket):
        begins = np.flatnonzero(np.diff(bucket, prepend=-1))
        for place, most in zip(bucket[begins].tolist(), np.fmax.reduceat(values, begins).tolist(), strict=True):
            found[place] = _whole(most)
    return found


def days(pks: Collection[int], start: datetime, end: datetime) -> tuple[Ints, Ints, Singles]:
    """The worst of each hour of the days from `start` to `end`, as far as they are packed: whose, from when (seconds
    since 1970), columns × hours. 1 query per 500 groups."""
    rows: list[tuple[int, int, bytes | memoryview]] = []
    first = start.timestamp() - SPAN[MINUTE]
    for part in _parts(pks):
        packs = LagPack.objects.filter(group__in=part, seconds=MINUTE, at__gt=first, at__lte=end.timestamp())
        rows += packs.order_by("group_id", "at").values_list("group_id", "at", "hours")
    whose, begins = (np.array([row[place] for row in rows], np.int64) for place in (0, 1))
    return whose, begins, lag_hours.opened([row[2] for row in rows])


def _within(parts: Sequence[Lags], start: datetime, end: datetime) -> Lags:
    found = merged(parts)
    first, last = np.searchsorted(found.at, [tenths(start), tenths(end)], side="left")
    return found.cut(
        slice(int(first), int(last) + 1 if last < len(found) and found.at[last] == tenths(end) else int(last))
    )


def _packs(
    pks: Collection[int], seconds: int, start: datetime, end: datetime, names: Sequence[str]
) -> dict[int, list[Lags]]:
    found: dict[int, list[Lags]] = {pk: [] for pk in pks}
    first = start.timestamp() - SPAN[seconds]
    for part in _parts(pks):
        packs = LagPack.objects.filter(group__in=part, seconds=seconds, at__gt=first, at__lte=end.timestamp())
        for pk, body in packs.order_by("group_id", "at").values_list("group_id", "body").iterator():
            found[pk].append(unpacked(body, names))
    return found


def _rows(
    pks: Collection[int], resolution: int, start: datetime, end: datetime, names: Sequence[str]
) -> dict[int, Lags]:
    found = {pk: empty(names) for pk in pks}
    for part in _parts(pks):
        whose, lags = lag_open.read(part, resolution, start, end + timedelta(seconds=1 / TENTHS), names)
        cuts = np.flatnonzero(np.diff(whose)) + 1
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(whose)], strict=True):
            if last > first:
                found[int(whose[first])] = lags.cut(slice(first, last))
    return found


def _parts(pks: Iterable[int]) -> list[list[int]]:
    ordered = sorted(pks)
    return [ordered[first : first + 500] for first in range(0, len(ordered), 500)]
