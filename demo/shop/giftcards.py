"""Gift cards: their balance is kept in somebody else's ledger, which is asked over HTTP."""

from http import HTTPStatus

from demo.shop import outside

LEDGER = "ledger.giftcards.example"


class GiftCardBalanceError(Exception):
    """The balance of a gift card could not be found out."""


async def redeem(card: str, amount: float, *, ledger_down: bool) -> None:
    await check_balance(card, amount, ledger_down=ledger_down)
    await outside.http("POST", LEDGER, f"/cards/{card}/redemptions", seconds=0.05)


async def check_balance(card: str, amount: float, *, ledger_down: bool) -> None:
    """`ledger_down` is what the fault gift-card does: the ledger's gateway answers 502."""
    status = await outside.http(
        "GET",
        LEDGER,
        f"/cards/{card}/balance?covers={amount}",
        seconds=0.05,
        status=HTTPStatus.BAD_GATEWAY if ledger_down else HTTPStatus.OK,
    )
    if status is not HTTPStatus.OK:
        raise GiftCardBalanceError(f"HTTP {status.value} {status.phrase} from the gift card ledger for card {card}")
