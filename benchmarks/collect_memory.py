"""Whether looking again and again costs memory: each collector's growth over many cycles at a real broker that lives.

python -m benchmarks.collect_memory [--cycles 1000] [--brokers kafka nats rabbitmq redis sqs]
"""

import argparse
import asyncio
import gc
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, table
from demo import kafka
from eventflow.domain.observations import Observation, SourceStatus
from tests.collectors.rabbitmq.shop import Vhost
from tests.collectors.scenarios import Kafka, Nats, RabbitMq, Redis, Scenario, Sqs
from tests.redis_rabbitmq import RabbitMqServer, RedisServer
from tests.services import KafkaServer, NatsServer, SqsServer

WARM_UP = 0.2
"""Share of the cycles after which caches are full and growth is counted."""
MUST_KIB = 512.0
"""Of what Python holds."""
MUST_MIB = 16.0
"""Of what the process holds: libraries in C too, and what the allocator keeps for later."""
NAMES = ("kafka", "nats", "rabbitmq", "redis", "sqs")


Server = KafkaServer | NatsServer | RabbitMqServer | RedisServer | SqsServer


class Meter:
    """An emit that keeps nothing and counts cycles; after the warm-up, and at the end, it weighs what is alive."""

    def __init__(self, cycles: int) -> None:
        self.cycles, self._count = cycles, 0
        self.alive: list[float] = []
        self.resident: list[float] = []
        self.done = asyncio.Event()

    async def __call__(self, batch: Sequence[Observation]) -> None:
        for item in batch:
            if isinstance(item, SourceStatus):
                self._count += 1
                if self._count in (int(self.cycles * WARM_UP), self.cycles):
                    self.alive.append(_alive())
                    self.resident.append(_resident())
                if self._count == self.cycles:
                    self.done.set()


def _alive() -> float:
    """KiB that Python holds."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1024


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


async def _look(name: str, scenario: Scenario, cycles: int) -> list[Figure]:
    """Messages come and go meanwhile, so that what is remembered of each offset must be forgotten again."""
    await scenario.prepare()
    await scenario.dead_letter(3)
    collector, meter = scenario.collector(), Meter(cycles)
    collector.seconds = 0.0  # type: ignore[attr-defined]  # every broker's collector has it
    tracemalloc.start()
    running, ended = asyncio.create_task(collector.run(meter)), asyncio.create_task(meter.done.wait())

    async def live() -> None:
        while not meter.done.is_set():  # not until cancelled: redis-py may swallow that
            await scenario.publish(4)
            async with scenario.hold(3):
                await asyncio.sleep(0.2)

    living = asyncio.create_task(live())
    try:
        await asyncio.wait({running, ended, living}, return_when=asyncio.FIRST_COMPLETED)
        for task in (running, living):
            if task.done():
                task.result()
    finally:
        meter.done.set()
        running.cancel()
        await asyncio.gather(running, living, ended, return_exceptions=True)
        tracemalloc.stop()
    what = f"memory: {name}, {cycles:,} cycles"
    return [
        Figure(f"{what}, growth", meter.alive[-1] - meter.alive[0], "KiB", must=MUST_KIB, aim=MUST_KIB / 4),
        Figure(
            f"{what}, growth with the libraries' own",
            meter.resident[-1] - meter.resident[0],
            "MiB",
            must=MUST_MIB,
        ),
    ]


def measure(cycles: int = 200, brokers: Sequence[str] = NAMES) -> list[Figure]:
    """A broker that is not here is left out."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="eventflow-memory-") as folder:
        for name in brokers:
            found += _of(name, Path(folder) / name, cycles)
    return found


def _of(name: str, folder: Path, cycles: int) -> list[Figure]:
    try:
        with _scenario(name, folder) as scenario:
            return asyncio.run(_look(name, scenario, cycles))
    except (kafka.MissingError, RuntimeError, FileNotFoundError) as error:
        print(f"{name} is left out: {error}")
        return []


@contextmanager
def _scenario(name: str, folder: Path) -> Iterator[Scenario]:
    """On a server that is there for it alone."""
    servers: dict[str, Callable[[Path], Server]] = {
        "kafka": KafkaServer, "nats": NatsServer, "rabbitmq": RabbitMqServer, "redis": RedisServer, "sqs": SqsServer,
    }  # fmt: skip
    server = servers[name](folder)
    try:
        server.start()
        if isinstance(server, KafkaServer):
            yield Kafka(server)
        elif isinstance(server, NatsServer):
            yield Nats(server)
        elif isinstance(server, RedisServer):
            yield Redis(server)
        elif isinstance(server, SqsServer):
            yield Sqs(server)
        else:
            with Vhost.fresh(server) as vhost:
                yield RabbitMq(vhost)
    finally:
        server.kill()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collect_memory", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--brokers", nargs="+", choices=NAMES, default=NAMES)
    options = parser.parse_args()
    print(table(measure(options.cycles, options.brokers)))
