"""How numbers, durations and times read (design reference §10). Pure; the same everywhere, server and API alike."""

from datetime import datetime

EMPTY = "–"


def count(value: float | None) -> str:
    """1,204: for tables and figures."""
    return EMPTY if value is None else f"{round(value):,}"


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


def duration(seconds: float | None) -> str:
    """38 ms, 1.6 s, 27 s, 5 m 32 s, 3 h 27 m, 2 d 4 h."""
    if seconds is None:
        return EMPTY
    if seconds < 0.9995:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def rate(per_second: float | None) -> str:
    """212/s; below one, per minute: 18 per min."""
    if per_second is None:
        return EMPTY
    if per_second == 0:
        return "0/s"
    if per_second >= 9.95:
        return f"{round(per_second):,}/s"
    if per_second >= 1:
        return f"{per_second:.1f}/s"
    per_minute = per_second * 60
    return f"{per_minute:.0f} per min" if per_minute >= 1 else "<1 per min"


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
