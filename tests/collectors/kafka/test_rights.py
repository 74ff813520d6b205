"""What a user without all rights sees, and what is said when nothing can be seen. Real SASL and ACLs."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from collectors.base import CollectorError
from collectors.kafka import collector
from collectors.kafka.address import Address
from eventflow.domain.observations import LagSample
from tests.collectors.kafka.shop import LETTER_HEADERS, Shop, lags
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.collectors.test_contract import running as running_again
from tests.services import KafkaServer, free_port

pytestmark = pytest.mark.kafka

SECURED = {
    "listeners": "SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
    "advertised.listeners": "SASL_PLAINTEXT://127.0.0.1:{port}",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
    "inter.broker.listener.name": "SASL_PLAINTEXT",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
        'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="s3cret" '
        'user_admin="s3cret" user_plain="pa:ss@word";'
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:admin;User:ANONYMOUS",
}
DESCRIBE = [
    (ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE),
    (ResourceType.TOPIC, "*", AclOperation.DESCRIBE),
    (ResourceType.GROUP, "*", AclOperation.DESCRIBE),
]


class Secured(Shop):
    """A cluster that asks who we are; the application is its administrator."""

    def __init__(self, server: KafkaServer) -> None:
        super().__init__(server)
        self.where |= {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "admin",
            "sasl.password": "s3cret",
        }
        self.admin = AdminClient(self.where)
        self.orders, self.letters = self.create("orders"), self.create("orders.dlq")
        self.publish(self.orders, 5)
        self.publish(self.letters, headers=LETTER_HEADERS)
        self.commit("payment", self.orders, 3)

    def grant(self, *rights: tuple[ResourceType, str, AclOperation], user: str = "eventflow") -> None:
        literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        bindings = [AclBinding(kind, name, literal, f"User:{user}", "*", right, allow) for kind, name, right in rights]
        for done in self.admin.create_acls(bindings).values():
            done.result(20)

    async def look(
        self,
        until: Callable[[Recorder], object] = one_cycle,
        user: str = "eventflow:s3cret",
        mechanism: str = "SCRAM-SHA-512",
    ) -> Recorder:
        url = f"kafka://{user}@{self.server.address}?mechanism={mechanism}"
        return await run_until(collector("shop", url, 0.1), until, seconds=30)


@pytest.fixture
def secured(kafka_process: Callable[..., KafkaServer]) -> Secured:
    return Secured(kafka_process(SECURED, scram=["SCRAM-SHA-512=[name=eventflow,password=s3cret]"]))


async def test_each_right_unlocks_what_it_says_and_what_is_missing_is_named(secured: Secured) -> None:
    nothing = await secured.look()
    assert lags(nothing, "payment") == {}
    assert "Describe on topics is not granted" in nothing.status.message
    assert nothing.status.rights["list all groups"] != "allowed"

    secured.grant(*DESCRIBE)
    described = await secured.look(
        lambda seen: lags(seen, "payment") and seen.status.rights["read messages"] == "denied"
    )
    assert lags(described, "payment")["orders", "0"].ready == 2
    assert described.letters == []
    assert described.status.rights == {
        "list topics": "allowed",
        "list all groups": "allowed",
        "describe groups": "unknown",  # no group has a member
        "read committed offsets": "allowed",
        "read topic settings": "denied",
        "read messages": "denied",
    }
    assert "grant Read" in described.status.message

    secured.grant((ResourceType.TOPIC, "*", AclOperation.DESCRIBE_CONFIGS))
    assert (await secured.look(lambda seen: seen.status)).status.rights["read topic settings"] == "allowed"

    secured.grant((ResourceType.TOPIC, "orders.dlq", AclOperation.READ))
    assert (await secured.look(lambda seen: seen.letters)).letters[0].location == "orders.dlq"

    secured.grant(*DESCRIBE, user="plain")
    plain = await secured.look(lambda seen: lags(seen, "payment"), "plain:pa%3Ass%40word", "PLAIN")
    assert lags(plain, "payment")["orders", "0"].ready == 2


async def test_wrong_credentials_stop_at_once_and_no_secret_is_told(
    secured: Secured, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CollectorError, match="refuses our credentials") as refused:
        await secured.look(user="eventflow:wr0ng-s3cret")
    assert refused.value.permanent
    said = caplog.text + "".join(capfd.readouterr()) + str(refused.value)
    assert "wr0ng-s3cret" not in said


async def test_a_closed_port_is_told_and_tried_again() -> None:
    with pytest.raises(CollectorError, match=r"can't reach Kafka at 127\.0\.0\.1") as away:
        await run_until(collector("shop", f"kafka://127.0.0.1:{free_port()}", 0.1), one_cycle)
    assert not away.value.permanent


async def test_a_broker_that_was_killed_and_came_back_is_seen_with_the_same_numbers(
    kafka_process: Callable[..., KafkaServer],
) -> None:
    server = kafka_process()
    shop = Shop(server)
    topic = shop.create("orders")
    letters = shop.create("orders.dlq")
    shop.publish(topic, 9)
    shop.publish(letters, 2, headers=LETTER_HEADERS)
    shop.commit("payment", topic, 4)
    watcher = collector("shop", server.url, 0.1)
    before = await run_until(watcher, lambda seen: len(seen.letters) == 2)
    looking = asyncio.create_task(watcher.run(Recorder()))
    await asyncio.sleep(1)
    server.kill()
    with pytest.raises(CollectorError) as lost:
        await asyncio.wait_for(looking, 30)
    assert not lost.value.permanent
    server.start()
    after = Recorder()
    async with running_again(watcher, after):
        await after.until(lambda seen: lags(seen, "payment"), 60)
    told = {sample.ready for seen in (before, after) for sample in seen.of(LagSample)}
    assert told == {5}
    assert after.letters == []  # the cursor survived


@pytest.mark.parametrize(
    ("url", "protocol", "user", "servers"),
    [
        ("kafka://host", "PLAINTEXT", None, ("host:9092",)),
        ("kafka://a:1,b:2", "PLAINTEXT", None, ("a:1", "b:2")),
        ("kafka+ssl://host:9093?ca=/etc/ca.pem", "SSL", None, ("host:9093",)),
        ("kafka://u:p%40ss@host:9092", "SASL_PLAINTEXT", "u", ("host:9092",)),
        ("kafka://u:p@host:9092?mechanism=scram-sha-256&tls=1", "SASL_SSL", "u", ("host:9092",)),
        (
            "kafka+ssl://id:secret@host:9092?mechanism=OAUTHBEARER&token_url=https://t/",
            "SASL_SSL",
            "id",
            ("host:9092",),
        ),
    ],
)
def test_a_url_says_brokers_tls_and_user(url: str, protocol: str, user: str | None, servers: tuple[str, ...]) -> None:
    found = Address.of(url)
    assert (found.protocol, found.user, found.servers) == (protocol, user, servers)
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://host:port",
        "kafka://user:s3cret@host:x",
        "kafka://user:s3cret@host?mechanism=GSSAPI",
        "kafka://host?mechanism=PLAIN",
        "kafka://user:s3cret@host?mechanism=OAUTHBEARER",
        "kafka://[user:s3cret@host",
    ],
)
def test_a_url_nobody_can_use_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(CollectorError) as refused:
        Address.of(url)
    assert refused.value.permanent
    assert "s3cret" not in str(refused.value)
