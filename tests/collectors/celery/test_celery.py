"""Celery's queues, workers and failures, seen on a real Redis with a real worker."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

import collectors
from collectors.base import CollectorError
from collectors.celery import collector
from collectors.celery.address import Address
from eventflow.domain.observations import GroupMembers
from tests.collectors.celery.shop import Shop
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.redis_rabbitmq import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
def shop(redis_server: RedisServer, tmp_path: Path) -> Shop:
    return Shop(redis_server, tmp_path)


async def counted(shop: Shop, queue: str) -> int:
    """What lies in a queue's lists."""
    async with Redis(port=shop.server.port) as client:
        keys = [queue, *(f"{queue}\x06\x16{priority}" for priority in (3, 6, 9))]
        return sum([await client.llen(key) for key in keys])


async def test_the_depth_of_every_queue_is_what_lies_in_its_lists(shop: Shop) -> None:
    await asyncio.to_thread(shop.send, "shop.pay", 7)
    await asyncio.to_thread(shop.send, "shop.pay", 2, priority=9)
    await asyncio.to_thread(shop.send, "shop.mail", 3, queue="mail")
    found = await run_until(collector("shop", shop.url, 0.1), one_cycle)
    lag = found.lag("celery")
    assert lag.ready == 9 == await counted(shop, "celery")
    assert (lag.destination, lag.system, lag.method, lag.in_flight) == ("celery", "celery", "broker-exact", 0)
    assert found.lag("mail").ready == 3 == await counted(shop, "mail")
    assert (found.destination("mail").kind, found.destination("mail").messages) == ("queue", 3)
    assert found.status.rights["find queues"] == "allowed"


async def test_named_queues_are_looked_at_before_any_worker_or_sender_declared_them(shop: Shop) -> None:
    found = await run_until(collector("shop", f"{shop.url}?queues=mail", 0.1), one_cycle)
    assert found.lag("mail").ready == 0
    empty = await run_until(collector("shop", shop.url, 0.1), one_cycle)
    assert "No Celery queue is to be seen" in empty.status.message


async def test_a_failed_task_is_a_letter_with_its_name_arguments_exception_and_trace(shop: Shop) -> None:
    with shop.worker():
        watching = collector("shop", shop.url, 0.1)
        recorder = Recorder()
        task = asyncio.create_task(watching.run(recorder))
        try:
            await recorder.until(lambda seen: seen.status.counters["workers online"] == 1, 60)
            (declined,) = await asyncio.to_thread(shop.send, "shop.decline")
            await recorder.until(lambda seen: seen.letters, 30)
            (letter,) = recorder.letters
            assert letter.position.startswith(f"{declined}:")
            assert (letter.location, letter.destination, letter.group) == ("task-failed", "celery", "celery")
            assert (letter.event_type, letter.message_id, letter.correlation_id) == ("shop.decline", declined, declined)
            assert (letter.error_type, letter.attempts) == ("ValueError", 1)
            assert letter.error_message == "ValueError('card of order-0 declined')"
            assert letter.stack
            assert 'raise ValueError(f"card of {order} declined")' in letter.stack
            assert "order-0" in dict(letter.headers)["args"]
            assert letter.payload is None
            assert "can't be sent again" in (letter.payload_note or "")
            assert letter.failed_at
            assert abs(letter.failed_at - datetime.now(UTC)) < timedelta(minutes=1)

            (flaky,) = await asyncio.to_thread(shop.send, "shop.flaky")
            await recorder.until(lambda seen: len(seen.letters) == 2, 30)
            assert recorder.letters[1].message_id == flaky
            assert (recorder.letters[1].error_type, recorder.letters[1].attempts) == ("RuntimeError", 2)

            await asyncio.to_thread(shop.send, "shop.pay", 3)
            await recorder.until(lambda seen: seen.status.counters.get("tasks succeeded") == 3, 30)
            assert recorder.status.counters["tasks retried"] == 1
            assert recorder.status.counters["tasks failed"] == 2
            assert recorder.lag("celery").members == 1
            assert recorder.status.rights["hear events"] == "allowed"

            later = datetime.now(UTC) + timedelta(hours=1)
            await asyncio.to_thread(shop.send, "shop.pay", 2, eta=later)
            await recorder.until(lambda seen: seen.status.counters["tasks waiting for their time"] == 2, 30)
            # Neither waiting for a worker nor in the works, but there.
            await recorder.until(
                lambda seen: (
                    (seen.lag("celery").ready, seen.lag("celery").in_flight) == (0, 0)
                    and seen.destination("celery").messages == 2
                )
            )
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_came_in_and_what_ended_is_counted_with_failures_and_retries(shop: Shop) -> None:
    with shop.worker("--hostname", "till@shop-1"):
        recorder = Recorder()
        task = asyncio.create_task(collector("shop", f"{shop.url}?queues=celery", 0.1).run(recorder))
        try:
            await recorder.until(lambda seen: seen.status.counters["workers online"] == 1, 60)
            assert recorder.lag("celery").settled_total is None  # not known, and not zero, before events tell
            await asyncio.to_thread(shop.send, "shop.pay", 5)
            await asyncio.to_thread(shop.send, "shop.flaky", 2)
            await recorder.until(lambda seen: seen.lag("celery").settled_total == 9, 40)
            lag = recorder.lag("celery")
            # Each flaky one is published a second time, and fetched and ended twice.
            assert (lag.published_total, lag.delivered_total, lag.settled_total) == (9, 9, 9)

            def readers(seen: Recorder) -> GroupMembers:
                return [one for one in seen.of(GroupMembers) if one.group == "celery"][-1]

            await recorder.until(lambda seen: dict(readers(seen).told)["failed"] == "2", 30)
            assert dict(readers(recorder).told) == {"waiting for their time": "0", "failed": "2", "tried again": "2"}
            (worker,) = readers(recorder).members or ()
            assert (worker.id, worker.host) == ("till@shop-1", "shop-1")
            assert worker.active_at
            assert abs(datetime.now(UTC) - worker.active_at) < timedelta(seconds=30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_failure_that_could_not_be_stored_is_told_by_the_next_run(shop: Shop) -> None:
    watching = collector("shop", shop.url, 0.1)

    def refuse(batch: object) -> None:
        if "DeadLetter" in str(batch):
            raise OSError("disk I/O error")

    body = b'{"body": "{\\"type\\": \\"task-failed\\", \\"uuid\\": \\"t1\\", \\"exception\\": \\"KeyError(1)\\"}"}'
    task = asyncio.create_task(watching.run(Recorder(refuse)))
    async with asyncio.timeout(10):
        await watching.listening.wait()
    async with Redis(port=shop.server.port) as client:
        assert await client.publish("/0.celeryev/task.failed", body) == 1
    with pytest.raises(OSError, match="disk"):
        await task
    found = await run_until(watching, lambda seen: seen.letters)
    assert found.letters[0].error_type == "KeyError"


async def test_listening_leaves_no_key_behind_and_no_subscriber(shop: Shop) -> None:
    async with Redis(port=shop.server.port) as client:
        await asyncio.to_thread(shop.send, "shop.pay")
        before = sorted(await client.keys())
        watching = collector("shop", shop.url, 0.1)
        task = asyncio.create_task(watching.run(Recorder()))
        async with asyncio.timeout(10):
            await watching.listening.wait()
        assert sorted(await client.keys()) == before
        assert await client.pubsub_numpat() == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(5):
            while await client.pubsub_numpat():
                await asyncio.sleep(0.02)
        assert sorted(await client.keys()) == before


async def test_what_is_not_allowed_is_named_and_the_rest_is_seen(
    redis_process: Callable[..., RedisServer], tmp_path: Path
) -> None:
    shop = Shop(redis_process(), tmp_path)
    await asyncio.to_thread(shop.send, "shop.pay", 2)
    async with Redis(port=shop.server.port) as client:
        await client.execute_command(
            "ACL", "SETUSER", "looker", "on", ">s3cret", "~*", "resetchannels", "+ping", "+llen", "+hlen",
            "+hscan",
        )  # fmt: skip
    url = shop.url.replace("://", "://looker:s3cret@")
    seen = Recorder()
    with pytest.raises(CollectorError, match=r"can't find queues: allow \+scan") as error:
        await collector("shop", url, 0.1).run(seen)
    assert "s3cret" not in str(error.value)
    assert seen.status.state == "blind"
    found = await run_until(
        collector("shop", f"{url}?queues=celery", 0.1), lambda r: r.status.rights["hear events"] == "denied"
    )
    assert found.lag("celery").ready == 2
    assert "allow +psubscribe on the channels /0.celeryev*" in found.status.message


async def test_a_wrong_password_stops_and_a_closed_port_does_not(shop: Shop) -> None:
    with pytest.raises(CollectorError, match="refuses our credentials") as error:
        await collector("shop", shop.url.replace("://", "://nobody:wrong@"), 0.1).run(Recorder())
    assert error.value.permanent
    shop.server.kill()
    with pytest.raises(CollectorError, match="can't reach Redis at 127") as error:
        await collector("shop", shop.url, 0.1).run(Recorder())
    assert not error.value.permanent


def test_a_url_is_taken_apart_and_never_repeated_in_an_error() -> None:
    found = Address.of("celery+rediss://me:p%40ss@h:7000/3?queues=a+b&ca=/x.pem")
    assert (found.host, found.port, found.database, found.user, found.password) == ("h", 7000, 3, "me", "p@ss")
    assert (found.tls, found.ca_file, found.queues, found.shown) == (True, "/x.pem", ("a", "b"), "h:7000")
    for url in ("celery+redis://", "celery+redis://u:s3cret@h:x/0", "celery+redis://u:s3cret@h/first"):
        with pytest.raises(CollectorError) as error:
            Address.of(url)
        assert error.value.permanent
        assert "s3cret" not in str(error.value)


def test_the_scheme_is_registered_without_a_replayer() -> None:
    assert collectors.from_url("shop", "celery+redis://h").system == "celery"
    assert collectors.replayer("shop", "celery+redis://h") is None
