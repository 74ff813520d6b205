"""Sources as their collectors tell of them: where reading goes on after a restart."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.signals import post_init
from django.utils import timezone

from eventflow.domain.observations import SourceStatus
from eventflow.store.models import Source
from eventflow.store.queries import lag, sources
from eventflow.store.record import source
from tests import factories as make

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def test_a_restarted_collector_goes_on_where_the_last_one_had_stored() -> None:
    source.record([SourceStatus("shop", "nats", "ok", NOW, cursors={"letters:DLQ": 41})], NOW)
    assert sources.cursors() == {"shop": {"letters:DLQ": 41}}


def test_a_source_that_went_blind_keeps_its_place() -> None:
    source.record([SourceStatus("shop", "nats", "ok", NOW, cursors={"letters:DLQ": 41})], NOW)
    source.record([SourceStatus("shop", "nats", "blind", NOW + timedelta(seconds=2), "gone")], NOW)
    assert sources.cursors() == {"shop": {"letters:DLQ": 41}}


def test_a_new_source_of_which_two_tell_at_one_moment_is_recorded_once() -> None:
    def told_by_another(**_: object) -> None:
        post_init.disconnect(told_by_another, sender=Source)
        source.record([SourceStatus("shop", "nats", "blind", NOW)], NOW)

    # A row is made when none was found, and before it is stored.
    post_init.connect(told_by_another, sender=Source)
    source.record([SourceStatus("shop", "nats", "ok", NOW)], NOW)
    assert Source.objects.get().state == "ok"


def look(seconds: float, **given: Any) -> SourceStatus:
    values = {"calls": 3, "received_bytes": 100, "cycle_seconds": 0.25}
    return SourceStatus("shop", "nats", "ok", make.after(seconds), **{**values, **given})


def test_what_looks_cost_is_summed_by_the_minute_for_an_hour() -> None:
    for second in (0, 10, 60, 4000):
        source.record([look(second)], make.after(second))
    minute = int(make.NOW.timestamp()) // 60
    assert [entry[1:] for entry in Source.objects.get().costs] == [[1, 3, 100, 0.25]]
    source.record([look(4001)], make.after(4001))
    assert Source.objects.get().costs == [[minute + 66, 2, 6, 200, 0.5]]


def test_a_receiver_costs_nobody_anything() -> None:
    source.record([look(0, cycle_seconds=0.0)], make.NOW)
    assert Source.objects.get().costs == []


def test_a_source_that_is_left_alone_for_longer_keeps_its_groups_in_sight() -> None:
    make.consumer_group("email", seen_at=make.NOW, status="ok")
    source.record([look(0, pause_seconds=60.0)], make.NOW)
    (row,) = lag.groups(make.after(100))
    assert row.status == "ok"
    source.record([look(101)], make.after(101))
    (row,) = lag.groups(make.after(102))
    assert (row.status, row.reason) == ("unknown", "no sample came any more")
