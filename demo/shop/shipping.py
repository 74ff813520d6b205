"""Shipping: sends a confirmed order on its way. Publishes shipments.created."""

from demo.shop import outside
from demo.shop.events import Event
from demo.shop.service import Context, Service

service = Service("shipping-service", "2.2.0")


@service.consumes("shipping", new_trace=True, stopped_by="stopped-consumer")
async def ship(order: Event, shop: Context) -> None:
    order_id = order.data["order_id"]
    await outside.http("POST", "carrier.example", "/labels", seconds=0.06)
    await shop.reply(order, "shipments.created", {"order_id": order_id, "carrier": "parcel-post", "parcels": 1})
    await shop.reply(order, "emails.requested", {"order_id": order_id, "template": "order-shipped"})
