"""The demo's story: calm first, then gift cards fail and email falls behind.

It sets only switches that nobody has touched and ends as soon as a person touches any.
"""

import asyncio

from demo.shop import faults
from demo.shop.broker import Broker

STORY = ((20.0, "gift-card"), (8.0, "slow-consumer"))


async def tell(broker: Broker, chapters: tuple[tuple[float, str], ...] = STORY) -> None:
    for pause_seconds, fault in chapters:
        await asyncio.sleep(pause_seconds)
        if (await faults.current(broker)).touched_by_person:
            return
        await faults.switch(broker, fault, True, by=faults.STORY)
