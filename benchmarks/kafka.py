"""What one look at a Kafka cluster costs us, storing included: CPU, time and requests of a cycle, on a real broker.

Every group has a member, and on every partition something waits, and moves on: see `kafka_members`.

python -m benchmarks.kafka [--partitions 1000] [--groups 100] [--cycles 10]     (the long form: --partitions 10000)
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks import child, kafka_members
from benchmarks.figures import Figure, table
from collectors.kafka import collector
from demo import kafka
from eventflow.domain.observations import GroupMembers, LagSample, Observation, SourceStatus
from tests.services import KafkaServer

A_TOPIC = 100
"""Partitions of each topic."""
COMMITTED, WAITING = 2, 10
SECONDS = 2.0
"""Between two looks, as Eventflow itself starts with."""
FIRST_LOOKS = 6
"""Then every topic was peeked at once, and every member told: what a running Eventflow has behind it."""
KMINIONS = 0.3
"""Seconds of the broker's CPU that a scrape of KMinion took at the least, and of its own at the most."""


def measure(partitions: int = 1000, groups: int = 100, cycles: int = 10) -> list[Figure]:
    """In a process of its own. Nothing where no Kafka can be had."""
    words = ("--partitions", str(partitions), "--groups", str(groups), "--cycles", str(cycles))
    return child.figures("benchmarks.kafka", *words)


def _run(partitions: int, groups: int, cycles: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="eventflow-kafka-") as folder:
        server = KafkaServer(Path(folder), {"log.index.size.max.bytes": "16384"}, heap="2g")
        try:
            server.start()
        except kafka.MissingError as error:
            print(f"Kafka is left out: {error}")
            return []
        try:
            _prepare(server, partitions, groups)
            with _members(server, partitions, groups):
                return asyncio.run(_look(server, partitions, groups, cycles))
        finally:
            server.kill()


def _prepare(server: KafkaServer, partitions: int, groups: int) -> None:
    """Each group reads one topic and is some messages behind on every partition."""
    where = {"bootstrap.servers": server.address, "log_level": 0}
    admin, topics = AdminClient(where), [f"topic-{number:03}" for number in range(partitions // A_TOPIC)]
    for first in range(0, len(topics), 10):
        made = admin.create_topics([NewTopic(t, A_TOPIC, 1) for t in topics[first : first + 10]], request_timeout=120)
        for done in made.values():
            done.result(180)
    producer = Producer({**where, "linger.ms": 50})
    for topic in topics:
        for number in range(A_TOPIC):
            for _ in range(COMMITTED + WAITING):
                producer.produce(topic, b"{}", partition=number)
        producer.flush(60)
    for number in range(groups):
        topic = topics[number % len(topics)]
        group = f"group-{number:03}"
        at = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, n, COMMITTED) for n in range(A_TOPIC)])
        while any(p.error for p in admin.alter_consumer_group_offsets([at])[group].result(60).topic_partitions):
            time.sleep(0.5)


@contextmanager
def _members(server: KafkaServer, partitions: int, groups: int) -> Iterator[None]:
    words = (server.address, str(groups), str(partitions), str(COMMITTED))
    running = subprocess.Popen(
        [sys.executable, "-m", kafka_members.__name__, *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        yield
    finally:
        running.kill()
        running.communicate()


def _broker_seconds(server: KafkaServer) -> float:
    """CPU that the broker has used so far."""
    user, system = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def _look(server: KafkaServer, partitions: int, groups: int, cycles: int) -> list[Figure]:
    cpu: list[float] = []
    wall: list[float] = []
    calls: list[int] = []
    members: set[str] = set()
    samples = 0
    used = time.process_time()
    storing = 0.0
    stored: list[float] = []
    done = asyncio.Event()
    from eventflow.store import record  # noqa: PLC0415  # Django is set up by now

    def keep(batch: Sequence[Observation]) -> float:
        begun = time.thread_time()
        record.observations(batch, datetime.now(UTC))
        return time.thread_time() - begun

    async def emit(batch: Sequence[Observation]) -> None:
        nonlocal used, samples, storing
        storing += await loop.run_in_executor(recorder, keep, batch)
        lags = [item for item in batch if isinstance(item, LagSample)]
        # While the members are at it, some partitions have one record more and some one less.
        assert all(sample.ready in range(WAITING - 1, WAITING + 3) for sample in lags), "lag is not what it must be"
        samples = len(lags) or samples
        members.update(item.group for item in batch if isinstance(item, GroupMembers) and len(item.members) == 1)
        if isinstance(status := batch[-1], SourceStatus):
            cpu.append(time.process_time() - used)
            stored.append(storing)
            storing = 0.0
            wall.append(status.cycle_seconds)
            calls.append(status.calls)
            if len(cpu) == FIRST_LOOKS:
                brokers.append(_broker_seconds(server))
            if len(cpu) == FIRST_LOOKS + cycles:
                brokers.append(_broker_seconds(server))
                done.set()
            used = time.process_time()

    brokers = [_broker_seconds(server)]
    await asyncio.sleep(cycles * SECONDS)
    alone = _broker_seconds(server) - brokers.pop()
    used = time.process_time()
    loop, recorder = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    looking = asyncio.create_task(collector("bench", server.url, SECONDS).run(emit))
    waiting = asyncio.create_task(done.wait())
    await asyncio.wait({looking, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if looking.done():
        looking.result()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert samples == groups * A_TOPIC, (samples, groups)
    assert len(members) == groups, f"the members of {len(members)} groups were told"
    what = f"Kafka, {partitions} partitions, {groups} groups"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure(f"{what}: CPU of a cycle, storing included", median(cpu[FIRST_LOOKS:]), "s", must=0.3, aim=0.2),
        Figure(f"{what}: the most of a first cycle", max(cpu[:FIRST_LOOKS]), "s"),
        Figure(f"{what}: of it storing", median(stored[FIRST_LOOKS:]), "s"),
        Figure(f"{what}: the broker's CPU of a cycle", (brokers[1] - brokers[0] - alone) / cycles, "s", must=KMINIONS),
        Figure(f"{what}: time of a cycle", median(wall[FIRST_LOOKS:]), "s"),
        Figure(f"{what}: requests of a cycle", max(calls[FIRST_LOOKS:]), "", must=3 + groups),
        Figure(f"{what}: peak memory", peak, "MiB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kafka", description=__doc__)
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child.django()
        child.tell(_run(options.partitions, options.groups, options.cycles))
        return
    print(table(measure(options.partitions, options.groups, options.cycles)))


if __name__ == "__main__":
    main()
