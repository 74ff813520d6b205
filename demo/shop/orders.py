"""Orders: confirms an order once it is paid and its goods are reserved; cancels it when they are released again.

Which half of an order has come is kept in memory only, for the last ten thousand orders.
"""

from collections import OrderedDict

from demo.shop.events import Event
from demo.shop.service import Context, Service

service = Service("order-service", "4.1.0")

HALVES = {"payments.captured", "inventory.reserved"}
_seen: OrderedDict[str, set[str]] = OrderedDict()


@service.consumes("order-payments")
@service.consumes("order-reservations")
async def confirm(half: Event, shop: Context) -> None:
    if not both_halves(half):
        return
    order_id = half.data["order_id"]
    await shop.reply(half, "orders.confirmed", {"order_id": order_id})
    await shop.reply(half, "emails.requested", {"order_id": order_id, "template": "order-confirmed"})


@service.consumes("order-releases")
async def cancel(release: Event, shop: Context) -> None:
    order_id = release.data["order_id"]
    await shop.reply(release, "orders.cancelled", {"order_id": order_id, "because": release.data["because"]})
    await shop.reply(release, "emails.requested", {"order_id": order_id, "template": "order-cancelled"})


def both_halves(event: Event) -> bool:
    seen = _seen.setdefault(event.correlation_id, set())
    seen.add(event.type)
    if len(_seen) > 10_000:
        _seen.popitem(last=False)
    return seen == HALVES
