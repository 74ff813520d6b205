"""Rights that are taken away while a collector runs: it says what is missing, tells no number that it may not know, and
sees the same again as soon as it may.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import pytest
from confluent_kafka.admin import AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from collectors.base import Collector
from collectors.kafka import collector as kafka_collector
from collectors.nats import collector as nats_collector
from collectors.rabbitmq import collector as rabbitmq_collector
from collectors.redis_streams import collector as redis_collector
from eventflow.domain.observations import LagSample, Observation, SourceStatus
from tests.collectors.kafka.test_rights import DESCRIBE, Secured, secured
from tests.collectors.nats.test_rights import ALL as NATS_RIGHTS
from tests.collectors.nats.test_rights import shop_with_a_letter, users
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.rabbitmq.shop import publish as rabbitmq_publish
from tests.collectors.recorder import Recorder
from tests.collectors.redis_streams.shop import connection as redis_connection
from tests.collectors.redis_streams.shop import publish as redis_publish
from tests.collectors.redis_streams.test_rights import ALL as REDIS_RIGHTS
from tests.collectors.scenarios import BROKERS
from tests.faults.test_brokers import vhost, watched
from tests.redis_rabbitmq import RedisServer
from tests.services import NatsServer

__all__ = ["secured", "vhost"]  # pytest finds fixtures by name


class Office(Protocol):
    """Who gives the collector's user its rights, and takes them; `ready` messages wait there."""

    ready: int

    def collector(self) -> Collector: ...
    async def grant(self) -> None: ...
    async def withdraw(self) -> None: ...


class KafkaOffice:
    """ACLs on topics, groups and the cluster."""

    ready = 2

    def __init__(self, shop: Secured) -> None:
        self._shop = shop

    def collector(self) -> Collector:
        return kafka_collector(
            "shop", f"kafka://eventflow:s3cret@{self._shop.server.address}?mechanism=SCRAM-SHA-512", 0.2
        )

    async def grant(self) -> None:
        await asyncio.to_thread(self._shop.grant, *DESCRIBE)

    async def withdraw(self) -> None:
        where, what = (ResourceType.ANY, None, ResourcePatternType.ANY), (AclOperation.ANY, AclPermissionType.ANY)
        every = AclBindingFilter(*where, "User:eventflow", None, *what)
        for done in self._shop.admin.delete_acls([every]).values():
            await asyncio.to_thread(done.result, 20)


class NatsOffice:
    """The server's configuration, read again."""

    ready = 1

    def __init__(self, server: NatsServer) -> None:
        self._server = server

    def collector(self) -> Collector:
        return nats_collector("shop", self._server.url_as("eventflow", "s3cret"), 0.1)

    async def grant(self) -> None:
        self._server.configure(users(NATS_RIGHTS))
        await asyncio.sleep(0.5)

    async def withdraw(self) -> None:
        self._server.configure(users([]))


class RedisOffice:
    """ACL SETUSER."""

    ready = 4

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def collector(self) -> Collector:
        return redis_collector("shop", f"redis-streams://eventflow:s3cret@127.0.0.1:{self._server.port}", 0.1)

    async def _user(self, *rules: str) -> None:
        async with redis_connection(self._server) as client:
            await client.execute_command("ACL", "SETUSER", "eventflow", *rules)

    async def grant(self) -> None:
        await self._user("on", ">s3cret", "%R~*", *REDIS_RIGHTS.split())

    async def withdraw(self) -> None:
        await self._user("resetkeys", "-@all")


class RabbitMqOffice:
    """A user's permissions in the vhost."""

    ready = 3

    def __init__(self, vhost: Vhost) -> None:
        self._vhost = vhost

    def collector(self) -> Collector:
        return rabbitmq_collector("shop", self._vhost.server.url(self._vhost.name, "watched", "s3cret"), 0.2)

    async def grant(self) -> None:
        rights = {"configure": "^$", "write": "^$", "read": "^$"}
        await asyncio.to_thread(self._vhost.put, "users/watched", {"password": "s3cret", "tags": "monitoring"})
        await asyncio.to_thread(self._vhost.put, f"permissions/{self._vhost.name}/watched", rights)

    async def withdraw(self) -> None:
        await asyncio.to_thread(self._vhost.delete, f"permissions/{self._vhost.name}/watched")


@pytest.fixture
async def office(request: pytest.FixtureRequest, broker: str) -> Office:
    if broker == "kafka":
        return KafkaOffice(request.getfixturevalue("secured"))
    if broker == "nats":
        start: Callable[[str], NatsServer] = request.getfixturevalue("nats_process")
        server = start(users(NATS_RIGHTS))
        await shop_with_a_letter(server)
        return NatsOffice(server)
    if broker == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        async with redis_connection(redis) as client:
            await client.xgroup_create("orders.placed", "payment", id="0", mkstream=True)
            await redis_publish(client, "orders.placed", 4)
        return RedisOffice(redis)
    there: Vhost = request.getfixturevalue("vhost")
    there.queue("payment")
    async with there.channel() as channel:
        await rabbitmq_publish(channel, "payment", 3)
    return RabbitMqOffice(there)


def samples(seen: Sequence[Observation]) -> list[LagSample]:
    return [item for item in seen if isinstance(item, LagSample) and item.group == "payment"]


@pytest.mark.parametrize("broker", BROKERS)
async def test_what_may_no_longer_be_seen_is_said_and_not_taken_for_empty(office: Office) -> None:
    await office.grant()
    async with watched(office.collector()) as seen:
        await seen.until(lambda now: now.lag("payment").ready == office.ready, 40)
        first = len(seen.seen)  # before it RabbitMQ may have told numbers of before the messages came

        await office.withdraw()
        await seen.until(says_what_is_missing, 40)
        await asyncio.sleep(1)
        known = len(seen.seen)
        await asyncio.sleep(2)
        assert all(sample.ready is None for sample in samples(seen.seen[known:]))
        assert says_what_is_missing(seen)

        await office.grant()
        mark = len(seen.seen)
        await seen.until(lambda now: samples(now.seen[mark:]) and sees(now, office), 60)
    assert {sample.ready for sample in samples(seen.seen[first:])} <= {office.ready, None}


def says_what_is_missing(seen: Recorder) -> bool:
    """A right is named, by the last look or by why there is none."""
    words = ("grant", "permission", "allow", "access", "may not", "not granted")
    status: SourceStatus = seen.status
    return any(word in status.message for word in words) and (
        status.state != "ok" or "denied" in status.rights.values() or "not granted" in status.message
    )


def sees(seen: Recorder, office: Office) -> bool:
    return seen.status.state == "ok" and seen.lag("payment").ready == office.ready
