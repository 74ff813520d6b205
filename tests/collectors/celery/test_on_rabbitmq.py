"""The same on a real RabbitMQ: depth, workers and failures; and that nothing of ours is left in the vhost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from collectors.base import CollectorError
from collectors.celery import collector
from tests.collectors.celery.shop import Shop
from tests.collectors.leaks import cancelled_at, nothing_left_open
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.recorder import Recorder, one_cycle, run_until
from tests.redis_rabbitmq import RabbitMqServer

pytestmark = pytest.mark.rabbitmq


class OnRabbitMq(Shop):
    """The shop with a vhost of its own."""

    def __init__(self, vhost: Vhost, folder: Path) -> None:
        self.vhost = vhost
        self.folder = folder
        self.broker = vhost.server.amqp(vhost.name)
        self.url = f"celery+{self.broker}"


@pytest.fixture
def shop(rabbitmq_process: RabbitMqServer, tmp_path: Path) -> Iterator[OnRabbitMq]:
    with Vhost(rabbitmq_process, f"test-{uuid4().hex[:10]}") as vhost:
        yield OnRabbitMq(vhost, tmp_path)


async def test_the_depth_of_the_queues_that_are_there_is_told(shop: OnRabbitMq) -> None:
    await asyncio.to_thread(shop.send, "shop.pay", 7)
    await asyncio.to_thread(shop.send, "shop.mail", 3, queue="mail")
    found = await run_until(collector("shop", f"{shop.url}?queues=celery+mail+nowhere", 0.1), one_cycle)
    assert (found.lag("celery").ready, found.lag("mail").ready, found.lag("mail").members) == (7, 3, 0)
    assert {item.group for item in found.of(type(found.lag("mail")))} == {"celery", "mail"}


async def test_a_failed_task_is_a_letter_and_nothing_of_ours_is_left(shop: OnRabbitMq) -> None:
    with shop.worker():
        recorder = Recorder()
        watching = collector("shop", shop.url, 0.2)
        task = asyncio.create_task(watching.run(recorder))
        try:
            await recorder.until(lambda seen: seen.status.counters["workers online"] == 1, 90)
            (declined,) = await asyncio.to_thread(shop.send, "shop.decline")
            await recorder.until(lambda seen: seen.letters, 30)
            assert recorder.letters[0].message_id == declined
            assert (recorder.letters[0].error_type, recorder.letters[0].destination) == ("ValueError", "celery")
            await recorder.until(lambda seen: seen.lag("celery").members == 1, 30)
            assert recorder.status.rights["hear events"] == "allowed"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(30):
            while [row for row in shop.vhost.get(f"queues/{shop.vhost.name}") if "eventflow" in row["name"]]:
                await asyncio.sleep(0.2)


async def test_it_leaves_nothing_open_wherever_it_is_cancelled(shop: OnRabbitMq) -> None:
    await asyncio.to_thread(shop.send, "shop.pay", 2)
    for step in range(1, 25):
        with nothing_left_open():
            assert await cancelled_at(collector("shop", shop.url, 0.1).run(Recorder()), step, step + 2)
            await asyncio.sleep(0.01)


async def test_a_wrong_password_stops_and_is_not_repeated(shop: OnRabbitMq) -> None:
    with pytest.raises(CollectorError, match="refuses our credentials") as error:
        await collector("shop", shop.url.replace("guest:guest", "guest:wr0ng"), 0.1).run(Recorder())
    assert error.value.permanent
    assert "wr0ng" not in str(error.value)
