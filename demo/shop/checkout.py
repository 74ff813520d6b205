"""Checkout: customers place orders, SHOP_RATE a second with a burst now and then. Publishes orders.placed."""

import asyncio
import os
import random
import time
from typing import Any
from uuid import uuid4

from demo.shop import events, outside
from demo.shop.events import Event
from demo.shop.faults import strikes
from demo.shop.service import Context, Service

service = Service("checkout", "2.8.0")

CATALOGUE = {"MUG-01": 12.50, "LAMP-07": 89.00, "CHAIR-22": 249.00, "PEN-03": 4.20, "DESK-11": 420.00, "RUG-05": 135.00}
GIFT_CARD_SHARE = 0.08
BURST_EVERY_SECONDS, BURST_ORDERS = 25, 10


@service.runs
async def customers(shop: Context) -> None:
    rate = float(os.environ.get("SHOP_RATE", "4"))
    next_burst = time.monotonic() + BURST_EVERY_SECONDS
    async with asyncio.TaskGroup() as orders:
        while True:
            orders.create_task(place(new_order(), shop))
            if time.monotonic() > next_burst:
                next_burst += BURST_EVERY_SECONDS
                for _ in range(round(BURST_ORDERS * min(rate / 4, 1))):
                    orders.create_task(place(new_order(), shop))
            await asyncio.sleep(random.uniform(0.5, 1.5) / rate)


def new_order() -> dict[str, Any]:
    basket = random.sample(list(CATALOGUE), k=random.choice((1, 1, 1, 2, 2, 3)))
    items: list[dict[str, Any]] = [
        {"sku": sku, "quantity": random.choice((1, 1, 1, 2)), "price": CATALOGUE[sku]} for sku in basket
    ]
    number = random.randrange(10_000, 100_000)
    by_gift_card = random.random() < GIFT_CARD_SHARE
    return {
        "order_id": f"SO-{number}",
        "customer": {"id": f"C-{number % 977:04}", "email": f"customer{number % 977}@example.org"},
        "items": items,
        "amount": round(sum(item["quantity"] * item["price"] for item in items), 2),
        "currency": "EUR",
        "payment": (
            {"method": "gift-card", "card": f"GC-{random.randrange(1000, 10_000)}-{random.randrange(1000, 10_000)}"}
            if by_gift_card
            else {"method": "card", "card": f"**** {random.randrange(1000, 10_000)}"}
        ),
    }


async def place(order: dict[str, Any], shop: Context) -> Event:
    event = events.first("orders.placed", shop.service, order)
    poisoned = shop.faults.on("poison") and strikes(event.correlation_id, 5)
    with outside.request("POST", "/orders") as span:
        span.set_attribute("messaging.message.conversation_id", event.correlation_id)
        span.set_attribute("shop.order.id", order["order_id"])
        await outside.sql(
            "INSERT", "orders", "INSERT INTO orders (id, customer, amount) VALUES ($1, $2, $3)", seconds=0.004
        )
        await shop.publish(event, encoding="utf-16" if poisoned else "utf-8")
        if shop.faults.on("duplicate") and strikes(event.correlation_id, 3):
            await shop.publish(event, message_id=str(uuid4()))
    return event
