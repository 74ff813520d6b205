"""Inventory: reserves what was ordered, and releases it again when the payment is refused (the saga's compensation)."""

from demo.shop import outside
from demo.shop.events import Event
from demo.shop.faults import strikes
from demo.shop.service import Context, Service

service = Service("inventory-service", "3.0.4")


@service.consumes("inventory")
async def reserve(order: Event, shop: Context) -> None:
    statement = "UPDATE stock SET reserved = reserved + $1 WHERE sku = ANY($2)"
    await outside.sql("UPDATE", "stock", statement, seconds=0.015)
    if shop.faults.on("missing-step") and strikes(order.correlation_id, 4):
        return
    skus = [item["sku"] for item in order.data["items"]]
    await shop.reply(order, "inventory.reserved", {"order_id": order.data["order_id"], "skus": skus})


@service.consumes("inventory-release")
async def release(refusal: Event, shop: Context) -> None:
    statement = "UPDATE stock SET reserved = reserved - $1 WHERE order_id = $2"
    await outside.sql("UPDATE", "stock", statement, seconds=0.015)
    await shop.reply(
        refusal, "inventory.released", {"order_id": refusal.data["order_id"], "because": "payment refused"}
    )
