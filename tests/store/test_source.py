"""Sources as their collectors tell of them: where reading goes on after a restart."""

from datetime import timedelta

import pytest
from django.utils import timezone

from eventflow.domain.observations import SourceStatus
from eventflow.store.queries import sources
from eventflow.store.record import source

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def test_a_restarted_collector_goes_on_where_the_last_one_had_stored() -> None:
    source.record([SourceStatus("shop", "nats", "ok", NOW, cursors={"letters:DLQ": 41})], NOW)
    assert sources.cursors() == {"shop": {"letters:DLQ": 41}}


def test_a_source_that_went_blind_keeps_its_place() -> None:
    source.record([SourceStatus("shop", "nats", "ok", NOW, cursors={"letters:DLQ": 41})], NOW)
    source.record([SourceStatus("shop", "nats", "blind", NOW + timedelta(seconds=2), "gone")], NOW)
    assert sources.cursors() == {"shop": {"letters:DLQ": 41}}
