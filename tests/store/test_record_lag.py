"""Recording what brokers tell of lag."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain.lag import BY_RANK
from eventflow.domain.observations import DestinationSample, SourceStatus
from eventflow.store.models import ConsumerGroup, Destination, LagPoint, Source
from eventflow.store.queries import lag as queries
from eventflow.store.record import lag, lag_history, observations
from tests import factories as make

pytestmark = pytest.mark.django_db


def feed(seconds: int, every: int = 2, group: str = "email", **changing: int) -> ConsumerGroup:
    """Samples of one group: ready, and counters that grow by so much per second."""
    for second in range(0, seconds, every):
        counters = {name: rate * second for name, rate in changing.items()}
        at = make.after(second)
        lag.record([make.lag_sample(group, at, ready=counters.pop("ready", 0), age=second / 2, **counters)], at)
    return ConsumerGroup.objects.get(name=group)


def test_a_group_is_kept_with_its_rates_and_verdict() -> None:
    row = feed(120, ready=3, published_total=5, settled_total=2)
    assert (row.in_rate, row.out_rate) == (pytest.approx(5), pytest.approx(2))
    assert (row.status, row.trend, row.drain_seconds) == ("slow", 1, None)
    assert row.oldest_at is not None and row.seen_at - row.oldest_at == timedelta(seconds=59)


def test_recording_twice_changes_nothing_and_is_no_news() -> None:
    sample = make.lag_sample(ready=5, age=3)
    assert lag.record([sample], make.NOW)
    assert lag.record([sample], make.NOW) == set()
    assert LagPoint.objects.count() == 1


def test_a_sample_that_comes_late_does_not_set_a_group_back_even_after_a_restart() -> None:
    lag.record([make.lag_sample(ready=5, age=3)], make.NOW)
    lag.record([make.lag_sample(at=make.after(2), ready=6, age=3)], make.after(2))
    lag._memories.clear()
    assert lag.record([make.lag_sample(at=make.after(1), ready=7, age=3)], make.after(4)) == set()
    assert ConsumerGroup.objects.get().ready == 6


def test_a_service_that_spans_named_survives_the_next_sample() -> None:
    lag.record([make.lag_sample()], make.NOW)
    ConsumerGroup.objects.update(service="email-service")
    lag.record([make.lag_sample(at=make.after(2), ready=4)], make.after(2))
    assert ConsumerGroup.objects.get().service == "email-service"


def test_partitions_are_summed_and_one_unknown_part_makes_the_sum_unknown() -> None:
    parts = [make.lag_sample(ready=3, age=9, partition="0"), make.lag_sample(ready=4, age=30, partition="1")]
    lag.record(parts, make.NOW)
    row = ConsumerGroup.objects.get()
    assert row.ready == 7 and row.oldest_at == make.after(-30)
    at = make.after(2)
    lag.record([make.lag_sample(at=at, ready=3, partition="0"), make.lag_sample(at=at, ready=None, partition="1")], at)
    assert ConsumerGroup.objects.get().ready is None


def test_points_are_thinned_to_one_in_five_seconds_unless_lag_jumps() -> None:
    feed(60)
    assert LagPoint.objects.count() <= 12
    at = make.after(59)
    lag.record([make.lag_sample(at=at, ready=900)], at)
    assert LagPoint.objects.filter(ready=900).exists()


def test_a_restart_goes_on_from_the_stored_history() -> None:
    before = feed(120, ready=3, published_total=5, settled_total=2)
    lag._memories.clear()
    at = make.after(120)
    lag.record([make.lag_sample(at=at, ready=360, age=60, published_total=600, settled_total=240)], at)
    after = ConsumerGroup.objects.get()
    assert (after.status, after.trend) == (before.status, before.trend)
    assert after.in_rate == pytest.approx(5)


def test_twenty_groups_cost_no_more_queries_than_ten() -> None:
    def cost(groups: int, second: int) -> int:
        at = make.after(second)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            lag.record([make.lag_sample(f"g{number}", at, ready=number) for number in range(groups)], at)
        return len(captured)

    assert cost(20, 0) == cost(10, 10) + 2
    assert cost(20, 20) == cost(10, 30)


def test_a_blind_source_takes_its_groups_verdicts_with_it() -> None:
    lag.record([make.lag_sample()], make.NOW)
    observations([SourceStatus("shop", "nats", "ok", make.NOW)], make.NOW)
    news = observations([SourceStatus("shop", "nats", "blind", make.after(5), "connection refused")], make.after(5))
    row = ConsumerGroup.objects.get()
    assert (row.status, row.status_reason) == ("unknown", "cannot see shop: connection refused")
    assert Source.objects.get().ok_at == make.NOW and "sources" in news and "lag" in news
    lag.record([make.lag_sample(at=make.after(9))], make.after(9))
    assert ConsumerGroup.objects.get().status != "unknown"


def test_a_group_without_samples_is_shown_as_unknown() -> None:
    lag.record([make.lag_sample(ready=5, age=3)], make.NOW)
    row = queries.groups(make.after(120))[0]
    assert (row.status, row.reason) == ("unknown", "no sample came any more")


def test_destinations_are_kept_and_are_news_only_when_they_change_their_part() -> None:
    sample = DestinationSample("shop", "nats", "dlq.payment", "subject", make.NOW, messages=3, container="DLQ")
    assert observations([sample], make.NOW) == {"topology"}
    later = DestinationSample("shop", "nats", "dlq.payment", "subject", make.after(2), messages=4, container="DLQ")
    assert observations([later], make.NOW) == set()
    assert Destination.objects.get().messages == 4


def test_minutes_keep_the_worst() -> None:
    feed(180, ready=1)
    now = make.after(190)
    lag_history.compact(now)
    assert lag_history.compact(now) >= 0
    minutes = LagPoint.objects.filter(resolution_seconds=60).order_by("at")
    assert minutes.count() == 3 and minutes[1].ready is not None and minutes[1].ready >= 100


def test_the_table_costs_the_same_for_twenty_groups_as_for_ten() -> None:
    def cost(groups: int) -> int:
        ConsumerGroup.objects.all().delete()
        lag.record([make.lag_sample(f"g{number}", ready=1) for number in range(groups)], make.NOW)
        with CaptureQueriesContext(connection) as captured:
            assert len(queries.with_sparks(queries.groups(make.NOW), 3600, make.NOW)) == groups
        return len(captured)

    assert cost(20) == cost(10) <= 4


def test_a_sparkline_is_the_worst_of_each_bucket_and_begins_when_the_group_was_first_seen() -> None:
    row = feed(1)
    LagPoint.objects.all().delete()
    ConsumerGroup.objects.update(first_seen_at=make.NOW)
    for second, ready in ((0, 1), (60, 4), (61, 9), (65, 2), (179, 7)):
        LagPoint.objects.create(group=row, at=make.after(second + 0.5), ready=ready)
    shown = queries.with_sparks(queries.groups(make.after(180)), 3600, make.after(180))[0].spark
    assert [value for value in shown if value is not None] == [1, 9, 2, 7]
    assert shown[0] == 1 and shown[20] == 9 and shown[59] == 7


def test_a_groups_series_has_the_rates_between_its_points() -> None:
    row = feed(120, ready=3, published_total=5, settled_total=2)
    detail = queries.group(row.pk, make.NOW, make.after(120), make.after(120))
    assert detail is not None and len(detail.series) >= 20
    newest = detail.series.newest(1)[0]
    assert (newest.in_rate, newest.out_rate) == (pytest.approx(5), pytest.approx(2))
    assert queries.group(row.pk + 1, make.NOW, make.NOW, make.NOW) is None


def test_one_partition_that_nears_the_end_of_what_is_kept_is_a_risk_whatever_the_others_hold() -> None:
    calm = make.lag_sample(ready=10, age=3, partition="0")
    parts = [
        calm._replace(retained=10_000, lost=0),
        calm._replace(partition="1", ready=900, retained=1_000, lost=0),
    ]
    lag.record(parts, make.NOW)
    row = ConsumerGroup.objects.get()
    assert (row.status, row.status_reason) == ("retention_risk", "90 % of what is kept still waits")


def test_what_is_reported_once_a_minute_is_not_out_of_sight_in_between() -> None:
    lag.record([make.lag_sample(ready=5, age=3)._replace(source="otlp prod", method="reported")], make.NOW)
    assert queries.groups(make.after(70))[0].status != "unknown"
    assert queries.groups(make.after(200))[0].status == "unknown"


def test_the_history_keeps_the_verdict_and_the_worst_of_each_minute() -> None:
    parts = [
        make.lag_sample(ready=ready, partition=str(n), retained=1000, lost=0) for n, ready in enumerate((5, 5, 5, 800))
    ]
    lag.record(parts, make.NOW)
    row, point = ConsumerGroup.objects.get(), LagPoint.objects.get()
    assert (row.skew, row.kept_share) == (98.2, 80.0)
    assert (BY_RANK[point.status], point.skew, point.kept_share) == (row.status, row.skew, row.kept_share)
    lag_history.compact(make.after(120))
    minute = LagPoint.objects.get(resolution_seconds=60)
    assert (minute.status, minute.skew, minute.kept_share) == (point.status, point.skew, point.kept_share)


def test_what_waits_from_the_future_has_no_age_instead_of_none_at_all() -> None:
    for second in range(0, 120, 2):
        at = make.after(second)
        lag.record([make.lag_sample(at=at, ready=7, age=-3600, published_total=70, settled_total=63)], at)
    row = ConsumerGroup.objects.get()
    assert (row.ready, row.oldest_at, row.method) == (7, None, "broker-exact")
    assert LagPoint.objects.filter(age_seconds__isnull=False).count() == 0


def test_a_work_queue_is_never_near_its_end() -> None:
    stream = {"source": "shop", "system": "nats", "destination": "JOBS", "kind": "stream"}
    observations([DestinationSample(**stream, at=make.NOW, messages=9, published_total=99)], make.NOW)
    lag.record([make.lag_sample("logs", destination="JOBS", ready=9)], make.NOW)
    lag.record([make.lag_sample("worker", destination="JOBS", ready=9, lost=0)], make.NOW)
    assert dict(ConsumerGroup.objects.values_list("name", "kept_share")) == {"logs": 100.0, "worker": None}


def test_very_many_groups_are_recorded_at_once() -> None:
    lag.record([make.lag_sample(f"g{number}", ready=number) for number in range(70)], make.NOW)
    assert LagPoint.objects.count() == 70
