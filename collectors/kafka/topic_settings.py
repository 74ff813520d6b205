"""What topics are set to, as far as lag depends on it: on compacted ones some offsets hold no record any more.

Promises: asked a few topics at a time and again only after an hour; without DescribeConfigs it is not known.
"""

import time
from collections.abc import Collection

from collectors.base import CollectorError
from collectors.kafka.client import Client, NotAllowedError

TOPICS_A_CYCLE = 50
AGAIN_SECONDS = 3600.0


class TopicSettings:
    """Remembers which topics are compacted."""

    def __init__(self) -> None:
        self.compacted: set[str] = set()
        self.allowed: bool | None = None
        self._asked_at: dict[str, float] = {}

    async def look(self, client: Client, topics: Collection[str]) -> None:
        """Ask for some of the topics that were not asked for lately."""
        now = time.monotonic()
        for gone in self._asked_at.keys() - topics:
            del self._asked_at[gone]
        self.compacted &= set(topics)
        due = [topic for topic in topics if now - self._asked_at.get(topic, -AGAIN_SECONDS) >= AGAIN_SECONDS]
        if not (asked := due[:TOPICS_A_CYCLE]):
            return
        self._asked_at |= dict.fromkeys(asked, now)
        try:
            policies = await client.cleanup_policies(asked)
        except NotAllowedError:
            self.allowed = False
            return
        except CollectorError:
            for topic in asked:
                del self._asked_at[topic]
            return
        self.allowed = True
        self.compacted -= set(asked)
        self.compacted |= {topic for topic, policy in policies.items() if "compact" in policy}
