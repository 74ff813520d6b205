"""Fraud check: scores every placed order and flags the expensive ones. Publishes orders.flagged."""

import json
from typing import Any

from demo.shop import events, outside
from demo.shop.events import Event, UndecodableError
from demo.shop.faults import Faults
from demo.shop.service import Context, Service

service = Service("fraud-detector", "1.9.3")


def decode(body: bytes, faults: Faults) -> dict[str, Any]:
    """The fault poison is this release's decoder: it reads UTF-8 only."""
    if not faults.on("poison"):
        return events.read_json(body)
    try:
        return dict(json.loads(body.decode("utf-8")))
    except UnicodeDecodeError as error:
        raise UndecodableError(f"order is not UTF-8: {error.reason} at byte {error.start}") from error


@service.consumes("fraud-check", decode=decode)
async def score(order: Event, shop: Context) -> None:
    await outside.http("POST", "risk.example", "/scores", seconds=0.03)
    if order.data["amount"] > 500:
        await shop.reply(order, "orders.flagged", {"order_id": order.data["order_id"], "score": 0.91})
