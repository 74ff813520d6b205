"""A group's inside: its partitions by the minute, its members and its rebalances."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from eventflow.domain.observations import GroupMember, GroupMembers
from eventflow.store.models import ConsumerGroup, PartitionMinute, Rebalance
from eventflow.store.queries import lag_group
from eventflow.store.record import lag_history, observations, partitions
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_other_tests_minutes() -> None:
    """Groups of other tests had the same ids at the same minute."""
    partitions._minutes.clear()


HOUR = timedelta(hours=1)


def look(second: float, *ready: int | None) -> None:
    """One look at a group's partitions."""
    at = make.after(second)
    parts = [make.lag_sample(at=at, ready=each, partition=str(number)) for number, each in enumerate(ready)]
    observations(parts, at)


def there(second: float, **reads: str) -> None:
    """Members by name, each with its partitions of orders and one of another topic."""
    destination = ConsumerGroup.objects.get().destination
    members = tuple(
        GroupMember(f"{name}-id", name, "10.0.0.1", (("other", "0"), *((destination, n) for n in numbers)))
        for name, numbers in reads.items()
    )
    observations([GroupMembers("shop", "nats", "email", make.after(second), members)], make.after(second))


def inside() -> lag_group.Inside:
    return lag_group.inside(ConsumerGroup.objects.get().pk, make.NOW - HOUR, make.after(120))


def members() -> tuple[lag_group.MemberRow, ...]:
    readers = inside().readers
    assert readers is not None and readers.members is not None
    return readers.members


def test_each_minute_keeps_its_worst_and_its_last_by_partition() -> None:
    for second, ready in ((0, 5), (10, 90), (20, 7), (60, 1)):
        look(second, ready, None, 3)
    first, second = PartitionMinute.objects.order_by("at")
    assert first.partitions == {"0": [90, 7], "1": [None, None], "2": [3, 3]}
    assert second.partitions == {"0": [1, 1], "1": [None, None], "2": [3, 3]}
    rows = {row.partition: row for row in inside().rows}
    assert (rows["0"].worst, rows["0"].now, rows["1"].now, len(rows["0"].cells)) == (90, 1, None, lag_group.COLUMNS)


def test_a_group_with_one_partition_keeps_no_minutes() -> None:
    look(0, 5)
    assert not PartitionMinute.objects.exists()
    assert (inside().rows, inside().readers, inside().rebalances) == ((), None, ())


def test_members_are_shown_with_what_waits_on_their_partitions() -> None:
    look(0, 5, 2, 40)
    there(1, a="02", b="1")
    assert [(member.client, member.partitions, member.ready) for member in members()] == [
        ("a", ("0", "2"), 45),
        ("b", ("1",), 2),
    ]


def test_who_was_there_first_is_no_rebalance_and_every_change_is_one() -> None:
    look(0, 1, 1, 1)
    there(1, a="012")
    there(31, a="012")
    assert not Rebalance.objects.exists()
    there(61, a="01", b="2")
    there(61, a="01", b="2")
    there(91)
    newest, first = inside().rebalances
    assert (first.joined, first.left, first.members, first.moved) == (("b",), (), 2, 1)
    assert (newest.joined, newest.left, newest.members, newest.moved) == ((), ("a", "b"), 0, 3)
    assert members() == ()


def test_very_many_minutes_are_read_with_few_queries() -> None:
    look(0, 1, 1)
    group = ConsumerGroup.objects.get()
    minutes = [
        PartitionMinute(group=group, at=make.NOW - n * timedelta(minutes=1), partitions={"0": [n, n]})
        for n in range(1, 99)
    ]
    PartitionMinute.objects.bulk_create(minutes)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        lag_group.inside(group.pk, make.NOW - timedelta(hours=24), make.NOW)
    assert len(asked) == 3


def test_old_minutes_and_old_rebalances_go() -> None:
    look(0, 1, 1)
    there(1, a="0")
    there(2, b="0")
    lag_history.prune(make.NOW + timedelta(hours=49), 24 * 14, 3, 90)
    assert (PartitionMinute.objects.count(), Rebalance.objects.count()) == (0, 1)
    lag_history.prune(make.NOW + timedelta(hours=24 * 15), 24 * 14, 3, 90)
    assert Rebalance.objects.count() == 0


def test_what_members_hold_and_when_they_were_heard_of_is_no_rebalance() -> None:
    look(0, 5)
    for second, held in ((1, 3), (11, 4)):
        one = GroupMember("c1", in_flight=held, active_at=make.after(second), told=(("prefetch", "7\0"),))
        observations([GroupMembers("shop", "nats", "email", make.after(second), (one,))], make.after(second))
    (member,) = members()
    assert (member.in_flight, member.active_at, member.told) == (4, make.after(11), (("prefetch", "7�"),))
    assert not Rebalance.objects.exists()
    readers = inside().readers
    assert readers is not None
    assert (readers.since, readers.counted_at, readers.by_partition) == (make.after(1), make.after(11), False)


def test_members_of_one_destination_are_not_those_of_another_with_the_groups_name() -> None:
    look(0, 5)
    destination = ConsumerGroup.objects.get().destination
    for name, where in (("here", destination), ("there", "elsewhere")):
        told = GroupMembers("shop", "nats", "email", make.after(1), (GroupMember(name),), destination=where)
        observations([told], make.after(1))
    assert [member.id for member in members()] == ["here"]


def test_a_broker_that_names_no_reader_says_so_and_what_it_knows() -> None:
    look(0, 5)
    told = GroupMembers("shop", "nats", "email", make.after(1), None, told=(("pulls waiting", "2"),), note="Not told.")
    observations([told], make.after(1))
    readers = inside().readers
    assert readers is not None
    assert (readers.members, readers.told, readers.note) == (None, (("pulls waiting", "2"),), "Not told.")
