"""Brokers that people describe: their passwords at rest, and what a change leaves behind."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from eventflow.domain.observations import SourceStatus
from eventflow.domain.source_setting import Setting
from eventflow.store import sealed
from eventflow.store.models import ConnectionTest, ConsumerGroup, DeadLetter, Source, SourceSetting
from eventflow.store.queries import source_setting as queries
from eventflow.store.record import connection_test, source, source_setting
from tests import factories as make

pytestmark = pytest.mark.django_db
NOW = timezone.now()
SHOP = Setting("shop", "nats", "broker:4222", "me", "hunter2")


def test_a_password_is_sealed_at_rest_and_opened_for_the_worker() -> None:
    source_setting.add(SHOP, "ada", NOW)
    assert "hunter2" not in str(SourceSetting.objects.values().get())
    assert [row.setting for row in queries.wanted()] == [SHOP]
    assert sealed.seal("hunter2") != sealed.seal("hunter2")


def test_a_new_secret_key_opens_what_an_older_one_sealed_and_seals_it_anew(settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "old" * 20, []
    source_setting.add(SHOP, "ada", NOW)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, ["old" * 20]
    assert source_setting.reseal() == 0
    settings.SECRET_KEY_FALLBACKS = []
    assert queries.wanted()[0].setting == SHOP


def test_of_two_people_who_take_one_name_at_once_the_first_one_has_it() -> None:
    assert source_setting.add(SHOP, "ada", NOW)
    assert not source_setting.add(Setting("shop", "nats", "other:4222"), "bob", NOW)
    assert queries.wanted()[0].setting == SHOP


def test_a_lost_secret_key_is_told_and_breaks_nothing_else(settings: Any) -> None:
    source_setting.add(SHOP, "ada", NOW)
    settings.SECRET_KEY = "another" * 8
    assert source_setting.reseal() == 1
    assert [(row.name, row.setting) for row in queries.wanted()] == [("shop", None)]


def test_a_change_keeps_the_password_unless_another_is_given_and_names_the_changed_fields() -> None:
    source_setting.add(SHOP, "ada", NOW)
    moved = Setting("shop", "nats", "broker:4222", "somebody")
    assert source_setting.change(moved, NOW, keep_password=True) == ["user"]
    assert queries.wanted()[0].setting == Setting("shop", "nats", "broker:4222", "somebody", "hunter2")
    assert source_setting.change(moved, NOW, keep_password=False) == ["password"]
    assert queries.wanted()[0].setting == moved


def test_another_address_is_read_from_the_beginning() -> None:
    source_setting.add(SHOP, "ada", NOW)
    source.record([SourceStatus("shop", "nats", "ok", NOW, cursors={"letters:DLQ": 41})], NOW)
    source_setting.change(Setting("shop", "nats", "other:4222"), NOW, keep_password=False)
    assert Source.objects.get().cursors == {}


def test_a_removed_broker_loses_its_password_at_once_and_its_row_when_it_was_let_go() -> None:
    source_setting.add(SHOP, "ada", NOW)
    assert source_setting.remove("shop", NOW)
    assert SourceSetting.objects.get().sealed_password == ""
    assert queries.setting("shop") is None and queries.name_is_taken("shop")
    source_setting.gone("shop")
    assert not queries.name_is_taken("shop")


def test_what_a_removed_broker_told_goes_and_its_letters_stay() -> None:
    source.record([SourceStatus("shop", "nats", "ok", NOW)], NOW)
    make.consumer_group("email")
    make.letter()
    source.drop("shop")
    assert (Source.objects.count(), ConsumerGroup.objects.count(), DeadLetter.objects.count()) == (0, 0, 1)


def test_a_paused_source_says_so_of_its_groups() -> None:
    source.record([SourceStatus("shop", "nats", "ok", NOW)], NOW)
    make.consumer_group("email", status="ok")
    source.record([SourceStatus("shop", "nats", "paused", NOW + timedelta(seconds=1))], NOW)
    group = ConsumerGroup.objects.get()
    assert (group.status, group.status_reason) == ("unknown", "shop is paused")


def test_a_test_is_run_once_and_its_password_goes_with_its_end() -> None:
    pk = connection_test.ask(SHOP, "ada", NOW)
    assert "hunter2" not in str(ConnectionTest.objects.values().get())
    assert connection_test.claim(NOW) == (pk, SHOP)
    assert connection_test.claim(NOW) is None
    connection_test.finish(pk, {"severity": "ok"}, NOW)
    assert ConnectionTest.objects.get().sealed_password == ""


def test_a_test_that_nobody_runs_ends_and_says_so() -> None:
    pk = connection_test.ask(SHOP, "ada", NOW)
    assert connection_test.claim(NOW + timedelta(minutes=3)) is None
    found = queries.connection_test(pk)
    assert found is not None and found.result["headline"] == "Not tried"
    assert ConnectionTest.objects.get().sealed_password == ""
