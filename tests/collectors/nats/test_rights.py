"""What a user without all rights sees, and what is said when nothing can be seen."""

import logging
from collections.abc import Callable

import pytest

from collectors.base import CollectorError
from collectors.nats import collector
from collectors.nats.address import Address
from eventflow.domain.observations import LagSample
from tests.collectors.nats.shop import LETTER_HEADERS, connection, consumer
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.services import NatsServer

pytestmark = pytest.mark.nats

USERS = """
authorization {{ users: [
  {{ user: admin, password: s3cret }}
  {{ user: eventflow, password: s3cret, permissions: {{
    publish: {{ allow: [{publish}] }}
    subscribe: {{ allow: [{subscribe}] }}
  }} }}
] }}
"""
ALL = ["STREAM.LIST", "STREAM.INFO.*", "CONSUMER.LIST.*", "STREAM.MSG.GET.*"]


def users(api: list[str], subscribe: tuple[str, ...] = ("_INBOX.>", "$JS.EVENT.ADVISORY.>")) -> str:
    return USERS.format(
        publish=", ".join(f'"$JS.API.{call}"' for call in api) or '"nothing"',
        subscribe=", ".join(f'"{subject}"' for subject in subscribe),
    )


async def shop_with_a_letter(server: NatsServer) -> None:
    async with connection(server.url_as("admin", "s3cret")) as (_, js):
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        await js.add_stream(name="DLQ", subjects=["dlq.>"])
        await consumer(js, "ORDERS", "payment", "orders.placed")
        await js.publish("orders.placed", b"{}")
        await js.publish("dlq.payment", b"{}", headers=LETTER_HEADERS)


async def look(server: NatsServer) -> Recorder:
    return await run_until(collector("shop", server.url_as("eventflow", "s3cret"), 0.1), one_cycle)


async def test_four_read_rights_show_everything(nats_process: Callable[..., NatsServer]) -> None:
    server = nats_process(users(ALL))
    await shop_with_a_letter(server)
    found = await look(server)
    assert found.lag("payment").oldest_at is not None
    assert len(found.letters) == 1
    assert set(found.status.rights.values()) == {"allowed"}
    assert (found.status.calls > 4, found.status.received_bytes > 500, found.status.cycle_seconds > 0) == (True,) * 3


async def test_not_being_allowed_to_read_messages_leaves_counts_and_says_what_is_missing(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process(users(ALL[:3]))
    await shop_with_a_letter(server)
    found = await look(server)
    lag = found.lag("payment")
    assert (lag.ready, lag.oldest_at, found.letters) == (1, None, [])
    assert found.status.rights["read messages"] == "denied"
    assert "$JS.API.STREAM.MSG.GET.*" in found.status.message


async def test_not_being_allowed_to_list_consumers_is_told_apart_from_there_being_none(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process(users(["STREAM.LIST", "STREAM.INFO.*", "STREAM.MSG.GET.*"]))
    await shop_with_a_letter(server)
    found = await look(server)
    assert found.of(LagSample) == []
    assert found.status.rights["list consumers"] == "denied"
    assert "consumers can't be seen" in found.status.message
    assert found.destination("orders.placed").messages == 1


async def test_an_empty_server_is_empty_and_not_forbidden(nats_server: str) -> None:
    found = await run_until(collector("shop", nats_server, 0.1), one_cycle)
    assert (found.status.state, found.status.rights["list streams"]) == ("ok", "allowed")
    assert found.status.rights["read messages"] == "allowed"


async def test_not_being_allowed_to_list_streams_is_blind_with_the_right_that_is_missing(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process(users(["STREAM.MSG.GET.*"]))
    recorder = Recorder()
    with pytest.raises(CollectorError, match=r"\$JS\.API\.STREAM\.LIST") as blind:
        await collector("shop", server.url_as("eventflow", "s3cret"), 0.1).run(recorder)
    assert not blind.value.permanent
    assert (recorder.status.state, recorder.status.rights["list streams"]) == ("blind", "denied")


async def test_not_being_allowed_to_receive_answers_is_said_at_once(nats_process: Callable[..., NatsServer]) -> None:
    server = nats_process(users(ALL, subscribe=("nothing",)))
    with pytest.raises(CollectorError, match=r"_INBOX\.>"):
        await collector("shop", server.url_as("eventflow", "s3cret"), 0.1).run(Recorder())


async def test_not_being_allowed_to_hear_advisories_is_said(nats_process: Callable[..., NatsServer]) -> None:
    server = nats_process(users(ALL, subscribe=("_INBOX.>",)))
    await shop_with_a_letter(server)
    found = await look(server)
    assert found.status.rights["hear advisories"] == "denied"
    assert "$JS.EVENT.ADVISORY.CONSUMER.>" in found.status.message


async def test_wrong_credentials_stop_for_good_and_are_in_no_message_and_no_log(
    nats_process: Callable[..., NatsServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = nats_process(users(ALL))
    with caplog.at_level(logging.DEBUG), pytest.raises(CollectorError, match="refuses our credentials") as refused:
        await collector("shop", server.url_as("eventflow", "hunter2"), 0.1).run(Recorder())
    assert refused.value.permanent
    assert "hunter2" not in str(refused.value) + repr(refused.value.__context__) + caplog.text


async def test_a_server_without_jetstream_says_what_to_do(nats_process: Callable[..., NatsServer]) -> None:
    server = nats_process(jetstream=False)
    with pytest.raises(CollectorError, match="nats-server with -js") as off:
        await collector("shop", server.url, 0.1).run(Recorder())
    assert not off.value.permanent


async def test_nobody_listening_is_an_error_within_a_second() -> None:
    with pytest.raises(CollectorError, match="connection refused"):
        await collector("shop", "nats://127.0.0.1:1", 0.1).run(Recorder())


@pytest.mark.parametrize("url", ["nats://", "nats://user:hunter2@", "nats://host:port", "nats://[::1"])
def test_a_url_that_names_no_host_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(CollectorError) as refused:
        Address.of(url)
    assert refused.value.permanent
    assert "hunter2" not in str(refused.value)


def test_an_address_shows_hosts_and_hides_everything_else() -> None:
    found = Address.of("tls+nats://us%40er:p%2Fw@a.example,b.example:4333?domain=hub&inbox_prefix=_INBOX_ef")
    assert found.servers == ("tls://a.example:4222", "tls://b.example:4333")
    assert found.shown == "a.example:4222,b.example:4333"
    assert (found.user, found.password, found.token) == ("us@er", "p/w", None)
    assert (found.api, found.inbox) == ("$JS.hub.API", "_INBOX_ef")
    assert Address.of("nats://t0ken@host").token == "t0ken"
