"""One whole look at Redis with 1,000 streams and at RabbitMQ with 10,000 queues: our seconds and our calls.

python -m benchmarks.redis_rabbitmq [--queues 10000]    (a missing server is left out)
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aio_pika
from redis.asyncio import Redis

import collectors
from benchmarks.figures import Figure, percentile, table
from eventflow.domain.observations import LagSample, Observation, SourceStatus
from tests.redis_rabbitmq import RABBITMQ, RabbitMqServer, RedisServer

CYCLES = 12


class Watch:
    """An emit that notes the CPU which each cycle took from its beginning to its status."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.walls: list[float] = []
        self.calls = 0
        self.groups: set[str] = set()
        self._used = time.process_time()
        self.done = asyncio.Event()

    async def __call__(self, batch: Sequence[Observation]) -> None:
        self.groups.update(item.group + item.destination for item in batch if isinstance(item, LagSample))
        for item in batch:
            if isinstance(item, SourceStatus):
                self.cpu.append(time.process_time() - self._used)
                self.walls.append(item.cycle_seconds)
                self.calls = item.calls
                if len(self.cpu) > CYCLES:
                    self.done.set()
                self._used = time.process_time()


async def look(name: str, url: str, groups: int, must: float) -> list[Figure]:
    """Cycles without a pause, the first left out: it finds what later ones know."""
    watch = Watch()
    running = asyncio.create_task(collectors.from_url("bench", url, seconds=0.0).run(watch))
    ended = asyncio.create_task(watch.done.wait())
    await asyncio.wait({running, ended}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(watch.groups) == groups, f"{len(watch.groups)} groups were seen, not {groups}"
    return [
        Figure(f"{name}: our CPU", percentile(watch.cpu[1:], 50), "s", must=must),
        Figure(f"{name}: from first question to last answer", percentile(watch.walls[1:], 50), "s"),
        Figure(f"{name}: calls", watch.calls, "calls"),
    ]


async def redis(folder: Path, streams: int = 1000) -> list[Figure]:
    """Streams of which each has a group that is behind and holds a message, and some were trimmed under it."""
    server = RedisServer(folder).start()
    try:
        client = Redis(port=server.port)
        for number in range(streams):
            ask = client.pipeline(transaction=False)
            name = f"orders.{number}"
            ask.xgroup_create(name, "payment", id="0", mkstream=True)
            for order in range(6):
                ask.xadd(name, {"payload": b"x" * 300, "ce-id": f"{number}-{order}", "correlation-id": "c" * 26})
            ask.xreadgroup("payment", "one", {name: ">"}, count=2)
            if number % 10 == 0:
                ask.xtrim(name, maxlen=3, approximate=False)
            await ask.execute()
        await client.aclose()
        return await look(f"Redis, {streams:,} streams", server.url, streams, 0.3)
    finally:
        server.kill()


async def rabbitmq(folder: Path, queues: int = 10_000) -> list[Figure]:
    """Classic queues, numbers from the metrics endpoint."""
    server = RabbitMqServer(folder)
    await asyncio.to_thread(server.start)
    try:
        async with await aio_pika.connect(server.amqp()) as connection:
            channel = await connection.channel(publisher_confirms=False)
            for start in range(0, queues, 100):
                names = [f"orders.{number}" for number in range(start, min(start + 100, queues))]
                await asyncio.gather(*(channel.declare_queue(name, durable=False) for name in names))
        url = f"{server.url()}?prometheus={server.metrics}"
        return await look(f"RabbitMQ, {queues:,} queues", url, queues, 0.5)
    finally:
        await asyncio.to_thread(server.kill)


def measure(queues: int = 10_000) -> list[Figure]:
    """Both, where they are installed."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="eventflow-brokers-") as folder:
        if shutil.which("redis-server"):
            found += asyncio.run(redis(Path(folder) / "redis"))
        if RABBITMQ.exists():
            found += asyncio.run(rabbitmq(Path(folder) / "rabbitmq", queues))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=10_000)
    print(table(measure(parser.parse_args().queues)))
