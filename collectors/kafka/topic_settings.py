"""What topics are set to: on compacted ones some offsets hold no record any more; and how long letters are kept.

Promises: asked a few topics at a time, again after an hour, those with letters after a minute; without DescribeConfigs
it is not known.
"""

import time
from collections.abc import Collection

from collectors.base import CollectorError
from collectors.kafka.client import Client, NotAllowedError

TOPICS_A_CYCLE = 50
AGAIN_SECONDS = 3600.0
SOON_SECONDS = 60.0


class TopicSettings:
    """Remembers which topics are compacted, and how long each keeps its records."""

    def __init__(self) -> None:
        self.compacted: set[str] = set()
        self.kept_seconds: dict[str, float] = {}
        self.allowed: bool | None = None
        self._asked_at: dict[str, float] = {}

    async def look(self, client: Client, topics: Collection[str], soon: Collection[str] = ()) -> None:
        """Ask for some of the topics that were not asked for lately; `soon`: those that it is urgent to know of."""
        now = time.monotonic()
        for gone in self._asked_at.keys() - topics:
            del self._asked_at[gone]
            self.kept_seconds.pop(gone, None)
        self.compacted &= set(topics)
        again = dict.fromkeys(soon, SOON_SECONDS)
        late = {topic: now - self._asked_at.get(topic, -AGAIN_SECONDS) for topic in (*soon, *topics)}
        due = [topic for topic, seconds in late.items() if seconds >= again.get(topic, AGAIN_SECONDS)]
        if not (asked := due[:TOPICS_A_CYCLE]):
            return
        self._asked_at |= dict.fromkeys(asked, now)
        try:
            told = await client.settings(asked, ("cleanup.policy", "retention.ms"))
        except NotAllowedError:
            self.allowed = False
            return
        except CollectorError:
            for topic in asked:
                del self._asked_at[topic]
            return
        self.allowed = True
        self.compacted -= set(asked)
        self.compacted |= {topic for topic, (policy, _) in told.items() if "compact" in policy}
        for topic, (policy, kept) in told.items():
            self.kept_seconds.pop(topic, None)
            if "delete" in policy and kept.isdigit():  # -1: for ever
                self.kept_seconds[topic] = int(kept) / 1000
