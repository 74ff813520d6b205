"""A broker as a person describes it: what may be written, and the URL that the collectors read out of it."""

from importlib import import_module
from typing import Any

import pytest

import collectors
from collectors.kafka.address import Address as KafkaAddress
from collectors.nats.address import Address as NatsAddress
from collectors.rabbitmq.address import Address as RabbitAddress
from collectors.redis_streams.address import Address as RedisAddress
from collectors.sqs.address import Address as SqsAddress
from eventflow.domain.connection import UNLOCKS, Seen, judge
from eventflow.domain.source_setting import KINDS, Setting, problems

NASTY = "p@ss:w/o?r#d &=%"


def setting(**given: Any) -> Setting:
    values = {"name": "shop", "scheme": "nats", "address": "broker.internal:4222"}
    return Setting(**{**values, **given})


def test_whatever_the_collectors_know_can_be_described() -> None:
    assert set(KINDS) >= set(collectors.SCHEMES)
    assert all(not problems(setting(scheme=kind.scheme, address=kind.example)) for kind in KINDS.values())


def test_user_and_password_arrive_whatever_characters_they_hold() -> None:
    nats = NatsAddress.of(setting(user="me@x", password=NASTY).url)
    assert (nats.user, nats.password, nats.shown) == ("me@x", NASTY, "broker.internal:4222")
    assert NatsAddress.of(setting(password=NASTY).url).token == NASTY
    redis = RedisAddress.of(setting(scheme="rediss-streams", address="r:6379/2", password=NASTY).url)
    assert (redis.user, redis.password, redis.database, redis.tls) == (None, NASTY, 2, True)
    rabbit = RabbitAddress.of(
        setting(scheme="rabbitmq", address="r:15672/my-shop", user="u", password=NASTY, options="take=dlq.a+dlq.b").url
    )
    assert (rabbit.user, rabbit.password, rabbit.vhost, rabbit.take) == ("u", NASTY, "my-shop", ("dlq.a", "dlq.b"))
    kafka_address = KafkaAddress.of(
        setting(
            scheme="kafka+ssl", address="a:9093,b:9093", user="u", password=NASTY, options="mechanism=SCRAM-SHA-512"
        ).url
    )
    assert (kafka_address.servers, kafka_address.mechanism) == (("a:9093", "b:9093"), "SCRAM-SHA-512")
    assert kafka_address.password == NASTY
    sqs = SqsAddress.of(
        setting(scheme="sqs", address="eu-central-1/shop-", user="K", password=NASTY, options="queues=a+b").url
    )
    assert (sqs.region, sqs.prefix, sqs.key, sqs.secret, sqs.queues) == (
        "eu-central-1",
        "shop-",
        "K",
        NASTY,
        ("a", "b"),
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "otlp"}, "name"),
        ({"scheme": "file"}, "scheme"),
        ({"scheme": "http"}, "scheme"),
        ({"address": ""}, "address"),
        ({"address": "nats://host:4222"}, "address"),
        ({"address": "me:hunter2@host:4222"}, "address"),
        ({"address": "host:99999"}, "address"),
        ({"address": "host:4222/path"}, "address"),
        ({"address": "host:4222?x=y"}, "address"),
        ({"address": "169.254.169.254:80"}, "address"),
        ({"address": "[fd00:ec2::254]:80"}, "address"),
        ({"scheme": "rabbitmq", "address": "a:1,b:2"}, "address"),
        ({"scheme": "rabbitmq", "address": "a:1/../x y"}, "address"),
        ({"user": "a\nb"}, "user"),
        ({"password": "a\r\nb"}, "password"),
        ({"options": "nonsense"}, "options"),
        ({"options": "take=x"}, "options"),
        ({"options": "domain=x#y"}, "options"),
        ({"scheme": "kafka", "options": "token_url=http://169.254.169.254/latest"}, "options"),
        ({"scheme": "kafka", "options": "token_url=file:///etc/passwd"}, "options"),
        ({"scheme": "kafka", "options": "token_url=https://me:hunter2@host"}, "options"),
        ({"scheme": "sqs", "address": "eu-central-1", "options": "endpoint=http://[fd00:ec2::254]"}, "options"),
        ({"scheme": "sqs", "address": "eu-central-1", "options": "token=abc"}, "options"),
    ],
)
def test_what_cannot_be_a_broker_says_which_field_is_wrong(change: dict[str, str], field: str) -> None:
    found = problems(setting(**change))
    assert list(found) == [field]
    assert "hunter2" not in str(found)


def test_a_further_server_may_be_named() -> None:
    given = "mechanism=OAUTHBEARER&token_url=https://login.example/oauth?x=1"
    assert problems(setting(scheme="kafka+ssl", options=given)) == {}


@pytest.mark.parametrize("address", ["10.0.0.7:4222", "[::1]:4222", "localhost", "a:4222,b:4222"])
def test_brokers_live_in_private_networks(address: str) -> None:
    assert problems(setting(address=address)) == {}


def test_a_password_is_in_no_repr() -> None:
    assert NASTY not in repr(setting(password=NASTY))


def test_every_right_that_a_collector_names_says_what_it_unlocks() -> None:
    modules = [import_module(f"{package}.collector") for package in set(collectors.SCHEMES.values())]
    rights = ("LIST", "CONSUMERS", "READ", "ADVISORIES", "TOPICS", "GROUPS", "MEMBERS", "COMMITS", "ROUTES", "METRICS")
    named = {getattr(module, right) for module in modules for right in (*rights, "PENDING") if hasattr(module, right)}
    assert len(named) >= 14
    assert named <= set(UNLOCKS)


@pytest.mark.parametrize(
    ("listing", "said"),
    [("allowed", "It is empty"), ("denied", "Nothing may be seen"), ("unknown", "Nothing was seen")],
)
def test_empty_is_told_apart_from_not_allowed(listing: str, said: str) -> None:
    verdict = judge(Seen(rights=(("list streams", listing),), told=True, address="h:1"))
    assert said in [finding.text for finding in verdict.findings]


def test_a_missing_right_is_a_warning_that_says_what_it_would_show() -> None:
    rights = (("list streams", "allowed"), ("read messages", "denied"))
    verdict = judge(Seen(rights=rights, destinations=3, groups=1, told=True))
    assert (verdict.severity, verdict.headline) == ("warn", "Connected, 1 right missing")
    assert "not allowed; it would show dead letters" in verdict.findings[-1].hint


def test_an_error_before_anything_was_told_is_all_there_is_to_say() -> None:
    verdict = judge(Seen(error="can't reach NATS at h:1: connection refused"))
    assert (verdict.severity, [finding.severity for finding in verdict.findings]) == ("crit", ["crit"])
