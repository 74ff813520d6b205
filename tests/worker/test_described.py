"""Brokers that people described, as the worker follows them."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async

from eventflow.domain.observations import SourceStatus
from eventflow.domain.source_setting import Setting
from eventflow.store import record
from eventflow.store.models import Source, SourceSetting
from eventflow.store.record import source_setting
from eventflow.worker import described
from tests import factories as make

pytestmark = pytest.mark.django_db(transaction=True)
SHOP = Setting("shop", "nats", "broker:4222", "me", "hunter2")


class Worker:
    """Looks as the supervisor does, and records what it is told."""

    def __init__(self) -> None:
        self.told: list[SourceStatus] = []
        self.described = described.Described(lambda: make.after(60), self.tell)

    async def tell(self, status: SourceStatus) -> None:
        self.told.append(status)
        await sync_to_async(record.observations)([status], make.after(60))

    async def look(self) -> dict[str, Any]:
        return dict(await self.described.wishes())


async def test_a_described_broker_is_wanted_and_goes_on_where_it_had_stored() -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    await Source.objects.acreate(name="shop", system="nats", cursors={"letters:DLQ": 41})
    wishes = await Worker().look()
    assert list(wishes) == ["shop"]
    collector = await wishes["shop"].make()
    assert (collector.name, collector.cursors) == ("shop", {"letters:DLQ": 0})


async def test_only_a_change_of_the_description_is_another_version() -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    worker = Worker()
    first, again = (await worker.look())["shop"].version, (await worker.look())["shop"].version
    changed = Setting("shop", "nats", "broker:4222", "me", "swordfish")
    await sync_to_async(source_setting.change)(changed, make.NOW, keep_password=False)
    assert first == again != (await worker.look())["shop"].version


async def test_a_paused_broker_is_not_wanted_and_says_so_once() -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    await sync_to_async(source_setting.pause)("shop", True, make.NOW)
    worker = Worker()
    assert (await worker.look(), await worker.look()) == ({}, {})
    assert [status.state for status in worker.told] == ["paused"]
    assert (await Source.objects.aget()).state == "paused"


async def test_a_removed_broker_is_dropped_one_look_later_when_its_collector_has_ended() -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    await Source.objects.acreate(name="shop", system="nats")
    await sync_to_async(source_setting.remove)("shop", make.NOW)
    worker = Worker()
    assert await worker.look() == {}
    assert await Source.objects.acount() == 1
    await worker.look()
    assert (await Source.objects.acount(), await SourceSetting.objects.acount()) == (0, 0)


async def test_a_broker_of_the_environment_goes_before_one_of_its_name(settings: Any) -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    settings.EVENTFLOW_SOURCES = ["shop=nats://env:4222"]
    assert await Worker().look() == {}
    found = await sync_to_async(described.configured)()
    assert [(source.name, source.url) for source in found] == [("shop", "nats://env:4222")]


async def test_a_removed_broker_whose_name_the_environment_took_goes_and_leaves_what_is_told(settings: Any) -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    await sync_to_async(source_setting.remove)("shop", make.NOW)
    await Source.objects.acreate(name="shop", system="nats")
    settings.EVENTFLOW_SOURCES = ["shop=nats://env:4222"]
    await Worker().look()
    assert (await Source.objects.acount(), await SourceSetting.objects.acount()) == (1, 0)


async def test_replays_reach_described_brokers_too() -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    found = await sync_to_async(described.configured)()
    assert [(source.name, source.url) for source in found] == [("shop", "nats://me:hunter2@broker:4222")]


async def test_a_password_that_no_key_opens_stops_its_broker_with_the_reason(settings: Any) -> None:
    await sync_to_async(source_setting.add)(SHOP, "ada", make.NOW)
    settings.SECRET_KEY = "another" * 8
    collector = await (await Worker().look())["shop"].make()
    with pytest.raises(Exception, match="type it again"):
        await collector.run(None)
