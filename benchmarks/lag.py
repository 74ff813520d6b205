"""What lag costs: many groups recorded, their table and page, one group's page with a day of samples; in CPU seconds.

python -m benchmarks.lag [--groups 1000] [--rounds 9]
"""

# ruff: noqa: PLC0415  # Eventflow's settings read the folder that `_installed` makes
import argparse
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import child
from benchmarks.figures import Figure, table

if TYPE_CHECKING:
    from eventflow.domain.lag import Window
    from eventflow.domain.observations import LagSample

HISTORY_SECONDS = 300
POLL = 2.0
STORED_SECONDS = 6.0
DAY_SECONDS, SAMPLE_SECONDS = 86_400, 15


def measure(groups: int = 1000, rounds: int = 7) -> list[Figure]:
    """In a process of its own."""
    return child.figures("benchmarks.lag", "--groups", str(groups), "--rounds", str(rounds))


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _samples(groups: int, at: datetime, second: float, chance: random.Random) -> "list[LagSample]":
    """A third caught up, a third with some lag, a third falling behind."""
    from eventflow.domain.observations import LagSample

    found = []
    for number in range(groups):
        kind = number % 3
        ready = (0, chance.randrange(40), int(second * 3) + chance.randrange(5))[kind]
        published = int(10_000 + second * 20)
        found.append(
            LagSample(
                source="bench",
                system="nats",
                destination=f"orders.{number % 100}",
                group=f"group-{number}",
                at=at,
                ready=ready,
                in_flight=chance.randrange(3) if ready else 0,
                oldest_at=at - timedelta(seconds=ready / 20) if ready else None,
                published_total=published,
                delivered_total=published - ready,
                settled_total=published - ready,
                members=1,
                method="broker-exact",
            )
        )
    return found


def _run(groups: int, rounds: int) -> list[tuple[str, float, str, float, float]]:
    child.django()
    from eventflow.store.models import ConsumerGroup
    from eventflow.store.queries import lag as queries
    from eventflow.store.record import lag

    chance = random.Random(1)
    start = datetime.now(UTC) - timedelta(seconds=HISTORY_SECONDS + 2 * rounds * POLL)
    seconds = [step * POLL for step in range(int(HISTORY_SECONDS / POLL))]
    last = start + timedelta(seconds=seconds[-1])
    lag.record(_samples(groups, start, 0, chance), start)
    windows = _history(start, seconds, groups, chance)
    restarted = _cpu(lambda: lag.remember(list(ConsumerGroup.objects.all())))
    for pk, window in windows.items():
        lag._memories[pk].window = window
    recorded = []
    for step in range(1, 2 * rounds):
        now = last + timedelta(seconds=step * POLL)
        batch = _samples(groups, now, seconds[-1] + step * POLL, chance)
        recorded.append(_cpu(lambda batch=batch, now=now: lag.record(batch, now)))  # type: ignore[misc]
    read = [_cpu(lambda: queries.groups(now)) for _ in range(rounds)]
    page = _page(rounds)
    return [
        (f"lag: {groups} groups recorded", median(recorded), "CPU s", 0.3, 0.2),
        (f"lag: {groups} groups recorded, slowest", max(recorded), "CPU s", 0.6, 0.4),
        (f"lag: {groups} windows read after a start", restarted, "CPU s", 5.0, 2.0),
        (f"lag: table of {groups} groups read", median(read), "CPU s", 0.2, 0.1),
        (f"lag: page of {groups} groups", median(page), "CPU s", 0.2, 0.1),
        *_group_page(rounds),
    ]


def _history(start: datetime, seconds: list[float], groups: int, chance: random.Random) -> "dict[int, Window]":
    """What minutes of polling leave behind, without polling: points in the table. Returns the windows."""
    from eventflow.domain import lag as engine
    from eventflow.store.models import ConsumerGroup, LagPoint
    from eventflow.store.record import lag

    pks = dict(ConsumerGroup.objects.values_list("name", "pk"))
    points = []
    windows: dict[int, engine.Window] = {}
    for second in seconds:
        at = start + timedelta(seconds=second)
        for sample in _samples(groups, at, second, chance):
            known = sample.ready, sample.in_flight, None, sample.published_total, sample.delivered_total
            look = engine.LagPoint(at, *known, sample.settled_total)
            windows.setdefault(pks[sample.group], engine.Window()).add(look)
            if second % STORED_SECONDS == 0:
                points.append(
                    LagPoint(
                        group_id=pks[sample.group],
                        at=at,
                        ready=look.ready,
                        in_flight=look.in_flight,
                        published_total=look.published,
                        delivered_total=look.delivered,
                        settled_total=look.settled,
                    )
                )
    LagPoint.objects.bulk_create(points, ignore_conflicts=True, batch_size=1000)
    ConsumerGroup.objects.update(seen_at=at, first_seen_at=start)
    lag._memories.clear()
    return windows


def _page(rounds: int) -> list[float]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(get_user_model().objects.create_superuser("bench"))
    taken = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        answer = client.get("/lag/")
        taken.append(time.process_time() - begun)
        assert answer.status_code == 200, answer.status_code
    return taken[1:]


def _group_page(rounds: int) -> list[tuple[str, float, str, float, float]]:
    """One group with a day of samples each 15 s and 24 partitions: its page, and the chart that costs most."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from eventflow.store.models import ConsumerGroup, LagPoint, PartitionMinute, Rebalance
    from eventflow.store.record import lag_history

    now = datetime.now(UTC)
    members = [{"id": f"m-{n}", "client": f"payment-{n}", "host": "", "partitions": [str(n)]} for n in range(6)]
    group = ConsumerGroup.objects.create(
        source="bench", system="kafka", destination="orders", name="a day", seen_at=now, members=6,
        assignment={"members": members, "told": [], "note": "", "at": now.isoformat()},
    )  # fmt: skip
    ConsumerGroup.objects.filter(pk=group.pk).update(first_seen_at=now - timedelta(days=1))
    points, minutes = [], []
    for number in range(DAY_SECONDS // SAMPLE_SECONDS):
        at = now - timedelta(seconds=number * SAMPLE_SECONDS)
        ready = number * 7919 % 1000
        points.append(LagPoint(group=group, at=at, ready=ready, age_seconds=ready / 9, published_total=90_000 - number))
    LagPoint.objects.bulk_create(points, batch_size=1000)
    for number in range(DAY_SECONDS // 60):
        at = now.replace(second=0, microsecond=0) - timedelta(minutes=number)
        parts = {str(n): [number * (n + 1) % 977, number % 977] for n in range(24)}
        minutes.append(PartitionMinute(group=group, at=at, partitions=parts))
    PartitionMinute.objects.bulk_create(minutes, batch_size=1000)
    Rebalance.objects.bulk_create(
        [Rebalance(group=group, at=now - timedelta(hours=n), members=6, moved=n) for n in range(24)]
    )
    lag_history.compact(now)
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(get_user_model().objects.get(username="bench"))
    page, chart = f"/lag/groups/{group.pk}/?range=24h", f"/lag/groups/{group.pk}/charts/messages/?range=24h"
    taken: dict[str, list[float]] = {page: [], chart: []}
    for url, times in taken.items():
        for _ in range(rounds + 1):
            begun = time.process_time()
            answer = client.get(url)
            times.append(time.process_time() - begun)
            assert answer.status_code == 200, answer.status_code
    return [
        ("lag: page of a group with 24 h each 15 s, 24 partitions", median(taken[page][1:]), "CPU s", 0.2, 0.1),
        ("lag: its chart", median(taken[chart][1:]), "CPU s", 0.2, 0.1),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--groups", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    wanted = options.parse_args()
    if wanted.child:
        child.tell(
            Figure(name, value, unit, must=must, aim=aim)
            for name, value, unit, must, aim in _run(wanted.groups, wanted.rounds)
        )
    else:
        print(table(measure(wanted.groups, wanted.rounds)))


if __name__ == "__main__":
    main()
