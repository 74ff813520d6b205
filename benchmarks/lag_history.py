"""What the history of lag costs: bytes kept, the packing of it, pages and back-tests that read it; in CPU seconds.

python -m benchmarks.lag_history [--groups 1000] [--rounds 5]
"""

# ruff: noqa: PLC0415  # Eventflow's settings read the folder that `_installed` makes
import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import child
from benchmarks.figures import Figure, table

if TYPE_CHECKING:
    from eventflow.domain.alert import Rule
    from eventflow.store.lag_pack import Lags

DAYS = 7
SAMPLED_DAYS = 3
SAMPLED_GROUPS = 200
"""Samples of so many: the rest only takes longer to make."""
LATE = 10
"""Each tenth group is late now and then."""
RATE = 20
POLL_SECONDS = 5


def measure(groups: int = 1000, rounds: int = 5) -> list[Figure]:
    """In a process of its own."""
    return child.figures("benchmarks.lag_history", "--groups", str(groups), "--rounds", str(rounds))


def _cpu(work: Callable[[], object], rounds: int = 1) -> float:
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return median(taken)


def _lags(number: int, start: int, end: int, every: int) -> "Lags":
    """A third caught up, a third with some lag, a third with waves of it; traffic as it falls, not even."""
    from eventflow.domain.lag import RANK, LagStatus
    from eventflow.store.lag_pack import COLUMNS, TENTHS, Lags

    chance = np.random.default_rng(number)
    at = np.arange(start, end, every, dtype=np.int64)
    published = 1_000_000 + np.cumsum(chance.poisson(RATE * every, len(at))).astype(np.float64)
    kind = number % 3
    if kind == 0:
        ready = np.zeros(len(at))
    elif kind == 1:
        ready = chance.poisson(20, len(at)).astype(np.float64)
    else:
        ready = np.maximum(0, 400 * np.sin(at / (600 + number)) + chance.normal(0, 20, len(at))).round()
    if number % LATE == 0:
        ready = ready + np.where((at // 3600 + number) % 31 == 0, 9000 + chance.integers(0, 50, len(at)), 0)
    flying = np.where(ready > 0, chance.integers(0, 3, len(at)), 0).astype(np.float64)
    jitter = chance.integers(-2, 3, len(at)) if every < 60 else 0
    status = np.where(ready > 1000, RANK[LagStatus.SLOW], np.where(ready > 0, RANK[LagStatus.OK], RANK[LagStatus.IDLE]))
    unknown = np.full(len(at), np.nan)
    columns = {
        "ready": ready,
        "low": np.maximum(0, ready - (chance.integers(0, 9, len(at)) if every == 60 else 0)),
        "in_flight": flying,
        "age_seconds": ready / RATE,
        "published_total": published,
        "delivered_total": published - ready,
        "settled_total": published - ready - flying,
        "status": status.astype(np.float64),
    }
    return Lags(at * TENTHS + jitter, {name: columns.get(name, unknown) for name in COLUMNS})


def _pack(pk: int, number: int, seconds: int, start: int, end: int) -> "list[tuple[int, int, int, bytes, bytes]]":
    from eventflow.store.lag_hours import summed
    from eventflow.store.lag_pack import MINUTE, SPAN, packed

    rows, span = [], SPAN[seconds]
    for begin in range(start // span * span, end, span):
        lags = _lags(number, max(begin, start), min(begin + span, end), seconds)
        if len(lags):
            rows.append((pk, seconds, begin, packed(lags), summed(lags, begin) if seconds == MINUTE else b""))
    return rows


def _run(groups: int, rounds: int) -> list[tuple[str, float, str, float | None, float | None]]:
    child.django()
    from eventflow.store.lag_pack import MINUTE, SAMPLE
    from eventflow.store.models import ConsumerGroup, LagPack
    from eventflow.store.record.lag_history import PACK
    from eventflow.store.spans.rows import insert

    now = datetime.now(UTC)
    end = int((now - timedelta(hours=1)).timestamp()) // 900 * 900
    first = now - timedelta(days=DAYS)
    ConsumerGroup.objects.bulk_create(
        ConsumerGroup(
            source="bench", system="kafka", destination=f"o.{number % 100}", name=f"group-{number}", seen_at=now
        )
        for number in range(groups)
    )
    ConsumerGroup.objects.update(first_seen_at=first)
    pks = list(ConsumerGroup.objects.order_by("pk").values_list("pk", flat=True))
    sizes: dict[int, tuple[int, int]] = {}
    for seconds, days, some in ((MINUTE, DAYS, groups), (SAMPLE, SAMPLED_DAYS, min(groups, SAMPLED_GROUPS))):
        begin, stored = end - days * 86_400, 0
        for number in range(some):
            rows = _pack(pks[number], number, seconds, begin, end)
            stored += sum(len(body) + len(hours) for *_, body, hours in rows)
            insert(LagPack, PACK, rows)
        sizes[seconds] = (stored, some * (end - begin) // seconds)
    return [
        ("lag history: bytes a sample each 15 s", sizes[SAMPLE][0] / sizes[SAMPLE][1], "bytes", 8, 5),
        ("lag history: bytes a minute", sizes[MINUTE][0] / sizes[MINUTE][1], "bytes", 8, 5),
        (f"lag history: {groups} groups, 3 days and 100 days", _megabytes(groups, sizes), "MB", 1000, 600),
        *_packing(groups, pks, end, now),
        *_pages(groups, pks, rounds),
        *_backtests(groups, now, rounds),
    ]  # fmt: skip


def _megabytes(groups: int, sizes: dict[int, tuple[int, int]]) -> float:
    from eventflow.store.lag_pack import MINUTE, SAMPLE

    return sum(
        groups * days * 86_400 / seconds * sizes[seconds][0] / sizes[seconds][1] / 1e6
        for seconds, days in ((SAMPLE, 3), (MINUTE, 100))
    )


def _packing(groups: int, pks: list[int], end: int, now: datetime) -> list[tuple[str, float, str, float, float]]:
    """A quarter of an hour of rows, each 5 s, and the minutes written of them."""
    from eventflow.store.models import LagPoint
    from eventflow.store.record import lag_history
    from eventflow.store.record.lag import POINT
    from eventflow.store.spans.rows import insert, instant

    later = now + timedelta(seconds=900)
    for number, pk in enumerate(pks):
        rows = [
            (pk, 0, instant(datetime.fromtimestamp(end + second, UTC)), number % 7, 1, 0.5, *[second] * 3, 1, None, 0.0)
            for second in range(0, 900, POLL_SECONDS)
        ]  # fmt: skip
        insert(LagPoint, POINT, rows)
    minutes = _cpu(lambda: lag_history.compact(later))
    packed = _cpu(lambda: lag_history.pack(later))
    assert not LagPoint.objects.filter(at__lt=datetime.fromtimestamp(end + 900, UTC)).exists()
    return [
        (f"lag history: 15 min of {groups} groups each {POLL_SECONDS} s, minutes written", minutes, "CPU s", 6, 3),
        ("lag history: the same, packed", packed, "CPU s", 9, 5),
    ]  # fmt: skip


def _pages(groups: int, pks: list[int], rounds: int) -> list[tuple[str, float, str, float, float]]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(get_user_model().objects.create_superuser("bench"))

    def get(url: str) -> float:
        client.get(url)
        return _cpu(lambda: client.get(url), rounds)

    group = f"/lag/groups/{pks[2]}/"
    return [
        (f"lag history: page of {groups} groups, 24 h", get("/lag/?range=24h"), "CPU s", 0.2, 0.1),
        (f"lag history: page of {groups} groups, 7 days", get("/lag/?range=7d"), "CPU s", 0.2, 0.1),
        ("lag history: page of a group with 24 h each 15 s", get(f"{group}?range=24h"), "CPU s", 0.2, 0.1),
        ("lag history: its chart of messages", get(f"{group}charts/messages/?range=24h"), "CPU s", 0.2, 0.1),
        ("lag history: its chart of rates", get(f"{group}charts/rates/?range=24h"), "CPU s", 0.2, 0.1),
        ("lag history: its chart of 7 days", get(f"{group}charts/messages/?range=7d"), "CPU s", 0.2, 0.1),
    ]


def _backtests(groups: int, now: datetime, rounds: int) -> list[tuple[str, float, str, float, float]]:
    from eventflow.domain.alert import Kind, Rule
    from eventflow.store.queries import alert_history

    def tried(rule: "Rule") -> tuple[float, str]:
        found = alert_history.backtest(rule, now)
        told = f"fires {len(found.fired)} times, {found.left} of {groups} groups left out"
        return _cpu(lambda: alert_history.backtest(rule, now), max(1, rounds // 2)), told

    late, late_told = tried(Rule(0, "late", Kind.LAG, "*", seconds=300.0))
    most, most_told = tried(Rule(0, "always", Kind.LAG, "*", seconds=0.2, for_seconds=0, recover_seconds=0))
    points = groups * DAYS * 1440
    return [
        (f"lag history: a rule on * tried on {points:,} minutes, {late_told}", late, "CPU s", 2.0, 1.0),
        (f"lag history: one that most groups break, {most_told}", most, "CPU s", 4.0, 2.0),
    ]


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--groups", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=5)
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
