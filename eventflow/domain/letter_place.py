"""Whether dead letters can arrive where they should, and how near those that wait there are to being dropped. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from eventflow.domain import words

NEAR_SHARE = 70.0
"""Percent of what is kept: from here on it is worth a word."""


@dataclass(frozen=True, slots=True)
class LetterPlace:
    """A dead-letter destination, or one whose dead letters have nowhere to go.

    letters_of     whose letters lie here; empty: it is the origin
    lost           why letters can't arrive or don't stay, as the broker is configured
    messages       how many wait; None is not known
    kept_seconds, kept_messages  how long, and how many of them, the broker keeps at most; None: no limit is known
    oldest_at      since when the oldest letter that somebody may still want waits, as far as anything tells
    """

    source: str
    system: str
    name: str
    letters_of: tuple[str, ...] = ()
    lost: str = ""
    messages: int | None = None
    kept_seconds: float | None = None
    kept_messages: int | None = None
    oldest_at: datetime | None = None

    def share(self, now: datetime) -> float | None:
        """How much of its time or room is used up, in percent, the worse of the two; None when neither is known."""
        found = []
        if self.kept_seconds and self.messages != 0 and self.oldest_at is not None:
            found.append(max(0.0, (now - self.oldest_at).total_seconds()) / self.kept_seconds)
        if self.kept_messages and self.messages is not None:
            found.append(self.messages / self.kept_messages)
        return min(100.0, 100 * max(found)) if found else None

    def trouble(self, now: datetime, limit: float = NEAR_SHARE) -> str:
        """What is wrong, in words; empty when nothing is."""
        if self.lost:
            return self.lost
        return self.near(now) if (self.share(now) or 0.0) > limit else ""

    def near(self, now: datetime) -> str:
        """How near to its end what waits is; empty where nothing is known of an end."""
        if self.kept_messages and self.messages and self.messages / self.kept_messages * 100 >= (self.share(now) or 0):
            return f"{words.count(self.messages)} of at most {words.count(self.kept_messages)} are kept"
        if not self.kept_seconds or self.oldest_at is None:
            return ""
        left = (self.oldest_at + timedelta(seconds=self.kept_seconds) - now).total_seconds()
        kept = f"the broker keeps each for {words.duration(self.kept_seconds)}"
        return f"{kept}, the oldest for {words.duration(left)} more" if left > 0 else f"{kept}, and some are older"
