"""The time range in a page's address: `?range=1h`, and `&at=…` for one that ended then. Pure but for the request."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django.http import HttpRequest

CHOICES = {
    "15m": ("Last 15 min", 900),
    "1h": ("Last 1 hour", 3600),
    "6h": ("Last 6 hours", 6 * 3600),
    "24h": ("Last 24 hours", 86_400),
    "7d": ("Last 7 days", 7 * 86_400),
}
DEFAULT = "1h"
LONGEST = timedelta(days=366)
AT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of the range menu."""

    label: str
    url: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Range:
    """From `start` to `end`, which is now unless `past`."""

    key: str
    label: str
    seconds: float
    start: datetime
    end: datetime
    choices: tuple[Choice, ...]
    narrower: str
    wider: str
    """Addresses of the neighbours in the menu, for the keys [ and ]; empty at its ends."""
    past: bool = False

    @property
    def query(self) -> str:
        """The same range for another address of this page."""
        return urlencode({"range": self.key} | ({"at": self.end.strftime(AT)} if self.past else {}))


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
    until = _until(request.GET.get("at", ""), now)
    end = until or now
    return Range(
        key=key,
        label=f"{label.removeprefix('Last ')} until {end:%d %b %H:%M}" if until else label,
        seconds=seconds,
        start=end - timedelta(seconds=seconds),
        end=end,
        past=until is not None,
        choices=tuple(Choice(CHOICES[other][0], url(other), other == key) for other in keys),
        narrower=url(keys[at - 1]) if at else "",
        wider=url(keys[at + 1]) if at + 1 < len(keys) else "",
    )


def piece(request: HttpRequest, now: datetime) -> tuple[datetime, datetime] | None:
    """A piece of time that the address names, `?from=…&to=…` in milliseconds since 1970; None when it names none."""
    try:
        start, end = (datetime.fromtimestamp(int(request.GET.get(name, "")) / 1000, UTC) for name in ("from", "to"))
    except (ValueError, OverflowError, OSError):
        return None
    end = min(end, now)
    return (start, end) if timedelta(seconds=1) <= end - start <= LONGEST else None


def _until(text: str, now: datetime) -> datetime | None:
    """When a range in the past ends; None for one that ends now."""
    try:
        end = datetime.strptime(text, AT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return end if end < now and end.year > 2000 else None
