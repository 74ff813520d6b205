"""Letters that an operator lets us take out of SQS, and sending messages again."""

from collections.abc import Sequence

import pytest

from collectors.base import CollectorError, Outgoing, Receivers
from collectors.sqs import collector, replayer
from eventflow.domain.observations import DeadLetter, Observation
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.collectors.sqs.shop import Shop
from tests.services import SqsServer


@pytest.fixture
def shop(sqs_server: SqsServer) -> Shop:
    return Shop(sqs_server)


def give_up(shop: Shop, count: int = 1, **more: object) -> tuple[str, str]:
    """`orders` gives up after one receive, and SQS moves what it got."""
    letters = shop.queue("orders-dlq")
    orders = shop.queue("orders", dead_letters="orders-dlq", max_receives=1, VisibilityTimeout="0")
    attributes = {
        "correlation-id": "order-7",
        "x-error-message": "card declined",
        "tries": {"DataType": "Number", "StringValue": "3"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    shop.send(orders, count, attributes)
    for _ in range(2 * count):
        shop.receive(orders)
    return orders, letters


async def test_a_taken_letter_is_told_by_its_attributes_and_is_gone_from_its_queue(shop: Shop) -> None:
    give_up(shop)
    found = await run_until(
        collector("shop", shop.server.url + "&take=orders-dlq", 0.1), lambda seen: seen.letters and one_cycle(seen)
    )
    (letter,) = found.letters
    assert (letter.location, letter.payload, letter.system) == ("orders-dlq", b"0", "aws_sqs")
    assert (letter.destination, letter.group) == ("orders", "orders")
    assert (letter.correlation_id, letter.error_message) == ("order-7", "card declined")
    assert letter.position == letter.message_id
    assert letter.published_at is not None
    assert ("raw", "base64:AP8=") in letter.headers
    assert ("tries", "3") in letter.headers
    assert shop.counts() == {"orders-dlq": (0, 0, 0), "orders": (0, 0, 0)}


async def test_without_leave_nothing_is_taken(shop: Shop) -> None:
    give_up(shop)
    found = await run_until(collector("shop", shop.server.url, 0.1), one_cycle)
    assert not found.letters
    assert shop.counts()["orders-dlq"] == (1, 0, 0)


async def test_letters_that_could_not_be_stored_lie_in_their_queue_again_at_once(shop: Shop) -> None:
    give_up(shop, 5)

    def refuse(batch: Sequence[Observation]) -> None:
        if any(isinstance(item, DeadLetter) for item in batch):
            raise OSError("disk I/O error")

    with pytest.raises(OSError, match="disk"):
        await collector("shop", shop.server.url + "&take=*", 0.1).run(Recorder(refuse))
    assert shop.counts()["orders-dlq"] == (5, 0, 0)
    found = await run_until(
        collector("shop", shop.server.url + "&take=*", 0.1), lambda seen: len(seen.letters) == 5 and one_cycle(seen)
    )
    assert len({letter.position for letter in found.letters}) == 5
    assert shop.counts()["orders-dlq"] == (0, 0, 0)


async def test_what_is_no_dead_letter_queue_or_would_move_letters_on_is_left_alone(shop: Shop) -> None:
    shop.queue("second-dlq")
    shop.send(shop.queue("first-dlq", dead_letters="second-dlq"))
    shop.send(shop.queue("orders", dead_letters="first-dlq"))
    found = await run_until(collector("shop", shop.server.url + "&take=first-dlq+orders", 0.1), one_cycle)
    assert "first-dlq moves what is looked at often to second-dlq" in found.status.message
    assert "orders is no dead-letter queue here" in found.status.message
    assert not found.letters
    assert {name: counts[0] for name, counts in shop.counts().items()} == {"orders": 1, "first-dlq": 1, "second-dlq": 0}


async def test_a_letter_is_sent_again_with_its_attributes_and_ours(shop: Shop) -> None:
    orders, _ = give_up(shop)
    found = await run_until(collector("shop", shop.server.url + "&take=*", 0.1), lambda seen: seen.letters)
    (letter,) = found.letters
    sender = replayer("shop", shop.server.url)
    assert await sender.receivers("orders", "orders") == Receivers(("orders",), exact=True)
    headers = (*letter.headers, ("traceparent", "00-1-2-01"))
    position = await sender.send(Outgoing("orders", "orders", headers, letter.payload or b"", "token-1"))
    await sender.close()
    (message,) = shop.receive(orders)
    assert (message["MessageId"], message["Body"]) == (position, "0")
    told = message["MessageAttributes"]
    assert told["Eventflow-Replay"]["StringValue"] == "token-1"
    assert told["traceparent"]["StringValue"] == "00-1-2-01"
    assert (told["tries"]["DataType"], told["tries"]["StringValue"]) == ("Number", "3")
    assert told["raw"]["BinaryValue"] == b"\x00\xff"
    assert not [name for name in told if name.startswith("SQS-")]


async def test_a_fifo_queue_gets_it_in_its_old_group_and_only_once_for_one_attempt(shop: Shop) -> None:
    orders = shop.queue("orders.fifo")
    sender = replayer("shop", shop.server.url)
    message = Outgoing("orders.fifo", None, (("SQS-MessageGroupId", "customer-1"),), b"again", "token-1")
    assert await sender.send(message)
    assert await sender.send(message)
    await sender.close()
    (got,) = shop.receive(orders)
    assert got["Attributes"]["MessageGroupId"] == "customer-1"
    assert got["Attributes"]["MessageDeduplicationId"] == "token-1"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Outgoing("nowhere", None, (), b"x", "t"), "there is no queue nowhere: nothing was sent"),
        (Outgoing("orders", None, (), b"\xff", "t"), "the body is no text"),
        (Outgoing("orders", None, (("two words", "x"),), b"x", "t"), "takes no attribute called two words"),
        (Outgoing("orders", None, tuple((f"h{n}", "x") for n in range(11)), b"x", "t"), "has 11 headers"),
    ],
)
async def test_what_sqs_cannot_take_is_refused_for_good(shop: Shop, message: Outgoing, why: str) -> None:
    shop.queue("orders")
    sender = replayer("shop", shop.server.url)
    with pytest.raises(CollectorError, match=why) as error:
        await sender.send(message)
    await sender.close()
    assert error.value.permanent
    assert shop.counts() == {"orders": (0, 0, 0)}


async def test_with_ten_attributes_of_its_own_a_message_is_sent_without_ours(shop: Shop) -> None:
    orders = shop.queue("orders")
    sender = replayer("shop", shop.server.url)
    await sender.send(Outgoing("orders", None, tuple((f"h{n}", "x") for n in range(10)), b"x", "t"))
    await sender.close()
    (message,) = shop.receive(orders)
    assert sorted(message["MessageAttributes"]) == [f"h{n}" for n in range(10)]
