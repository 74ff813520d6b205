"""What a user without all rights sees, what is said when nothing can be seen, and the protocol's odd answers."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from collectors.base import CollectorError
from collectors.redis_streams import collector
from collectors.redis_streams.address import Address
from collectors.redis_streams.parse import counts_right
from collectors.redis_streams.resp import Answers, ProtocolError, Refusal, packed
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.collectors.redis_streams.shop import LETTER_FIELDS, connection, publish, read
from tests.redis_rabbitmq import RedisServer

pytestmark = pytest.mark.redis

ALL = "+scan +xinfo +xpending +xrange +info"


async def look(server: RedisServer, rights: str, keys: str = "%R~*", query: str = "") -> Recorder:
    async with connection(server) as client:
        await client.xgroup_create("orders.placed", "payment", id="0", mkstream=True)
        await publish(client, "orders.placed", 4)
        await read(client, "orders.placed", "payment", 1)
        await client.xadd("dlq.payment", {**LETTER_FIELDS, "payload": b"1"})
        await client.execute_command("ACL", "SETUSER", "eventflow", "on", ">s3cret", keys, *rights.split())
    url = f"redis-streams://eventflow:s3cret@127.0.0.1:{server.port}{query}"
    return await run_until(collector("shop", url, 0.05), one_cycle)


async def test_five_read_rights_show_everything(redis_server: RedisServer) -> None:
    found = await look(redis_server, ALL)
    assert (found.lag("payment").ready, found.lag("payment").in_flight) == (3, 1)
    assert found.lag("payment").oldest_at is not None
    assert len(found.letters) == 1
    assert found.status.rights == dict.fromkeys(
        ("list streams", "read groups", "read pending entries", "read entries"), "allowed"
    )
    assert (found.status.message, found.status.address) == ("", f"127.0.0.1:{redis_server.port}")
    assert (found.status.calls >= 8, found.status.received_bytes > 500, found.status.cycle_seconds > 0) == (True,) * 3


async def test_without_xrange_counts_stay_and_letters_are_said_to_be_unseen(redis_server: RedisServer) -> None:
    found = await look(redis_server, ALL.replace("+xrange", ""))
    assert found.lag("payment").ready == 3
    assert found.letters == []
    assert found.status.rights["read entries"] == "denied"
    assert "allow +xrange" in found.status.message


async def test_without_xpending_the_rest_is_seen(redis_server: RedisServer) -> None:
    found = await look(redis_server, ALL.replace("+xpending", ""))
    assert found.lag("payment").in_flight == 1
    assert found.status.rights["read pending entries"] == "denied"
    assert "allow +xpending" in found.status.message


async def test_not_being_allowed_to_list_is_blindness_and_not_emptiness(redis_server: RedisServer) -> None:
    with pytest.raises(CollectorError, match=r"allow \+scan"):
        await look(redis_server, ALL.replace("+scan", ""))


async def test_named_streams_need_no_listing(redis_server: RedisServer) -> None:
    found = await look(redis_server, ALL.replace("+scan", ""), query="/0?streams=orders.placed")
    assert found.lag("payment").ready == 3


async def test_streams_outside_the_users_keys_are_counted_as_unseen(redis_server: RedisServer) -> None:
    found = await look(redis_server, ALL, keys="%R~orders.*")
    assert found.lag("payment").ready == 3
    assert "1 streams can't be seen (dlq.payment)" in found.status.message


async def test_wrong_credentials_stop_it_for_good_without_telling_them(
    redis_process: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_process("--requirepass", "right")
    with caplog.at_level(logging.DEBUG), pytest.raises(CollectorError, match="refuses our credentials") as refused:
        await run_until(collector("shop", f"redis-streams://:wr0ng@127.0.0.1:{server.port}", 0.05), one_cycle)
    assert refused.value.permanent
    assert "wr0ng" not in caplog.text + str(refused.value)
    with pytest.raises(CollectorError, match="refuses our credentials"):
        await run_until(collector("shop", server.url, 0.05), one_cycle)
    found = await run_until(collector("shop", f"redis-streams://:right@127.0.0.1:{server.port}", 0.05), one_cycle)
    assert found.status.state == "ok"


async def test_what_is_no_redis_is_said(redis_server: RedisServer) -> None:
    async def shop(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(shop, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    with pytest.raises(CollectorError, match="is no Redis server") as refused:
        await run_until(collector("shop", f"redis-streams://127.0.0.1:{port}", 0.05), one_cycle)
    assert refused.value.permanent
    other.close()
    with pytest.raises(CollectorError, match="has no database 99"):
        await run_until(collector("shop", f"{redis_server.url}/99", 0.05), one_cycle)


@pytest.mark.parametrize(
    "url", ["redis-streams://", "redis-streams://h:x", "redis-streams://h/abc", "redis-streams://[h"]
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(CollectorError, match="write redis-streams://host:6379/0") as refused:
        Address.of(url)
    assert refused.value.permanent


def test_answers_come_whole_however_the_bytes_are_cut() -> None:
    raw = b"*3\r\n$2\r\nab\r\n:-7\r\n*-1\r\n+OK\r\n-NOPERM no\r\n$-1\r\n" + b"$300000\r\n" + b"x" * 300_000 + b"\r\n"
    expected = [[b"ab", -7, []], b"OK", Refusal("NOPERM", "no"), None, b"x" * 300_000]
    for size in (1, 7, 1000, 400_000):
        parser, got = Answers(), []
        for start in range(0, len(raw), size):
            got += parser.feed(raw[start : start + size])
        assert got == expected
    with pytest.raises(ProtocolError):
        Answers().feed(b"HTTP/1.1 200 OK\r\n")


def test_commands_are_written_with_their_lengths() -> None:
    assert packed([("XADD", b"k\xff", 5)]) == b"*3\r\n$4\r\nXADD\r\n$2\r\nk\xff\r\n$1\r\n5\r\n"


@pytest.mark.parametrize(
    ("version", "right"),
    [
        ("7.0.15", False),
        ("7.2.6", False),
        ("7.2.7", True),
        ("7.4.1", False),
        ("7.4.2", True),
        ("8.0.0", True),
        ("", False),
    ],
)
def test_releases_that_count_right_after_trimming_are_known(version: str, right: bool) -> None:
    assert counts_right(version) is right
