"""Trying a broker: what a person reads when it answers, when it refuses, when it is silent; on a real NATS."""

import asyncio
import contextlib
import json
from collections.abc import Callable

import pytest
from django.utils import timezone

import collectors
from eventflow.domain.connection import judge
from eventflow.domain.source_setting import Setting
from eventflow.store.models import ConnectionTest, ConsumerGroup, Source
from eventflow.store.record import connection_test
from eventflow.worker.connection_probe import Look, probe, watch
from eventflow.worker.tasks.sources import try_connections
from tests import factories as make
from tests.collectors.nats.test_rights import ALL, shop_with_a_letter, users
from tests.services import NatsServer, free_port

nats = pytest.mark.nats


@nats
async def test_a_broker_that_answers_tells_what_is_there_and_what_each_right_shows(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process(users(ALL))
    await shop_with_a_letter(server)
    seen = await probe("shop", server.url_as("eventflow", "s3cret"))
    verdict = judge(seen)
    assert (verdict.severity, verdict.headline) == ("ok", "Connected")
    assert (seen.groups, seen.letters, seen.dead_letter_destinations > 0, seen.calls > 0) == (1, 1, True, True)
    assert f"Reached 127.0.0.1:{server.port}" in [finding.text for finding in verdict.findings]


@nats
async def test_an_empty_broker_is_told_apart_from_one_where_nothing_may_be_seen(
    nats_process: Callable[..., NatsServer],
) -> None:
    empty = judge(await probe("shop", nats_process(users(ALL)).url_as("eventflow", "s3cret")))
    closed = judge(await probe("shop", nats_process(users([])).url_as("eventflow", "s3cret")))
    assert (empty.severity, "It is empty" in str(empty)) == ("ok", True)
    assert (closed.severity, "Nothing may be seen" in str(closed)) == ("crit", True)


@nats
async def test_a_wrong_password_and_a_wrong_port_say_so_without_the_password(
    nats_process: Callable[..., NatsServer],
) -> None:
    server = nats_process(users(ALL))
    password = judge(await probe("shop", server.url_as("eventflow", "hunter2")))
    port = judge(await probe("shop", f"nats://eventflow:hunter2@127.0.0.1:{free_port()}"))
    assert "refuses our credentials" in str(password)
    assert "connection refused" in str(port)
    assert "hunter2" not in str(password) + str(port)


async def test_a_silent_server_ends_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(5):
        seen = await probe("shop", f"nats://127.0.0.1:{port}", 0.3)
    assert judge(seen).severity == "crit"


async def test_a_kind_nobody_knows_is_said_and_not_raised() -> None:
    assert "no collector for mq://" in judge(await probe("shop", "mq://user:hunter2@host")).findings[0].text


def test_a_try_takes_no_letter_out_of_a_queue() -> None:
    url = "rabbitmq://u:p@h:15672/v?take=dlq.a+dlq.b&prometheus=15692"
    assert collectors.harmless(url) == "rabbitmq://u:p@h:15672/v?prometheus=15692"
    assert collectors.harmless("sqs://k:s@eu-central-1?take=*") == "sqs://k:s@eu-central-1"
    assert collectors.harmless("nats://u:p@h:1") == "nats://u:p@h:1"


@nats
@pytest.mark.django_db(transaction=True)
def test_the_task_tries_what_was_asked_and_stores_only_the_verdict(nats_server: str) -> None:
    address = nats_server.removeprefix("nats://")
    pk = connection_test.ask(Setting("shop", "nats", address), "ada", make.NOW)
    connection_test.ask(Setting("nothing", "", ""), "ada", make.after(1))
    ConnectionTest.objects.update(created_at=timezone.now())
    try_connections()
    row = ConnectionTest.objects.get(pk=pk)
    assert (row.state, row.result["headline"]) == ("done", "Connected")
    other = ConnectionTest.objects.exclude(pk=pk).get()
    assert "nothing is not configured" in json.dumps(other.result)
    assert not ConsumerGroup.objects.exists() and not Source.objects.exists()


async def test_a_library_that_swallows_a_cancellation_does_not_hold_the_worker() -> None:
    class Stubborn:
        name, system = "shop", "stubborn"

        async def run(self, emit: object) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

    async with asyncio.timeout(2):
        seen = await watch(Stubborn(), Look(), 0.05, patience=0.05)
    assert seen.timed_out
