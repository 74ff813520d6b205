"""Putting a message back into a real JetStream, and saying beforehand who gets it."""

import json
from collections.abc import Callable

import pytest

from collectors.base import CollectorError, Outgoing, Replayer
from collectors.nats import replayer
from collectors.nats.parse import stored_message
from tests.collectors.nats.shop import connection, consumer
from tests.services import NatsServer

pytestmark = pytest.mark.nats


def outgoing(*, token: str | None = None, payload: bytes = b"{}") -> Outgoing:
    token = token or "token-1"
    headers = (("ce-id", "e1"), ("Nats-Msg-Id", "e1"), ("via", "a"), ("via", "b"), ("Eventflow-Replay", token))
    return Outgoing("orders.placed", "payment", headers, payload, token)


async def test_a_replayer_is_one(nats_server: str) -> None:
    assert isinstance(replayer("shop", nats_server), Replayer)


async def test_a_message_is_sent_with_its_headers_and_the_token_as_message_id(nats_server: str) -> None:
    async with connection(nats_server) as (client, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        puts = replayer("shop", nats_server)
        assert await puts.send(outgoing()) == "ORDERS:1"
        await puts.close()
        answer = json.loads((await client.request("$JS.API.STREAM.MSG.GET.ORDERS", b'{"seq": 1}')).data)
    stored = stored_message("ORDERS", answer["message"])
    assert stored is not None
    assert (stored.subject, stored.data) == ("orders.placed", b"{}")
    assert stored.headers == (
        ("ce-id", "e1"), ("via", "a"), ("via", "b"), ("Eventflow-Replay", "token-1"), ("Nats-Msg-Id", "token-1"),
    )  # fmt: skip


async def test_the_same_token_sent_twice_is_stored_once_and_gives_the_same_position(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        puts = replayer("shop", nats_server)
        assert [await puts.send(outgoing()), await puts.send(outgoing())] == ["ORDERS:1", "ORDERS:1"]
        assert await puts.send(outgoing(token="token-2")) == "ORDERS:2"
        await puts.close()
        assert (await js.stream_info("ORDERS")).state.messages == 2


async def test_a_subject_that_no_stream_takes_is_refused_for_good_even_if_somebody_listens(nats_server: str) -> None:
    got = []

    async def listen(message: object) -> None:
        got.append(message)

    async with connection(nats_server) as (client, _):
        await client.subscribe("orders.placed", cb=listen)
        await client.flush()
        puts = replayer("shop", nats_server)
        with pytest.raises(CollectorError, match="nothing was sent") as refused:
            await puts.send(outgoing())
        await puts.close()
        await client.flush()
    assert (refused.value.permanent, refused.value.reached, got) == (True, False, [])


async def test_receivers_are_all_whose_filters_take_the_subject(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        await consumer(js, "ORDERS", "refunds", "orders.cancelled")
        puts = replayer("shop", nats_server)
        alone = await puts.receivers("orders.placed", "payment")
        await consumer(js, "ORDERS", "audit", "orders.*")
        await consumer(js, "ORDERS", "everything", None)
        together = await puts.receivers("orders.placed", "payment")
        nobody = await puts.receivers("billing.sent", "payment")
        await puts.close()
    assert (alone.groups, alone.exact) == (("payment",), True)
    assert (together.groups, together.exact) == (("audit", "everything", "payment"), False)
    assert (nobody.groups, nobody.exact) == ((), False)


async def test_without_the_right_to_ask_for_stream_names_their_list_serves(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process(
        """authorization { users: [ { user: admin, password: s3cret }
        { user: eventflow, password: s3cret, permissions: {
        publish: ["$JS.API.STREAM.LIST", "$JS.API.CONSUMER.LIST.*", "orders.>"], subscribe: ["_INBOX.>"] } } ] }"""
    )
    async with connection(server.url_as("admin", "s3cret")) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
    puts = replayer("shop", server.url_as("eventflow", "s3cret"))
    assert (await puts.receivers("orders.placed", "payment")).groups == ("payment",)
    assert await puts.send(outgoing()) == "ORDERS:1"
    with pytest.raises(CollectorError, match=r"not allowed to publish on dlq\.payment") as refused:
        await puts.send(Outgoing("dlq.payment", None, (), b"", "token"))
    await puts.close()
    assert refused.value.permanent


async def test_an_unreachable_server_sent_nothing_and_may_be_tried_again(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process()
    async with connection(server.url) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
    puts = replayer("shop", server.url)
    assert await puts.send(outgoing()) == "ORDERS:1"
    server.kill()
    with pytest.raises(CollectorError) as down:
        await puts.send(outgoing())
    assert (down.value.permanent, down.value.reached) == (False, False)
    server.start()
    assert await puts.send(outgoing(token="token-3")) == "ORDERS:2"
    await puts.close()


async def test_a_message_larger_than_the_server_takes_is_refused_for_good(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process("max_payload: 1000")
    async with connection(server.url) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
    puts = replayer("shop", server.url)
    with pytest.raises(CollectorError, match="larger") as refused:
        await puts.send(outgoing(payload=b"x" * 2000))
    await puts.close()
    assert refused.value.permanent


async def test_orders_to_the_server_in_the_old_headers_are_not_repeated(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await js.publish("orders.placed", b"first")
        puts = replayer("shop", nats_server)
        rollup = Outgoing("orders.placed", None, (("Nats-Expected-Last-Sequence", "77"),), b"{}", "token")
        assert await puts.send(rollup) == "ORDERS:2"
        await puts.close()


async def test_a_header_of_bytes_is_refused_instead_of_being_changed(nats_server: str) -> None:
    async with connection(nats_server) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
    puts = replayer("shop", nats_server)
    with pytest.raises(CollectorError, match="bytes") as refused:
        await puts.send(Outgoing("orders.placed", None, (("raw", "base64:/w=="),), b"", "token"))
    assert refused.value.permanent
