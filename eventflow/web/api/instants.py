"""Instants in answers: RFC 3339 in UTC with microseconds."""

from datetime import UTC, datetime


def from_ns(at_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
