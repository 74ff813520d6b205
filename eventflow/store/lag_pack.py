"""Lag over time as numbers in columns, and those columns packed small: what an hour or a day of one group becomes.

A column holds floats, NaN for what is not known. Packed are differences, byte by byte in planes, compressed; counters
as what they differ from what another column lets expect. Exact to the scale of each column; counters up to 2**53.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from threading import local

import numpy as np
import zstandard
from numpy.typing import NDArray

from eventflow.store.spans.columns import Array, Ints

Floats = NDArray[np.float64]
TENTHS = 10
"""Moments are whole tenths of a second since 1970."""
SAMPLE, MINUTE = 15, 60
SPAN = {SAMPLE: 3_600, MINUTE: 86_400}
"""Seconds between what is packed, and of a pack."""
OPEN = timedelta(hours=1)
"""So long lag stays in rows: what the engine's windows need after a restart, and the ranges that pages show most."""
SCALES: Mapping[str, int] = {
    "ready": 1,
    "low": 1,
    "in_flight": 1,
    "age_seconds": 10,
    "published_total": 1,
    "delivered_total": 1,
    "settled_total": 1,
    "status": 1,
    "kept_share": 10,
    "skew": 10,
}
"""A column and what its values are multiplied by before they are rounded."""
COLUMNS = tuple(SCALES)
WORST = ("ready", "in_flight", "age_seconds", "status", "kept_share", "skew")
"""Of several samples the greatest is kept; of `low` the least, of counters the last that is known."""
LEVEL = 6
_WIDTHS = (1, 2, 4, 8)
_ABSENT, _FULL, _HOLES = range(3)
_HEAD = Struct("<BBBq")
"""What is known, whether it is packed as what it is off what others let expect, bytes a difference, first value."""
_BODY = 4 + (len(COLUMNS) + 1) * _HEAD.size


@dataclass(frozen=True, slots=True)
class Lags:
    """Looks at one group (or several, with `group`) in order of time. Columns that nobody asked for are not there."""

    at: Ints
    columns: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name]

    def cut(self, which: Array | slice) -> "Lags":
        return Lags(self.at[which], {name: values[which] for name, values in self.columns.items()})


def tenths(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(seconds=1 / TENTHS)


def moment(at: int) -> datetime:
    return _EPOCH + timedelta(seconds=1 / TENTHS) * at


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def empty(names: Iterable[str] = COLUMNS) -> Lags:
    return Lags(np.zeros(0, np.int64), {name: np.zeros(0) for name in names})


def joined(parts: Sequence[Lags]) -> Lags:
    """One after the other."""
    parts = [part for part in parts if len(part)] or [parts[0]]
    if len(parts) == 1:
        return parts[0]
    names = parts[0].columns
    return Lags(
        np.concatenate([part.at for part in parts]),
        {name: np.concatenate([part[name] for part in parts]) for name in names},
    )


def merged(parts: Sequence[Lags]) -> Lags:
    """In order of time; of what lies at the same moment the first part's is kept."""
    together = joined(parts)
    if (np.diff(together.at) > 0).all():
        return together
    _, kept = np.unique(together.at, return_index=True)
    return together.cut(kept)


def thinned(lags: Lags, seconds: int, group: Ints | None = None) -> tuple[Lags, Ints]:
    """The worst of each slot of so many seconds, at the moment of its last sample; and where each begins.

    Nothing high is lost. `group` tells several groups' samples apart, which then lie one group after the other.
    """
    slot = lags.at // (seconds * TENTHS)
    fresh = np.ones(len(lags), bool)
    fresh[1:] = slot[1:] != slot[:-1]
    if group is not None:
        fresh[1:] |= group[1:] != group[:-1]
    begins = np.flatnonzero(fresh)
    if len(begins) in (0, len(lags)):
        return lags, begins
    ends = np.append(begins[1:], len(lags)) - 1
    found: dict[str, Floats] = {}
    for name, values in lags.columns.items():
        if name == "low":
            found[name] = np.fmin.reduceat(values, begins)
        elif name in WORST:
            found[name] = np.fmax.reduceat(values, begins)
        else:
            found[name] = _last_known(values, begins, ends)
    return Lags(lags.at[ends], found), begins


def _last_known(values: Floats, begins: Ints, ends: Ints) -> Floats:
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))[ends]
    return np.where(last >= begins, values[np.maximum(last, 0)], np.nan)


# ---------- packing ----------


def packed(lags: Lags) -> bytes:
    """All columns of `COLUMNS`; at least one moment."""
    plain: dict[str, Ints] = {}
    parts = [len(lags).to_bytes(4, "little")]
    head, body = _put(_FULL, lags.at, np.zeros(0, np.int64))
    heads, bodies = [head], [body]
    for name in COLUMNS:
        values = lags[name]
        known = ~np.isnan(values)
        if not known.any():
            plain[name] = np.zeros(len(values), np.int64)
            heads.append(_HEAD.pack(_ABSENT, 0, 0, 0))
            continue
        state = _FULL if known.all() else _HOLES
        if state == _HOLES:
            bodies.append(np.packbits(known).tobytes())
        plain[name] = _filled(values, known, SCALES[name])
        head, body = _put(state, plain[name], _expected(name, plain))
        heads.append(head)
        bodies.append(body)
    return zstandard.ZstdCompressor(level=LEVEL).compress(b"".join([*parts, *heads, *bodies]))


def _filled(values: Floats, known: Array, scale: int) -> Ints:
    """As whole numbers; what is not known repeats what was before it."""
    whole: Ints = np.rint(np.where(known, values, 0.0) * scale).astype(np.int64)
    if not known.all():
        last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
        whole = whole[np.where(last < 0, np.flatnonzero(known)[0], last)]
    return whole


def _expected(name: str, plain: Mapping[str, Ints]) -> Ints:
    """What other columns, packed before, let expect of this one; nothing of most."""
    if name == "low":
        return plain["ready"]
    if name == "delivered_total":
        return plain["published_total"] - plain["ready"]
    if name == "settled_total":
        if plain["delivered_total"].any():
            return plain["delivered_total"] - plain["in_flight"]
        return plain["published_total"] - plain["ready"] - plain["in_flight"]
    return np.zeros(0, np.int64)


def _put(state: int, values: Ints, expected: Ints) -> tuple[bytes, bytes]:
    """The first value and the differences, of the values or of what they are off, whichever are smaller."""
    steps, against = np.diff(values), 0
    if len(expected):
        off = np.diff(values - expected)
        if np.abs(off).sum() < np.abs(steps).sum():
            values, steps, against = values - expected, off, 1
    first = int(values[0])
    if not steps.any():
        return _HEAD.pack(state, against, 0, first), b""
    widest = max(int(steps.max()), -int(steps.min()) - 1)
    width = next(width for width in _WIDTHS if widest < 1 << (8 * width - 1))
    planes = np.ascontiguousarray(steps.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T)
    return _HEAD.pack(state, against, width, first), planes.tobytes()


def unpacked(body: bytes | memoryview, names: Collection[str] = COLUMNS) -> Lags:
    """The columns of these names; the others are not looked at, unless they let expect one of these."""
    plain = _opener().decompress(bytes(body))
    number = int.from_bytes(plain[:4], "little")
    heads = list(_HEAD.iter_unpack(plain[4:_BODY]))
    place, length = _BODY, heads[0][2] * (number - 1)
    at = _whole(plain, place, heads[0], number)
    whole: dict[str, Ints] = {}
    found: dict[str, Floats] = {}
    wanted = _with_what_they_need(names, heads)
    for name, head in zip(COLUMNS, heads[1:], strict=True):
        place += length
        state, against, width, _ = head
        holes = -(-number // 8) if state == _HOLES else 0
        length = holes + width * (number - 1)
        if name not in wanted:
            continue
        if state == _ABSENT:
            whole[name], found[name] = np.zeros(number, np.int64), np.full(number, np.nan)
            continue
        values = _whole(plain, place + holes, head, number)
        whole[name] = values + _expected(name, whole) if against else values
        found[name] = whole[name] / SCALES[name]
        if holes:
            known = np.unpackbits(np.frombuffer(plain, np.uint8, holes, place), count=number)
            found[name][known == 0] = np.nan
    return Lags(at, {name: found[name] for name in COLUMNS if name in names})


def _opener() -> zstandard.ZstdDecompressor:
    """One for each thread: making it costs more than using it."""
    found: zstandard.ZstdDecompressor | None = getattr(_mine, "opener", None)
    if found is None:
        found = _mine.opener = zstandard.ZstdDecompressor()
    return found


_mine = local()


def _with_what_they_need(names: Collection[str], heads: Sequence[tuple[int, ...]]) -> Collection[str]:
    if any(head[1] for name, head in zip(COLUMNS, heads[1:], strict=True) if name in names):
        return COLUMNS
    return names


def _whole(plain: bytes, place: int, head: tuple[int, ...], number: int) -> Ints:
    _, _, width, first = head
    if not width:
        return np.full(number, first, np.int64)
    values = np.empty(number, np.int64)
    values[0] = first
    if width == 1:
        values[1:] = np.frombuffer(plain, np.int8, number - 1, place)
    else:
        planes = np.frombuffer(plain, np.uint8, (number - 1) * width, place).reshape(width, -1)
        values[1:] = np.ascontiguousarray(planes.T).view(f"<i{width}").ravel()
    return np.cumsum(values)
