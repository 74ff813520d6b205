"""The time range in a page's address: `?range=1h`. Pure but for the request it reads."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpRequest

CHOICES = {
    "15m": ("Last 15 min", 900),
    "1h": ("Last 1 hour", 3600),
    "6h": ("Last 6 hours", 6 * 3600),
    "24h": ("Last 24 hours", 86_400),
    "7d": ("Last 7 days", 7 * 86_400),
}
DEFAULT = "1h"


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of the range menu."""

    label: str
    url: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Range:
    """From `start` to `end`, which is now."""

    key: str
    label: str
    seconds: float
    start: datetime
    end: datetime
    choices: tuple[Choice, ...]
    narrower: str
    wider: str
    """Addresses of the neighbours in the menu, for the keys [ and ]; empty at its ends."""


def of(request: HttpRequest, now: datetime) -> Range:
    """The range the address names, else the last hour."""
    keys = list(CHOICES)
    key = request.GET.get("range", DEFAULT)
    key = key if key in CHOICES else DEFAULT
    label, seconds = CHOICES[key]

    def url(other: str) -> str:
        query = request.GET.copy()
        query["range"] = other
        return f"{request.path}?{query.urlencode()}"

    at = keys.index(key)
    return Range(
        key=key,
        label=label,
        seconds=seconds,
        start=now - timedelta(seconds=seconds),
        end=now,
        choices=tuple(Choice(CHOICES[other][0], url(other), other == key) for other in keys),
        narrower=url(keys[at - 1]) if at else "",
        wider=url(keys[at + 1]) if at + 1 < len(keys) else "",
    )
