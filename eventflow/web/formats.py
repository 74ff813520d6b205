"""How numbers, durations and times read (design reference §10). Pure; the same everywhere, server and API alike."""

from datetime import datetime

from eventflow.domain.words import EMPTY, count, duration, limit, rate

__all__ = ["EMPTY", "clock", "count", "duration", "limit", "percent", "rate", "short", "size"]


def short(value: float | None) -> str:
    """1.2k, 70k, 1.3M: for badges and axes only, never for a number someone will act on."""
    if value is None:
        return EMPTY
    if value < 1000:
        return str(round(value))
    if value < 9_950:
        return f"{value / 1000:.1f}k"
    if value < 999_500:
        return f"{round(value / 1000)}k"
    return f"{value / 1e6:.1f}M"


def percent(ratio: float | None) -> str:
    """0.62 %, at most two decimals."""
    if ratio is None:
        return EMPTY
    text = f"{ratio * 100:.2f}".rstrip("0").rstrip(".")
    return f"{text} %"


def clock(at: datetime | None, now: datetime | None = None, *, millis: bool = False) -> str:
    """14:32:10, with the date in front when it is another day: 18 Nov 22:40."""
    if at is None:
        return EMPTY
    if now is not None and at.date() != now.date():
        return f"{at.day} {at:%b %H:%M}"
    return f"{at:%H:%M:%S}" + (f".{at.microsecond // 1000:03d}" if millis else "")


def size(size_bytes: float | None) -> str:
    """612 B, 12 KB, 3.4 MB."""
    if size_bytes is None:
        return EMPTY
    if size_bytes < 1000:
        return f"{round(size_bytes)} B"
    if size_bytes < 999_500:
        return f"{size_bytes / 1000:.3g} KB"
    return f"{size_bytes / 1e6:.3g} MB"
