"""Between datetimes and nanoseconds since the epoch, exactly (a float holds no nanoseconds of this century)."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(at: datetime) -> int:
    """Nanoseconds since the epoch."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def instant(ns: int) -> datetime:
    """The UTC datetime, to the microsecond; what no datetime can hold ends at the calendar's ends."""
    try:
        return _EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if ns < 0 else datetime.max.replace(tzinfo=UTC)
