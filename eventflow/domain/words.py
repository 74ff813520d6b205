"""How numbers and durations read (design reference §10), for the domain's sentences; the web's formats add more."""

EMPTY = "–"


def count(value: float | None) -> str:
    """1,204: for tables and figures."""
    return EMPTY if value is None else f"{round(value):,}"


def duration(seconds: float | None) -> str:
    """38 ms, 1.6 s, 27 s, 5 m 32 s, 3 h 27 m, 2 d 4 h."""
    if seconds is None:
        return EMPTY
    if seconds == 0:
        return "0 s"
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


def limit(seconds: float) -> str:
    """A limit as a person would say it: 5 min, 90 s, 2 h, 300 ms."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s" if seconds >= 1 or not seconds else f"{seconds * 1000:g} ms"


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
