"""Dead letters in Redis streams, captured from a real server, and put back."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

import collectors
from collectors.base import CollectorError, Outgoing, Replayer
from collectors.redis_streams import collector, parse, replayer
from collectors.redis_streams.letters import MAX_PAYLOAD
from collectors.redis_streams.ranks import packed, unpacked
from tests.collectors.recorder import one_cycle, run_until
from tests.collectors.redis_streams.shop import LETTER_FIELDS, connection
from tests.redis_rabbitmq import RedisServer

pytestmark = pytest.mark.redis


async def test_a_letter_is_captured_whole_with_the_evidence_for_each_field(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", "payment", id="0", mkstream=True)
        position = await client.xadd("dlq.payment", {**LETTER_FIELDS, "payload": b'{"order": 1}'})
    found = await run_until(collector("shop", redis_server.url, 0.05), one_cycle)
    (letter,) = found.letters
    assert (letter.location, letter.position, letter.payload) == ("dlq.payment", position.decode(), b'{"order": 1}')
    assert (letter.destination, letter.group, letter.attempts) == ("orders.placed", "payment", 4)
    assert (letter.error_type, letter.correlation_id) == ("shop.payment.GiftCardError", "order-1")
    assert letter.failed_at == datetime(2026, 11, 25, 15, 0, 7, 500_000, UTC)
    assert letter.evidence["error_type"] == "header x-exception-type"
    assert "payload" not in dict(letter.headers)
    place = found.destination("dlq.payment")
    assert (place.dead_letter_certainty, place.dead_letters_of) == ("by-name", ("payment",))


async def test_a_stream_of_any_name_is_proved_by_the_fields_of_its_newest_entry(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xadd("parking-lot", {"payload": "no letter"})
        await client.xadd("parking-lot", {**LETTER_FIELDS, "payload": b"1"})
        await client.xadd("orders.placed", {"payload": b"1", "error": "none"})
    found = await run_until(
        collector("shop", redis_server.url, 0.05), lambda seen: seen.destination("parking-lot").dead_letters_of
    )
    assert [letter.location for letter in found.letters] == ["parking-lot"]
    assert found.destination("parking-lot").dead_letter_certainty == "header-proved"
    assert found.destination("orders.placed").dead_letter_certainty is None


async def test_letters_are_read_on_from_the_cursor_and_again_when_the_stream_was_made_anew(
    redis_server: RedisServer,
) -> None:
    async with connection(redis_server) as client:
        for number in range(120):
            await client.xadd("dlq", {"payload": b"%d" % number})
        first = collector("shop", redis_server.url, 0.05)
        found = await run_until(first, one_cycle)
        assert [letter.payload for letter in found.letters] == [b"%d" % number for number in range(120)]
        await client.xadd("dlq", {"payload": b"one more"})
        again = collectors.from_url("shop", redis_server.url, seconds=0.05, resume=found.status.cursors)
        found = await run_until(again, one_cycle)
        assert [letter.payload for letter in found.letters] == [b"one more"]
        await client.delete("dlq")
        await client.xadd("dlq", {"payload": b"anew"}, id="7-1")
        found = await run_until(again, one_cycle)
        assert [letter.payload for letter in found.letters] == [b"anew"]


async def test_a_large_payload_is_cut_and_says_so(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xadd("dlq", {"payload": b"x" * (MAX_PAYLOAD + 1)})
    (letter,) = (await run_until(collector("shop", redis_server.url, 0.05), one_cycle)).letters
    assert letter.payload_size == MAX_PAYLOAD + 1
    assert letter.payload_note is not None
    assert letter.payload_note.startswith("truncated")


@pytest.mark.parametrize(
    "fields",
    [
        ((b"ce-id", b"e1"), (b"payload", b"\x00\xff")),
        ((b"order", b"7"), (b"amount", b"12"), (b"blob", b"\xff\xfe")),
        ((b"type", b"placed"), (b"data", b"{}"), (b"value", b"second")),
        ((b"data", b""),),
    ],
)
def test_fields_that_became_a_message_become_the_same_fields_again(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    headers, payload = parse.message(parse.Entry((1, 1), fields))
    assert sorted(parse.fields(headers, payload)) == sorted(fields)


def test_a_cursor_is_the_id_in_one_number() -> None:
    assert unpacked(packed((1_795_621_793_764, 12))) == (1_795_621_793_764, 12)
    assert packed((5, 0)) < packed((5, 1)) < packed((6, 0)) < 2**63
    assert unpacked(packed((5, 2**40))) < (5, 2**40)  # too low: read again, never skipped


def outgoing(destination: str = "orders.placed") -> Outgoing:
    headers = (("ce-id", "e1"), ("via", "a"), ("via", "b"), ("Eventflow-Replay", "token-1"))
    return Outgoing(destination, "payment", headers, b"{}", "token-1")


async def test_a_replay_appends_the_message_with_its_fields_and_the_token(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xgroup_create("orders.placed", "payment", id="0", mkstream=True)
        puts = replayer("shop", redis_server.url)
        assert isinstance(puts, Replayer)
        position = await puts.send(outgoing())
        [[found, fields]] = await client.execute_command("XRANGE", "orders.placed", "-", "+")
        assert found.decode() == position
        assert list(fields.items()) == [
            (b"ce-id", b"e1"), (b"via", b"b"), (b"Eventflow-Replay", b"token-1"), (b"payload", b"{}"),
        ]  # fmt: skip
        assert await puts.receivers("orders.placed", "payment") == (await puts.receivers("orders.placed", "payment"))
        assert (await puts.receivers("orders.placed", "payment")).exact
        await client.xgroup_create("orders.placed", "audit", id="0")
        receivers = await puts.receivers("orders.placed", "payment")
        assert (receivers.groups, receivers.exact) == (("audit", "payment"), False)


async def test_a_replay_to_a_stream_that_is_not_there_makes_none(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        puts = replayer("shop", redis_server.url)
        with pytest.raises(CollectorError, match="nothing was sent") as refused:
            await puts.send(outgoing())
        assert (refused.value.permanent, refused.value.reached) == (True, False)
        assert await client.exists("orders.placed") == 0
        assert (await puts.receivers("orders.placed", None)).groups == ()


async def test_a_replay_while_the_server_is_away_says_that_nothing_was_sent(
    redis_process: Callable[..., RedisServer],
) -> None:
    server = redis_process()
    server.kill()
    with pytest.raises(CollectorError, match="nothing was sent") as refused:
        await replayer("shop", server.url).send(outgoing())
    assert (refused.value.permanent, refused.value.reached) == (False, False)


async def test_a_stream_of_letters_that_expires_says_when_until_it_no_longer_does(redis_server: RedisServer) -> None:
    async with connection(redis_server) as client:
        await client.xadd("dlq.payment", {**LETTER_FIELDS, "payload": b"1"})
        await client.expire("dlq.payment", 3600)
        watcher = collector("shop", redis_server.url, 0.05)
        place = (await run_until(watcher, one_cycle)).destination("dlq.payment")
        assert place.letters_lost and place.letters_lost.startswith("the stream expires with all that it holds at ")
        assert place.oldest_at is not None
        await client.persist("dlq.payment")
        assert (await run_until(watcher, one_cycle)).destination("dlq.payment").letters_lost is None
