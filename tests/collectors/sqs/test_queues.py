"""What waits in SQS, compared with what SQS's own API says, and what is told when it does not."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import collectors
from collectors.base import CollectorError
from collectors.sqs import collector
from collectors.sqs.address import Address
from eventflow.domain.observations import GroupMembers
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.collectors.sqs.shop import Shop
from tests.services import SqsServer, free_port


@pytest.fixture
def shop(sqs_server: SqsServer) -> Shop:
    return Shop(sqs_server)


async def look(shop: Shop, more: str = "") -> Recorder:
    return await run_until(collector("shop", shop.server.url + more, 0.1), one_cycle)


async def test_what_waits_is_in_flight_and_delayed_is_told_as_sqs_counts_it(shop: Shop) -> None:
    orders = shop.queue("orders")
    shop.send(orders, 9)
    shop.send(orders, 2, DelaySeconds=600)
    held = shop.receive(orders, 4)
    shop.sqs.delete_message(QueueUrl=orders, ReceiptHandle=held[0]["ReceiptHandle"])
    found = await look(shop)
    lag = found.lag("orders")
    assert shop.counts()["orders"] == (5, 3, 2)
    assert (lag.destination, lag.system, lag.ready, lag.in_flight) == ("orders", "aws_sqs", 5, 3)
    assert (lag.method, lag.oldest_at, lag.members) == ("broker-approximate", None, None)
    destination = found.destination("orders")
    assert (destination.kind, destination.messages, destination.dead_letters_of) == ("queue", 10, ())
    # Two counts of what waits are no rate.
    assert (lag.published_total, lag.delivered_total, lag.settled_total) == (None, None, None)
    (readers,) = found.of(GroupMembers)
    assert (readers.group, readers.members, readers.told) == ("orders", None, (("delayed", "2"),))
    assert "neither who receives nor how many messages came or went" in readers.note
    assert found.status.rights == {
        "list queues": "allowed", "read queue attributes": "allowed", "list dead-letter sources": "unknown",
    }  # fmt: skip


async def test_a_redrive_policy_tells_whose_letters_lie_where(shop: Shop) -> None:
    graveyard = shop.queue("graveyard")
    shop.queue("orders", dead_letters="graveyard")
    shop.queue("payment", dead_letters="graveyard")
    shop.queue("email-dlq")
    shop.send(graveyard, 3)
    found = await look(shop)
    place = found.destination("graveyard")
    assert (place.messages, place.dead_letters_of) == (3, ("orders", "payment"))
    assert place.dead_letter_certainty == "configured"
    guessed = found.destination("email-dlq")
    assert (guessed.dead_letters_of, guessed.dead_letter_certainty) == (("email",), "by-name")
    assert "counted, not read" in found.status.message
    assert "may be dropped early: their dead-letter queue keeps messages no longer" in found.status.message


async def test_a_source_outside_the_prefix_is_asked_for(shop: Shop) -> None:
    shop.queue("shop-dlq")
    shop.queue("orders", dead_letters="shop-dlq")
    url = shop.server.url.replace("eu-central-1?", "eu-central-1/shop-?")
    found = await run_until(collector("shop", url, 0.1), one_cycle)
    place = found.destination("shop-dlq")
    assert (place.dead_letters_of, place.dead_letter_certainty) == (("orders",), "configured")
    assert found.status.rights["list dead-letter sources"] == "allowed"


async def test_a_dead_letter_queue_that_keeps_longer_is_no_danger(shop: Shop) -> None:
    shop.queue("orders-dlq", MessageRetentionPeriod="1209600")
    shop.queue("orders", dead_letters="orders-dlq")
    assert "dropped early" not in (await look(shop)).status.message


async def test_letters_that_cannot_arrive_or_stay_are_told_as_such(shop: Shop) -> None:
    shop.queue("gone")
    shop.queue("payment", dead_letters="gone")
    shop.client("sqs").delete_queue(QueueUrl=shop.urls()["gone"])
    shop.send(shop.queue("orders-dlq", MessageRetentionPeriod="3600"))
    shop.queue("orders", dead_letters="orders-dlq")
    found = await look(shop)
    assert found.destination("payment").letters_lost == "its redrive policy names queue gone, which is not there"
    place = found.destination("orders-dlq")
    assert place.kept_seconds == 3600
    assert place.letters_lost and place.letters_lost.startswith("it keeps messages for 1 h, orders for 96 h, counted")
    assert found.destination("orders").letters_lost is None
    assert found.destination("orders").kept_seconds is None
    named = await look(shop, "&queues=payment")  # not seeing its queue is no proof
    assert named.destination("payment").letters_lost is None


async def test_named_queues_are_looked_at_without_listing_any(shop: Shop) -> None:
    shop.send(shop.queue("orders"))
    shop.queue("other")
    found = await look(shop, "&queues=orders+nowhere")
    assert {lag.group for lag in found.of(type(found.lag("orders")))} == {"orders"}
    assert found.status.rights["list queues"] == "unknown"


async def test_one_call_a_queue_in_a_cycle_and_one_to_list_them(shop: Shop) -> None:
    for number in range(5):
        shop.queue(f"orders-{number}")
    found = await run_until(collector("shop", shop.server.url.replace("every=0.1", "every=5")), one_cycle)
    assert found.status.calls == 1 + 5
    assert found.status.received_bytes > 500


async def test_the_oldest_messages_age_comes_from_cloudwatch_where_that_is_allowed(shop: Shop) -> None:
    shop.send(shop.queue("orders"))
    at = datetime.now(UTC) - timedelta(minutes=2)
    shop.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": "orders"}],
                "Timestamp": at,
                "Value": 90,
                "Unit": "Seconds",
            }
        ],
    )
    lag = (await look(shop, "&age=cloudwatch")).lag("orders")
    assert lag.oldest_at is not None
    assert abs(lag.oldest_at - (at - timedelta(seconds=90))) <= timedelta(seconds=60)
    assert lag.error_seconds == 60


class Refusing(BaseHTTPRequestHandler):
    """Answers every call with the refusal that `code` names, as SQS does."""

    code = ""

    def do_POST(self) -> None:
        body = json.dumps({"__type": f"com.amazonaws.sqs#{self.code}", "message": "no"}).encode()
        self.send_response(403)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("code", "said", "permanent"),
    [
        ("AccessDeniedException", r"can't find queues: allow sqs:ListQueues, or name them in the URL", False),
        ("UnrecognizedClientException", r"refuses our credentials", True),
        ("ThrottlingException", r"refused list queues: ThrottlingException", False),
    ],
)
async def test_a_refusal_says_what_to_do(refusing: ThreadingHTTPServer, code: str, said: str, permanent: bool) -> None:
    Refusing.code = code
    url = f"sqs://key:s3cret@eu-central-1?every=0.1&endpoint=http://127.0.0.1:{refusing.server_address[1]}"
    seen = Recorder()
    with pytest.raises(CollectorError, match=said) as refusal:
        await collector("shop", url, 0.1).run(seen)
    assert refusal.value.permanent is permanent
    assert "s3cret" not in str(refusal.value)
    if "Denied" in code:
        assert (seen.status.state, seen.status.rights["list queues"]) == ("blind", "denied")


async def test_a_closed_port_is_told_and_tried_again() -> None:
    url = f"sqs://key:s3cret@eu-central-1?endpoint=http://127.0.0.1:{free_port()}"
    with pytest.raises(CollectorError, match=r"can't reach SQS in eu-central-1 at 127\.0\.0\.1") as error:
        await collector("shop", url, 0.1).run(Recorder())
    assert not error.value.permanent


def test_a_url_is_taken_apart_and_never_repeated_in_an_error() -> None:
    found = Address.of("sqs://AKIA:a%2Fb%2Bc@eu-central-1/shop-?take=a+b&queues=c,d&age=cloudwatch&profile=p")
    assert (found.region, found.prefix, found.key, found.secret) == ("eu-central-1", "shop-", "AKIA", "a/b+c")
    assert (found.take, found.queues, found.cloudwatch, found.profile) == (("a", "b"), ("c", "d"), True, "p")
    assert Address.of("sqs://eu-central-1").shown == "eu-central-1"
    for url in ("sqs://", "sqs://AKIA@eu-central-1", "sqs://k:s3cret@eu-central-1?endpoint=ftp://h", "sqs://k:s3@[x"):
        with pytest.raises(CollectorError) as error:
            Address.of(url)
        assert error.value.permanent
        assert "s3" not in str(error.value)
        assert "AKIA" not in str(error.value)


def test_it_looks_every_half_minute_unless_the_url_says_otherwise() -> None:
    assert collector("shop", "sqs://eu-central-1", 2).seconds == 30
    assert collector("shop", "sqs://eu-central-1", 300).seconds == 60
    assert collector("shop", "sqs://eu-central-1?every=5", 60).seconds == 5


def test_the_scheme_is_registered_with_a_replayer() -> None:
    assert collectors.from_url("shop", "sqs://eu-central-1").system == "aws_sqs"
    assert collectors.replayer("shop", "sqs://eu-central-1") is not None
