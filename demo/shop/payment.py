"""Payment: charges a placed order. Publishes payments.captured, or payments.refused when the bank says no."""

from http import HTTPStatus

from demo.shop import giftcards, outside
from demo.shop.events import Event
from demo.shop.faults import strikes
from demo.shop.service import Context, Service

service = Service("payment-service", "5.2.1")


@service.consumes("payment", workers=8)
async def charge(order: Event, shop: Context) -> None:
    payment, amount = order.data["payment"], order.data["amount"]
    receipt = {"order_id": order.data["order_id"], "amount": amount, "method": payment["method"]}
    if payment["method"] == "gift-card":
        await giftcards.redeem(payment["card"], amount, ledger_down=shop.faults.on("gift-card"))
    elif not await authorised(order.correlation_id):
        await shop.reply(order, "payments.refused", {**receipt, "reason": "insufficient funds"})
        return
    await shop.reply(order, "payments.captured", receipt)


async def authorised(correlation_id: str) -> bool:
    """The bank refuses one order in twenty-five: business as usual, not an error."""
    refused = strikes(correlation_id, 25)
    status = HTTPStatus.PAYMENT_REQUIRED if refused else HTTPStatus.OK
    return await outside.http("POST", "bank.example", "/authorisations", seconds=0.08, status=status) is HTTPStatus.OK
