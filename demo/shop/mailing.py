"""Email: writes to the customer whenever another service asks for it."""

import asyncio

from demo.shop import outside
from demo.shop.events import Event
from demo.shop.service import Context, Service

service = Service("email-service", "1.14.2")

SLOW_SECONDS = 4.0


@service.consumes("email", new_trace=True, workers=8)
async def send(request: Event, shop: Context) -> None:
    if shop.faults.on("slow-consumer"):
        await asyncio.sleep(SLOW_SECONDS)
    await outside.smtp("smtp.example", "example.org", seconds=0.02)
