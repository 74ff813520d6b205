"""What can go wrong in the shop on a person's word, and whether it does so now.

Switches live on the broker, so that every service sees a change at once and a later one finds it set.
"""

import json
import zlib

from demo.shop.broker import Broker

FAULTS = {
    "gift-card": "The gift card ledger answers 502: orders paid by gift card fail four times and become dead letters.",
    "slow-consumer": "Email needs four seconds for each message: it falls behind and its lag grows.",
    "stopped-consumer": "Shipping stops reading: its lag grows and nothing is shipped.",
    "missing-step": "Inventory forgets to publish inventory.reserved for every fourth order: those orders never go on.",
    "duplicate": "Checkout publishes every third order twice, under another message id.",
    "poison": "Checkout writes every fifth order in UTF-16, which the fraud check of this release cannot read.",
}
PERSON, STORY = "person", "story"


class Faults:
    """The switches as this process last heard them."""

    def __init__(self) -> None:
        self._by: dict[str, str] = {}
        self._on: set[str] = set()

    def on(self, name: str) -> bool:
        return name in self._on

    @property
    def touched_by_person(self) -> bool:
        return PERSON in self._by.values()

    def heard(self, name: str, value: str) -> None:
        state = json.loads(value)
        self._by[name] = state["by"]
        (self._on.add if state["on"] else self._on.discard)(name)

    async def watch(self, broker: Broker) -> None:
        async for name, value in broker.switches():
            self.heard(name, value)


async def switch(broker: Broker, name: str, on: bool, by: str = PERSON) -> bool:
    """The story may only set what nobody has touched, so it never undoes what a person did."""
    return await broker.switch(name, json.dumps({"on": on, "by": by}), first=by == STORY)


async def current(broker: Broker) -> Faults:
    faults = Faults()
    for name, value in (await broker.switch_values()).items():
        faults.heard(name, value)
    return faults


def strikes(correlation_id: str, one_in: int) -> bool:
    """The same orders each time: a redelivery meets the same fault."""
    return zlib.crc32(correlation_id.encode()) % one_in == 0
