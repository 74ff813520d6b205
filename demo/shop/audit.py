"""Audit log: writes down every order, payment and shipment event; publishes nothing."""

from demo.shop.events import Event
from demo.shop.service import Context, Service

service = Service("audit-log", "1.0.7")


@service.consumes("audit-orders", new_trace=True)
@service.consumes("audit-payments", new_trace=True)
@service.consumes("audit-shipments", new_trace=True)
async def write_down(event: Event, shop: Context) -> None:
    """Its process span is all there is to see."""
