"""The shop on real Redis Streams, judged by the streams and their groups."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from demo.processes import DemoError, Shop
from demo.shop import redis_broker
from demo.shop.broker import Broker
from demo.shop.contract import GROUPS, Group
from tests.demo.conftest import Sink
from tests.demo.on_a_broker import OF_ORDERS_PLACED, Letter, ShopOnABroker, running

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[Shop]:
    shop = running(tmp_path_factory.mktemp("shop"), sink, "redis")
    yield shop
    shop.stop()


class RedisJudge:
    """Reads by range, which moves nobody."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def letters(self, group: str, correlation_id: str) -> list[Letter]:
        found = []
        for _, fields in await self.client.xrange(f"dlq.{group}"):
            headers = {name.decode(): value.decode() for name, value in fields.items() if name != b"payload"}
            if headers.get("correlation-id") == correlation_id:
                found.append((headers, fields[b"payload"]))
        return found

    async def waiting(self, group: str) -> int:
        """What waits and what is out, counted."""
        subject = GROUPS[group].subject
        [told] = [one for one in await self.client.xinfo_groups(subject) if one["name"].decode() == group]
        return len(await self.client.xrange(subject, min=b"(" + told["last-delivered-id"])) + int(told["pending"])

    async def replay(self, broker: Broker, headers: dict[str, str], body: bytes) -> set[str]:
        await broker.publish("orders.placed", body, headers)
        return OF_ORDERS_PLACED


@pytest.fixture
async def judge(shop: Shop) -> AsyncIterator[RedisJudge]:
    client = Redis(port=int(shop.url.rpartition(":")[2]))
    yield RedisJudge(client)
    await client.aclose()


class TestShopOnRedis(ShopOnABroker):
    system = "redis"

    async def test_what_a_dead_process_held_is_taken_over(
        self, broker: Broker, judge: RedisJudge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_broker, "ABANDONED_MS", 200)
        client = judge.client
        await client.xgroup_create("orders.flagged", "test-group", id="$", mkstream=True)
        await broker.publish("orders.flagged", b"{}", {"Nats-Msg-Id": "m1"})
        [[_, [(held, _)]]] = await client.xreadgroup("test-group", "died", {"orders.flagged": ">"}, count=1)
        await asyncio.sleep(0.4)
        group = Group("test-group", "ORDERS", "orders.flagged")
        found = await broker.next(group, 5)
        assert found is not None
        assert (found.attempt, found.headers, found.receipt) == (2, {"Nats-Msg-Id": "m1"}, ("test-group", held))
        await client.xgroup_destroy("orders.flagged", "test-group")


def test_without_redis_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="install the package redis-server"):
        Shop(tmp_path, "http://127.0.0.1:9", broker="redis").start()
